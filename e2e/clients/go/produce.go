package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "tidelog.dev/example/tidelogv1"
)

// produce sends one entry; the server picks each record's partition by its key and tells which ones it picked.
func (e *example) produce(ctx context.Context) error {
	var all []*pb.Record
	for n := range 100 {
		all = append(all, record(fmt.Sprintf("key-%d", n%10), fmt.Sprintf("produced %d", n)))
	}
	entry := &pb.ProduceEntry{Topic: e.topic, Data: records(all...)}
	response, err := e.log.Produce(ctx, &pb.ProduceRequest{Entries: []*pb.ProduceEntry{entry}})
	if err != nil {
		return err
	}
	answered := 0
	for _, batch := range response.GetResults()[0].GetBatches() {
		if _, err := appended(batch); err != nil {
			return err
		}
		indexes := batch.GetRecordIndexes()
		if len(indexes) == 0 { // All of them.
			for n := range all {
				indexes = append(indexes, uint32(n))
			}
		}
		for _, index := range indexes {
			e.expect(batch.GetPartition(), all[index])
			answered++
		}
	}
	return check("records answered", answered, len(all))
}

// produceStream has many entries under way at once; an answer names its entry by the correlation id.
func (e *example) produceStream(ctx context.Context) error {
	stream, err := e.log.ProduceStream(ctx)
	if err != nil {
		return err
	}
	const entries = 200
	sent := make(chan error, 1)
	go func() {
		for n := range uint32(entries) {
			partition := n % partitions
			r := record(fmt.Sprintf("stream-%d", partition), fmt.Sprintf("streamed %d", n))
			e.expect(partition, r)
			entry := &pb.ProduceEntry{CorrelationId: uint64(n), Topic: e.topic, Partition: &partition, Data: records(r)}
			if err := stream.Send(&pb.ProduceStreamRequest{Entries: []*pb.ProduceEntry{entry}}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()

	answered := map[uint64]bool{}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, result := range response.GetResults() {
			if _, err := appended(result.GetBatches()[0]); err != nil {
				return err
			}
			answered[result.GetCorrelationId()] = true
		}
	}
	if err := <-sent; err != nil {
		return err
	}
	return check("entries answered", len(answered), entries)
}

// produceIdempotently does what a producer does that got no answer: it sends the same again, and it is in the log once.
func (e *example) produceIdempotently(ctx context.Context) error {
	producer, err := e.log.InitProducer(ctx, &pb.InitProducerRequest{})
	if err != nil {
		return err
	}
	r := record("once", "only once")
	entry := &pb.ProduceEntry{
		Topic:     e.topic,
		Partition: proto.Uint32(0),
		Data:      records(r),
		Producer:  &pb.ProducerSequence{ProducerId: producer.GetProducerId(), ProducerEpoch: producer.GetProducerEpoch()},
	}
	first, err := e.append(ctx, entry)
	if err != nil {
		return err
	}
	again, err := e.append(ctx, entry)
	if err != nil {
		return err
	}
	e.expect(0, r)
	return errors.Join(
		check("a first batch is a duplicate", first.GetDuplicate(), false),
		check("a second one is", again.GetDuplicate(), true),
		check("its offset", again.GetBaseOffset(), first.GetBaseOffset()),
	)
}

// appendOnCondition appends only if nobody else has since: the base of locks, counters and state machines.
func (e *example) appendOnCondition(ctx context.Context) error {
	r := record("condition", "met")
	entry := &pb.ProduceEntry{
		Topic:              e.topic,
		Partition:          proto.Uint32(1),
		Data:               records(r),
		ExpectedNextOffset: proto.Uint64(0),
	}
	batch, err := e.produceEntry(ctx, entry)
	if err != nil {
		return err
	}
	if err := check("error of a wrong offset", batch.GetError().GetCode(), pb.ErrorCode_ERROR_CODE_OFFSET_MISMATCH); err != nil {
		return err
	}
	actual, err := strconv.ParseUint(batch.GetError().GetMetadata()["next_offset"], 10, 64)
	if err != nil {
		return err
	}
	if err := check("actual next offset", actual, uint64(len(e.expected[1]))); err != nil {
		return err
	}

	entry.ExpectedNextOffset = &actual
	result, err := e.append(ctx, entry)
	if err != nil {
		return err
	}
	e.expect(1, r)
	return check("offset", result.GetBaseOffset(), actual)
}

// readErrorInfo shows that a call that fails as a whole says why in google.rpc.ErrorInfo, which programs can rely on.
func (e *example) readErrorInfo(ctx context.Context) error {
	_, err := e.topics.GetTopic(ctx, &pb.GetTopicRequest{Name: "no-such-topic"})
	failure := status.Convert(err)
	if err := check("status", failure.Code(), codes.NotFound); err != nil {
		return err
	}
	for _, detail := range failure.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return errors.Join(
				check("domain", info.GetDomain(), "tidelog.dev"),
				check("reason", info.GetReason(), "UNKNOWN_TOPIC"),
			)
		}
	}
	return errors.New("the status carries no ErrorInfo")
}

func (e *example) expect(partition uint32, r *pb.Record) {
	e.expected[partition] = append(e.expected[partition], pair{string(r.GetKey()), string(r.GetValue())})
}

// produceEntry returns what became of the only batch of an entry.
func (e *example) produceEntry(ctx context.Context, entry *pb.ProduceEntry) (*pb.BatchResult, error) {
	response, err := e.log.Produce(ctx, &pb.ProduceRequest{Entries: []*pb.ProduceEntry{entry}})
	if err != nil {
		return nil, err
	}
	return response.GetResults()[0].GetBatches()[0], nil
}

func (e *example) append(ctx context.Context, entry *pb.ProduceEntry) (*pb.Appended, error) {
	batch, err := e.produceEntry(ctx, entry)
	if err != nil {
		return nil, err
	}
	return appended(batch)
}

func appended(batch *pb.BatchResult) (*pb.Appended, error) {
	if batch.GetAppended() == nil {
		return nil, fmt.Errorf("not appended: %s", batch.GetError().GetMessage())
	}
	return batch.GetAppended(), nil
}
