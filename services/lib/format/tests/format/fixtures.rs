//! The values that the files in `tests/golden` stand for, built by hand.

use bytes::Bytes;
use tidelog_format::batch::{
    BatchBuf, BatchBuilder, BatchRules, BatchView, Compression, ProducerStamp,
};
use tidelog_format::location::Location;
use tidelog_format::manifest::{Outcome, Receipt, RefusalDetail};
use tidelog_format::marker::{Decision, EndMarker};
use tidelog_format::segment::{
    MergedWriter, NewSlice, Nonce, SealedSegment, SegmentIdentity, SegmentWriter,
};
use tidelog_types::{
    BucketId, ClusterId, ErrorCode, Incarnation, Offset, OffsetRange, PartitionIndex,
    ProducerEpoch, ProducerId, SegmentName, SegmentSequence, ShardId, Timestamp, TopicId,
    TopicName, TopicNumber, TopicPartition,
};

/// The time of the first record of each file.
pub(crate) const TIME: i64 = 1_700_000_000_000;

/// A file of `tests/golden`.
pub(crate) fn golden(name: &str) -> Bytes {
    let path = format!("{}/tests/golden/{name}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .into()
}

/// Three records: without a key, with two headers, and a tombstone with an earlier time.
pub(crate) fn plain(compression: Compression) -> BatchBuf {
    let mut builder = BatchBuilder::new(compression, 0);
    let at = |delta| Timestamp::from_millis(TIME + delta);
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h1", Some(b"x")), (b"h2", None)];
    builder.append(at(0), None, Some(b"first"), &[]).unwrap();
    builder
        .append(at(5), Some(b"k"), Some(b"second"), &headers)
        .unwrap();
    builder.append(at(-3), Some(b"gone"), None, &[]).unwrap();
    builder.finish(None).unwrap()
}

/// One record of a transaction with this sequence, a second after `TIME` and more.
pub(crate) fn transactional(base_sequence: i32, seconds: i64) -> BatchBuf {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    let time = Timestamp::from_millis(TIME + seconds * 1000);
    builder
        .append(time, Some(b"key"), Some(b"value"), &[])
        .unwrap();
    let stamp = ProducerStamp {
        id: ProducerId::new(77),
        epoch: ProducerEpoch::new(2),
        base_sequence,
        transactional: true,
    };
    builder.finish(Some(stamp)).unwrap()
}

pub(crate) fn cluster() -> ClusterId {
    ClusterId::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f")
}

pub(crate) fn name() -> SegmentName {
    SegmentName::new(Incarnation::new(5), SegmentSequence::new(200))
}

pub(crate) fn identity() -> SegmentIdentity {
    SegmentIdentity {
        cluster: cluster(),
        bucket: BucketId::new(0),
        name: name(),
        nonce: Nonce::new(std::array::from_fn(|i| 16 + u8::try_from(i).unwrap())),
    }
}

pub(crate) fn partition(topic: u64, partition: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(partition))
}

pub(crate) const TOPIC_A: TopicId = TopicId::from_bytes([0xaa; 16]);
pub(crate) const TOPIC_B: TopicId = TopicId::from_bytes([0x11; 16]);

/// A segment of two topics and two shards, pushed out of order.
pub(crate) fn writer() -> SegmentWriter {
    let mut writer = SegmentWriter::new();
    let pushes = [
        (TOPIC_A, partition(7, 0), 1, plain(Compression::None)),
        (TOPIC_B, partition(3, 2), 0, transactional(40, 1)),
        (TOPIC_A, partition(7, 0), 1, transactional(40, 1)),
        (TOPIC_B, partition(3, 0), 1, plain(Compression::None)),
        (TOPIC_A, partition(7, 0), 1, transactional(41, 2)),
    ];
    for (topic, partition, shard, batch) in pushes {
        writer
            .push(topic, partition, ShardId::new(shard), batch)
            .unwrap();
    }
    writer
}

pub(crate) fn sealed() -> SealedSegment {
    writer().seal(&identity()).unwrap()
}

/// One outcome of each kind.
pub(crate) fn receipt() -> Receipt {
    let refused = |code, detail| Outcome::Refused { code, detail };
    Receipt {
        outcomes: vec![
            Outcome::Accepted {
                base_offset: Offset::new(1000),
            },
            Outcome::Accepted {
                base_offset: Offset::new(1003),
            },
            Outcome::Duplicate {
                first_offset: Offset::new(103),
            },
            refused(ErrorCode::CorruptBatch, RefusalDetail::None),
            refused(
                ErrorCode::OffsetMismatch,
                RefusalDetail::NextOffset(Offset::new(12_345)),
            ),
            refused(
                ErrorCode::FencingTokenMismatch,
                RefusalDetail::FencingToken(Bytes::from_static(b"abc")),
            ),
            refused(ErrorCode::OutOfOrderSequence, RefusalDetail::Sequence(42)),
            refused(
                ErrorCode::ProducerFenced,
                RefusalDetail::ProducerEpoch(ProducerEpoch::new(3)),
            ),
        ],
    }
}

pub(crate) fn marker() -> EndMarker {
    EndMarker {
        producer_id: ProducerId::new(i64::MAX),
        producer_epoch: ProducerEpoch::new(300),
        coordinator_epoch: i32::MAX,
        decision: Decision::Abort,
    }
}

pub(crate) fn locations() -> [(&'static str, Location); 3] {
    let segment = Location::Segment {
        bucket: BucketId::new(3),
        segment: SegmentName::new(Incarnation::new(300), SegmentSequence::new(u64::MAX)),
        position: 40,
        length: u32::MAX - 40,
    };
    [
        ("location-segment", segment),
        ("location-inline", Location::Inline { row: 7 }),
        ("location-marker", Location::Marker(marker())),
    ]
}

pub(crate) fn parse(bytes: Bytes) -> BatchBuf {
    let (batch, rest) = BatchBuf::parse(bytes, &BatchRules::stored()).unwrap();
    assert!(rest.is_empty());
    batch
}

/// A merged segment of two topics, with a gap in its offsets and a marker.
pub(crate) fn merged_writer() -> MergedWriter {
    let mut writer = MergedWriter::new(ShardId::new(300), Timestamp::from_millis(TIME + 60_000));
    let at = |batch: BatchBuf, offset: u64| {
        let (view, _) = BatchView::split(batch.to_bytes()).unwrap();
        let (head, body) = view.at_offset(Offset::new(offset));
        Bytes::from([head, body].concat())
    };
    let slice = |topic_id, name, partition_count, partition, base, next| NewSlice {
        topic_id,
        topic_name: TopicName::new(name).unwrap(),
        partition_count,
        partition,
        offsets: OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        },
    };
    let first = slice(
        TOPIC_B,
        "logs.b",
        4,
        partition(3, 2),
        1 << 33,
        (1 << 33) + 1,
    );
    let pieces = [at(transactional(40, 1), 1 << 33)];
    writer.push(first, &pieces).unwrap();
    let second = slice(TOPIC_A, "audit", 1, partition(7, 0), 1000, (1 << 40) + 5);
    let pieces = [
        at(plain(Compression::None), 1000),
        at(transactional(40, 1), 1003),
        marker().to_batch(Offset::new(1 << 40), Timestamp::from_millis(TIME)),
    ];
    writer.push(second, &pieces).unwrap();
    writer
}

pub(crate) fn merged_identity() -> SegmentIdentity {
    SegmentIdentity {
        name: SegmentName::new(Incarnation::new(5), SegmentSequence::new(201)),
        ..identity()
    }
}
