// franz-go in a group: `franz HOST:PORT TOPIC`.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"tidelog.dev/kafka-clients/scenario"
)

type client struct {
	address, topic string
	producer       *kgo.Client
	admin          *kadm.Client
}

type member struct {
	client *kgo.Client
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (c *client) Join(seat *scenario.Seat) (scenario.Member, error) {
	gain := func(_ context.Context, _ *kgo.Client, got map[string][]int32) { seat.Gain(got[c.topic]) }
	lose := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { seat.Lose(lost[c.topic]) }
	joined, err := kgo.NewClient(
		kgo.SeedBrokers(c.address),
		kgo.ConsumerGroup(scenario.GroupName),
		kgo.ConsumeTopics(c.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.SessionTimeout(10*time.Second),
		kgo.OnPartitionsAssigned(gain),
		kgo.OnPartitionsRevoked(lose),
		kgo.OnPartitionsLost(lose),
	)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{client: joined, cancel: cancel}
	m.ended.Go(func() {
		for ctx.Err() == nil {
			fetches := joined.PollFetches(ctx)
			for _, failed := range fetches.Errors() {
				if ctx.Err() == nil {
					seat.Fail(failed.Err)
				}
			}
			fetches.EachRecord(func(record *kgo.Record) { seat.Read(record.Partition, record.Offset) })
		}
	})
	return m, nil
}

func (m *member) Leave() error {
	m.cancel()
	m.ended.Wait()
	err := m.client.CommitUncommittedOffsets(context.Background())
	m.client.Close()
	return err
}

func (c *client) Produce(count int) error {
	var records []*kgo.Record
	for number := range count {
		value := fmt.Appendf(nil, "value %d", number)
		partition := int32(number % scenario.Partitions)
		records = append(records, &kgo.Record{Topic: c.topic, Partition: partition, Value: value})
	}
	return c.producer.ProduceSync(context.Background(), records...).FirstErr()
}

func (c *client) Committed() (int64, error) {
	offsets, err := c.admin.FetchOffsets(context.Background(), scenario.GroupName)
	if err != nil {
		return 0, err
	}
	var sum int64
	offsets.Each(func(offset kadm.OffsetResponse) { sum += offset.At })
	return sum, nil
}

func (c *client) Delete() (bool, error) {
	ctx := context.Background()
	if _, err := c.admin.DeleteGroup(ctx, scenario.GroupName); err != nil {
		return false, err
	}
	groups, err := c.admin.ListGroups(ctx)
	_, listed := groups[scenario.GroupName]
	return !listed, err
}

func run(address, topic string) error {
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(address),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		return err
	}
	defer producer.Close()
	admin := kadm.NewClient(producer)
	if _, err := admin.CreateTopic(context.Background(), scenario.Partitions, 1, nil, topic); err != nil {
		return err
	}
	return scenario.Run(&client{address: address, topic: topic, producer: producer, admin: admin})
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok: franz-go in a group")
}
