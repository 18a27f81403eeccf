// A Tidelog client made from the proto files alone. It produces, reads back and compares.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "tidelog.dev/example/tidelogv1"
)

const (
	partitions = 4
	deadline   = time.Minute
)

// pair is what we compare of a record.
type pair struct{ key, value string }

// example is one run: the stubs, the topic, and what each of its partitions should hold, in order.
type example struct {
	topics   pb.TopicServiceClient
	log      pb.LogServiceClient
	topic    string
	expected map[uint32][]pair
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: run HOST:PORT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()

	started := time.Now()
	e := &example{
		topics:   pb.NewTopicServiceClient(conn),
		log:      pb.NewLogServiceClient(conn),
		topic:    fmt.Sprintf("example-go-%d", started.UnixNano()),
		expected: map[uint32][]pair{},
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"create topic", e.createTopic},
		{"produce", e.produce},
		{"produce stream", e.produceStream},
		{"produce idempotently", e.produceIdempotently},
		{"append on condition", e.appendOnCondition},
		{"read error info", e.readErrorInfo},
		{"fetch", e.fetch},
		{"tail", e.tail},
		{"list offsets by time", func(ctx context.Context) error { return e.listOffsetsByTime(ctx, started) }},
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	total := 0
	for _, pairs := range e.expected {
		total += len(pairs)
	}
	fmt.Printf("ok: %d records in %s\n", total, e.topic)
	return nil
}

func (e *example) createTopic(ctx context.Context) error {
	response, err := e.topics.CreateTopic(ctx, &pb.CreateTopicRequest{
		Name:           e.topic,
		PartitionCount: partitions,
		Config:         map[string]string{"retention.ms": "86400000"},
	})
	if err != nil {
		return err
	}
	return check("partitions of the new topic", response.GetTopic().GetPartitionCount(), partitions)
}

// record makes a record whose time the client sets, so that it does not depend on the server's clock.
func record(key, value string) *pb.Record {
	now := time.Now().UnixMilli()
	return &pb.Record{Key: []byte(key), Value: []byte(value), TimestampMs: &now}
}

func records(records ...*pb.Record) *pb.ProduceEntry_Records {
	return &pb.ProduceEntry_Records{Records: &pb.Records{Records: records}}
}

func check[T comparable](what string, actual, expected T) error {
	if actual != expected {
		return fmt.Errorf("%s: %v instead of %v", what, actual, expected)
	}
	return nil
}
