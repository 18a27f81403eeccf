//! Facts about consumers: which offsets they hand out, and where they go on.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tidelog_api::v1;
use tidelog_format::batch::{BatchBuilder, Compression, DecodeLimit, patched_head};
use tidelog_types::{Offset, OffsetRange, Timestamp};

use super::positions::Positions;
use super::{Chunk, ConsumerOptions, Isolation, Start};

fn data(partition: u32, next_offset: u64, high_watermark: u64) -> v1::PartitionData {
    v1::PartitionData {
        partition,
        next_offset,
        high_watermark,
        ..v1::PartitionData::default()
    }
}

fn range(base: u64, next: u64) -> OffsetRange {
    OffsetRange {
        base: Offset::new(base),
        next: Offset::new(next),
    }
}

/// A batch of `count` records at `base`, as the service hands it out.
fn batch(base: u64, count: u32) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for at in 0..u64::from(count) {
        let value = (base + at).to_be_bytes();
        builder
            .append(Timestamp::from_millis(1), None, Some(&value), &[])
            .unwrap();
    }
    let batch = builder.finish(None).unwrap();
    let mut bytes = BytesMut::from(&patched_head(batch.header(), Offset::new(base))[..]);
    bytes.extend_from_slice(&batch.body());
    bytes.freeze()
}

fn chunk(offsets: OffsetRange, batches: Bytes) -> Chunk {
    let high_watermark = offsets.next;
    Chunk {
        partition: 0,
        offsets,
        high_watermark,
        batches,
        limit: DecodeLimit::DEFAULT,
    }
}

#[test]
fn a_chunk_hands_out_exactly_the_offsets_it_covers() {
    let batches = [batch(0, 4), batch(4, 4), batch(8, 4)].concat();
    let chunk = chunk(range(5, 10), batches.into());
    let offsets: Vec<u64> = chunk
        .records()
        .map(|record| record.unwrap().offset.get())
        .collect();
    assert_eq!(offsets, [5, 6, 7, 8, 9]);
}

#[test]
fn a_damaged_chunk_ends_in_an_error_after_its_sound_batches() {
    let mut batches = [batch(0, 2), batch(2, 2)].concat();
    let last = batches.len() - 1;
    batches[last] ^= 1;
    let records: Vec<_> = chunk(range(0, 4), batches.into()).records().collect();
    assert_eq!(records.len(), 3);
    assert!(records[..2].iter().all(Result::is_ok) && records[2].is_err());
}

#[test]
fn the_first_stream_begins_as_asked_and_the_next_one_where_it_broke() {
    let options = ConsumerOptions {
        start: Start::Timestamp(Timestamp::from_millis(77)),
        offsets: BTreeMap::from([(1, 5)]),
        ..ConsumerOptions::default()
    };
    let mut positions = Positions::new(&options);
    let request = positions.request("t", &options);
    assert_eq!(
        request.start,
        Some(v1::tail_request::Start::TimestampMs(77))
    );
    assert_eq!(
        request.offsets,
        [v1::PartitionOffset {
            partition: 1,
            offset: 5
        }]
    );

    for first in [data(0, 10, 20), data(1, 5, 20)] {
        positions.begin(&first);
    }
    positions.set_complete();
    assert_eq!(positions.advance(&data(0, 15, 20)), Some(range(10, 15)));
    let request = positions.request("t", &options);
    assert_eq!(
        request.partitions, [0_u32; 0],
        "new partitions are to be heard of"
    );
    let next: Vec<_> = request
        .offsets
        .iter()
        .map(|offset| (offset.partition, offset.offset))
        .collect();
    assert_eq!(next, [(0, 15), (1, 5)]);
}

#[test]
fn a_stream_that_repeats_itself_hands_out_nothing_twice() {
    let mut positions = Positions::new(&ConsumerOptions::default());
    positions.begin(&data(0, 0, 9));
    positions.set_complete();
    assert_eq!(positions.advance(&data(0, 6, 9)), Some(range(0, 6)));
    assert_eq!(positions.advance(&data(0, 6, 9)), None);
    assert_eq!(positions.advance(&data(0, 9, 9)), Some(range(6, 9)));
}

#[test]
fn the_end_is_that_of_the_first_stream() {
    let options = ConsumerOptions::all_until_end();
    let mut positions = Positions::new(&options);
    for first in [data(0, 0, 10), data(1, 0, 3), data(2, 7, 7)] {
        positions.begin(&first);
    }
    positions.set_complete();
    assert_eq!(positions.advance(&data(1, 3, 3)), Some(range(0, 3)));
    let request = positions.request("t", &options);
    assert_eq!(request.partitions, [0]);
    // After a break the service has more records, which were not asked for.
    positions.begin(&data(0, 0, 50));
    assert_eq!(positions.advance(&data(0, 30, 50)), Some(range(0, 10)));
    assert!(positions.is_finished());
}

#[test]
fn the_end_of_a_reader_of_what_is_committed_is_the_last_stable_offset() {
    let first = v1::PartitionData {
        last_stable_offset: Some(6),
        ..data(0, 0, 10)
    };
    for (isolation, end) in [(Isolation::Committed, 6), (Isolation::Uncommitted, 10)] {
        let options = ConsumerOptions {
            isolation,
            ..ConsumerOptions::all_until_end()
        };
        let mut positions = Positions::new(&options);
        positions.begin(&first);
        positions.set_complete();
        // What is passed over without being handed out counts as read.
        assert_eq!(positions.advance(&data(0, 4, 10)), Some(range(0, 4)));
        assert!(!positions.is_finished());
        assert_eq!(positions.advance(&data(0, 30, 30)), Some(range(4, end)));
        assert!(positions.is_finished());
    }
}

#[test]
fn a_partition_that_failed_is_left_out_and_the_others_go_on() {
    let options = ConsumerOptions::default();
    let mut positions = Positions::new(&options);
    positions.begin(&data(0, 1, 1));
    positions.begin(&data(1, 1, 1));
    positions.set_complete();
    positions.fail(0);
    assert!(!positions.is_finished());
    assert_eq!(positions.request("t", &options).partitions, [1]);
    positions.fail(1);
    assert!(positions.is_finished());
}
