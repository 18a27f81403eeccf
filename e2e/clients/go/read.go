package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	pb "tidelog.dev/example/tidelogv1"
)

// fetch reads one partition from its beginning, answer by answer.
func (e *example) fetch(ctx context.Context) error {
	var found []pair
	for offset := uint64(0); ; {
		response, err := e.log.Fetch(ctx, &pb.FetchRequest{
			Partitions: []*pb.FetchPartition{{Topic: e.topic, Partition: 0, Offset: offset}},
		})
		if err != nil {
			return err
		}
		data := response.GetPartitions()[0]
		if data.GetError() != nil {
			return errors.New(data.GetError().GetMessage())
		}
		for _, r := range data.GetRecords().GetRecords() {
			found = append(found, pair{string(r.GetKey()), string(r.GetValue())})
		}
		offset = data.GetNextOffset()
		if offset == data.GetHighWatermark() {
			break
		}
	}
	return e.compare(0, found)
}

// tail reads all partitions as a stream, here only until the end of what is there now.
func (e *example) tail(ctx context.Context) error {
	stream, err := e.log.Tail(ctx, &pb.TailRequest{
		Topic:    e.topic,
		Start:    &pb.TailRequest_Position{Position: pb.OffsetPosition_OFFSET_POSITION_EARLIEST},
		UntilEnd: true,
	})
	if err != nil {
		return err
	}
	found := map[uint32][]pair{}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, data := range response.GetPartitions() {
			if data.GetError() != nil {
				return errors.New(data.GetError().GetMessage())
			}
			partition := data.GetPartition()
			for _, r := range data.GetRecords().GetRecords() {
				if err := check("offset", r.GetOffset(), uint64(len(found[partition]))); err != nil {
					return err
				}
				found[partition] = append(found[partition], pair{string(r.GetKey()), string(r.GetValue())})
			}
		}
	}
	for partition := range uint32(partitions) {
		if err := e.compare(partition, found[partition]); err != nil {
			return err
		}
	}
	return nil
}

// listOffsetsByTime finds the first record at or after a time: offset 0 for the time at which we began, none for the future.
func (e *example) listOffsetsByTime(ctx context.Context, started time.Time) error {
	ask := func(at time.Time) *pb.ListOffsetsPartition {
		query := &pb.ListOffsetsPartition_TimestampMs{TimestampMs: at.UnixMilli()}
		return &pb.ListOffsetsPartition{Topic: e.topic, Partition: 0, Query: query}
	}
	response, err := e.log.ListOffsets(ctx, &pb.ListOffsetsRequest{
		Partitions: []*pb.ListOffsetsPartition{ask(started), ask(started.Add(time.Hour))},
	})
	if err != nil {
		return err
	}
	then, future := response.GetResults()[0], response.GetResults()[1]
	return errors.Join(
		check("an offset at the start", then.Offset != nil, true),
		check("offset at the start", then.GetOffset(), 0),
		check("an offset in the future", future.Offset != nil, false),
	)
}

func (e *example) compare(partition uint32, found []pair) error {
	if !slices.Equal(found, e.expected[partition]) {
		return fmt.Errorf("partition %d holds %d records that are not the %d produced", partition, len(found), len(e.expected[partition]))
	}
	return nil
}
