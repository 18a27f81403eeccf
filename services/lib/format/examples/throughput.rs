//! How fast batches are built, checked and sealed on one core:
//! `cargo run --release -p tidelog-format --example throughput`.

use std::hint::black_box;

use bytes::Bytes;
use tidelog_env::{Clock, SystemClock};
use tidelog_format::batch::{BatchBuf, BatchBuilder, BatchRules, Compression, DecodeLimit};
use tidelog_format::segment::{Nonce, SegmentIdentity, SegmentReader, SegmentWriter};
use tidelog_types::{
    BucketId, ClusterId, Incarnation, Offset, PartitionIndex, SegmentName, SegmentSequence,
    ShardId, Timestamp, TopicId, TopicNumber, TopicPartition,
};

const RECORDS: u32 = 10_000;
const ROUNDS: u32 = 100;

fn build(compression: Compression, records: u32, value: &[u8]) -> BatchBuf {
    let capacity = records as usize * (value.len() + 20);
    let mut builder = BatchBuilder::new(compression, capacity);
    for index in 0..records {
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(index));
        builder
            .append(time, None, Some(value), &[])
            .expect("a small record fits");
    }
    builder.finish(None).expect("a batch with records")
}

/// Runs `work` a few times and prints the best figure, of so many units a round.
fn best(name: &str, unit: &str, units_per_round: f64, mut work: impl FnMut()) {
    let clock = SystemClock::new();
    let mut best = 0_f64;
    for _ in 0..5 {
        let start = clock.now();
        for _ in 0..ROUNDS {
            work();
        }
        let figure = units_per_round * f64::from(ROUNDS) / (clock.now() - start).as_secs_f64();
        best = best.max(figure);
    }
    println!("{name:<44} {best:>10.2} {unit}");
}

fn identity() -> SegmentIdentity {
    SegmentIdentity {
        cluster: ClusterId::from_bytes([1; 16]),
        bucket: BucketId::new(0),
        name: SegmentName::new(Incarnation::new(1), SegmentSequence::new(1)),
        nonce: Nonce::new([2; 16]),
    }
}

/// A segment of 8 MiB of batches of this size over 16 partitions.
fn fill(batch: &BatchBuf) -> SegmentWriter {
    let mut writer = SegmentWriter::new();
    let count = (8 << 20) / batch.size();
    for index in 0..count {
        let partition = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index % 16));
        let topic = TopicId::from_bytes([3; 16]);
        let pushed = writer.push(topic, partition, ShardId::new(0), batch.clone());
        pushed.expect("8 MiB fit into a segment");
    }
    writer
}

fn main() {
    let value = [b'x'; 100];
    let records = f64::from(RECORDS) / 1e6;
    best(
        "build, records of 100 bytes",
        "M records/s",
        records,
        || {
            black_box(build(Compression::None, RECORDS, black_box(&value)));
        },
    );
    let batch = build(Compression::None, RECORDS, &value);
    best(
        "decode, records of 100 bytes",
        "M records/s",
        records,
        || {
            let records = batch
                .records(Offset::ZERO, DecodeLimit::DEFAULT)
                .expect("not compressed");
            records.for_each(|record| drop(black_box(record)));
        },
    );
    for size in [1_u32, 16, 1000] {
        let batch = build(Compression::None, size * 9, &value);
        let one = batch.to_bytes();
        let count = (8 << 20) / one.len();
        let all: Bytes = one.repeat(count).into();
        let gigabytes = f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX)) / 1e9;
        let name = format!("parse with crc, batches of {} bytes", one.len());
        best(&name, "GB/s", gigabytes, || {
            let batches = BatchBuf::parse_all(all.clone(), BatchRules::client(u32::MAX));
            assert_eq!(batches.flatten().count(), count);
        });
        let name = format!("push and seal 8 MiB, batches of {} bytes", one.len());
        best(&name, "GB/s", gigabytes, || {
            black_box(fill(&batch).seal(&identity()));
        });
        let object: Bytes = fill(&batch)
            .seal(&identity())
            .map(|sealed| sealed.chunks.concat().into())
            .unwrap_or_default();
        let name = format!("open and check 8 MiB, batches of {} bytes", one.len());
        best(&name, "GB/s", gigabytes, || {
            let reader = SegmentReader::open(object.clone()).expect("as it was sealed");
            reader.check().expect("as it was sealed");
        });
    }
}
