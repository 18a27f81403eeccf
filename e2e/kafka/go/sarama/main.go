// sarama in a group: `sarama HOST:PORT TOPIC`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"tidelog.dev/kafka-clients/scenario"
)

type client struct {
	address, topic string
	config         *sarama.Config
	admin          sarama.ClusterAdmin
}

type member struct {
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// handler is what sarama calls for each generation.
type handler struct {
	topic string
	seat  *scenario.Seat
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.seat.Gain(session.Claims()[h.topic])
	return nil
}

func (h handler) Cleanup(session sarama.ConsumerGroupSession) error {
	h.seat.Lose(session.Claims()[h.topic])
	return nil
}

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			h.seat.Read(message.Partition, message.Offset)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (c *client) Join(seat *scenario.Seat) (scenario.Member, error) {
	group, err := sarama.NewConsumerGroup([]string{c.address}, scenario.GroupName, c.config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: group, cancel: cancel}
	m.ended.Go(func() {
		for ctx.Err() == nil {
			err := group.Consume(ctx, []string{c.topic}, handler{topic: c.topic, seat: seat})
			if err != nil && ctx.Err() == nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
				seat.Fail(err)
			}
		}
	})
	return m, nil
}

func (m *member) Leave() error {
	m.cancel()
	m.ended.Wait()
	return m.group.Close()
}

func (c *client) Produce(count int) error {
	producer, err := sarama.NewSyncProducer([]string{c.address}, c.config)
	if err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for number := range count {
		messages = append(messages, &sarama.ProducerMessage{
			Topic:     c.topic,
			Partition: int32(number % scenario.Partitions),
			Value:     sarama.StringEncoder(fmt.Sprintf("value %d", number)),
		})
	}
	return errors.Join(producer.SendMessages(messages), producer.Close())
}

func (c *client) Committed() (int64, error) {
	offsets, err := c.admin.ListConsumerGroupOffsets(scenario.GroupName, nil)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, block := range offsets.Blocks[c.topic] {
		sum += block.Offset
	}
	return sum, nil
}

func (c *client) Delete() (bool, error) {
	if err := c.admin.DeleteConsumerGroup(scenario.GroupName); err != nil {
		return false, err
	}
	groups, err := c.admin.ListConsumerGroups()
	_, listed := groups[scenario.GroupName]
	return !listed, err
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return config
}

func run(address, topic string) error {
	config := settings()
	admin, err := sarama.NewClusterAdmin([]string{address}, config)
	if err != nil {
		return err
	}
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: scenario.Partitions, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return err
	}
	return scenario.Run(&client{address: address, topic: topic, config: config, admin: admin})
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok: sarama in a group")
}
