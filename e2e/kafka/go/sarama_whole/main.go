// sarama does all it can: administers, writes with every compression, reads, seeks, finds offsets by time, and writes in
// transactions of which one is aborted: `sarama_whole HOST:PORT TOPIC`.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

const (
	partitions = 2
	// Of each codec, in each partition.
	records   = 100
	firstTime = 1_700_000_000_000
	group     = "pipe"
	deadline  = 30 * time.Second
)

var codecs = []sarama.CompressionCodec{
	sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4,
	sarama.CompressionZSTD,
}

type world struct {
	address, topic string
	client         sarama.Client
	admin          sarama.ClusterAdmin
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Net.MaxOpenRequests = 1
	return config
}

func (w *world) administer() error {
	forever, limit := "-1", "900000"
	detail := &sarama.TopicDetail{
		NumPartitions:     partitions,
		ReplicationFactor: 1,
		ConfigEntries:     map[string]*string{"retention.ms": &forever},
	}
	if err := w.admin.CreateTopic(w.topic, detail, false); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	change := map[string]sarama.IncrementalAlterConfigsEntry{
		"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &limit},
	}
	if err := w.admin.IncrementalAlterConfig(sarama.TopicResource, w.topic, change, false); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	asked := sarama.ConfigResource{Type: sarama.TopicResource, Name: w.topic, ConfigNames: []string{"max.message.bytes"}}
	entries, err := w.admin.DescribeConfig(asked)
	if err != nil || len(entries) != 1 || entries[0].Value != limit {
		return fmt.Errorf("describe: %v, %w", entries, err)
	}
	if err := w.admin.CreatePartitions(w.topic, partitions+1, nil, false); err != nil {
		return fmt.Errorf("partitions: %w", err)
	}
	return w.client.RefreshMetadata(w.topic)
}

// record is the one with a number, as it is written and expected.
func (w *world) record(partition int32, number int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{
		Topic:     w.topic,
		Partition: partition,
		Key:       sarama.StringEncoder(fmt.Sprint(number)),
		Value:     sarama.StringEncoder(fmt.Sprintf("a value that is said %d", number)),
		Headers: []sarama.RecordHeader{
			{Key: []byte("number"), Value: fmt.Append(nil, number)},
			{Key: []byte("number"), Value: []byte("again")},
		},
		Timestamp: time.UnixMilli(firstTime + int64(number)),
	}
}

func (w *world) write() error {
	for at, codec := range codecs {
		config := settings()
		config.Producer.Compression = codec
		producer, err := sarama.NewSyncProducer([]string{w.address}, config)
		if err != nil {
			return err
		}
		for partition := range int32(partitions) {
			var messages []*sarama.ProducerMessage
			for number := at * records; number < (at+1)*records; number++ {
				messages = append(messages, w.record(partition, number))
			}
			if err := producer.SendMessages(messages); err != nil {
				return fmt.Errorf("%s: %w", codec, err)
			}
			for index, message := range messages {
				if expected := int64(at*records + index); message.Offset != expected {
					return fmt.Errorf("%s: offset %d instead of %d", codec, message.Offset, expected)
				}
			}
		}
		if err := producer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// take reads so many records from an offset on.
func (w *world) take(partition int32, offset int64, count int, level sarama.IsolationLevel) ([]*sarama.ConsumerMessage, error) {
	config := settings()
	config.Consumer.IsolationLevel = level
	consumer, err := sarama.NewConsumer([]string{w.address}, config)
	if err != nil {
		return nil, err
	}
	claim, err := consumer.ConsumePartition(w.topic, partition, offset)
	if err != nil {
		return nil, err
	}
	var found []*sarama.ConsumerMessage
	for end := time.After(deadline); len(found) < count; {
		select {
		case message := <-claim.Messages():
			found = append(found, message)
		case <-end:
			return nil, fmt.Errorf("%d of %d records of partition %d", len(found), count, partition)
		}
	}
	return found, errors.Join(claim.Close(), consumer.Close())
}

func (w *world) read() error {
	all := len(codecs) * records
	middle := all/2 + 7
	for partition := range int32(partitions) {
		for _, first := range []int{0, middle} {
			found, err := w.take(partition, int64(first), all-first, sarama.ReadUncommitted)
			if err != nil {
				return err
			}
			for index, message := range found {
				if err := same(message, w.record(partition, first+index), int64(first+index)); err != nil {
					return err
				}
			}
		}
	}
	for time, expected := range map[int64]int64{
		firstTime + int64(middle): int64(middle),
		sarama.OffsetOldest:       0,
		sarama.OffsetNewest:       int64(all),
	} {
		if offset, err := w.client.GetOffset(w.topic, 0, time); err != nil || offset != expected {
			return fmt.Errorf("offset of %d: %d, %w", time, offset, err)
		}
	}
	return nil
}

func same(got *sarama.ConsumerMessage, expected *sarama.ProducerMessage, offset int64) error {
	key, _ := expected.Key.Encode()
	value, _ := expected.Value.Encode()
	headers := slices.EqualFunc(got.Headers, expected.Headers, func(a *sarama.RecordHeader, b sarama.RecordHeader) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	})
	if got.Offset != offset || !bytes.Equal(got.Key, key) || !bytes.Equal(got.Value, value) || !headers ||
		!got.Timestamp.Equal(expected.Timestamp) {
		return fmt.Errorf("offset %d instead of %d, %s=%s at %s", got.Offset, offset, got.Key, got.Value, got.Timestamp)
	}
	return nil
}

// transact writes three transactions, of which one is aborted, each with an offset of a group.
func (w *world) transact() error {
	config := settings()
	config.Producer.Transaction.ID = "sarama"
	producer, err := sarama.NewSyncProducer([]string{w.address}, config)
	if err != nil {
		return err
	}
	var all, committed []string
	for number, end := range []func() error{producer.CommitTxn, producer.AbortTxn, producer.CommitTxn} {
		if err := producer.BeginTxn(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		for _, letter := range []string{"a", "b", "c"} {
			value := fmt.Sprintf("%d %s", number, letter)
			message := &sarama.ProducerMessage{Topic: w.topic, Partition: partitions, Value: sarama.StringEncoder(value)}
			if _, _, err := producer.SendMessage(message); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			all = append(all, value)
			if number != 1 {
				committed = append(committed, value)
			}
		}
		offsets := map[string][]*sarama.PartitionOffsetMetadata{
			w.topic: {{Partition: 0, Offset: int64(10 + number), LeaderEpoch: -1}},
		}
		if err := producer.AddOffsetsToTxn(offsets, group); err != nil {
			return fmt.Errorf("offsets: %w", err)
		}
		if err := end(); err != nil {
			return fmt.Errorf("end of %d: %w", number, err)
		}
	}
	for level, expected := range map[sarama.IsolationLevel][]string{
		sarama.ReadCommitted: committed, sarama.ReadUncommitted: all,
	} {
		found, err := w.take(partitions, 0, len(expected), level)
		if err != nil {
			return err
		}
		for index, message := range found {
			if string(message.Value) != expected[index] {
				return fmt.Errorf("%s instead of %s", message.Value, expected[index])
			}
		}
	}
	answer, err := w.admin.ListConsumerGroupOffsets(group, map[string][]int32{w.topic: {0}})
	if err != nil || answer.GetBlock(w.topic, 0).Offset != 12 {
		return fmt.Errorf("the committed offset: %v, %w", answer, err)
	}
	return producer.Close()
}

func (w *world) cut() error {
	if err := w.admin.DeleteRecords(w.topic, map[int32]int64{0: 42}); err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	if offset, err := w.client.GetOffset(w.topic, 0, sarama.OffsetOldest); err != nil || offset != 42 {
		return fmt.Errorf("the first offset: %d, %w", offset, err)
	}
	if err := w.admin.DeleteTopic(w.topic); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	topics, err := w.admin.ListTopics()
	if _, listed := topics[w.topic]; listed {
		return errors.New("the topic is still listed")
	}
	return err
}

func run(address, topic string) error {
	client, err := sarama.NewClient([]string{address}, settings())
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	defer admin.Close()
	w := &world{address: address, topic: topic, client: client, admin: admin}
	for _, step := range []func() error{w.administer, w.write, w.read, w.transact, w.cut} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok: sarama does all it can")
}
