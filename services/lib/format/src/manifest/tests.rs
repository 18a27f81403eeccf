//! Facts about manifests: what breaks a rule is named, and what was written comes back.

use proptest::prelude::*;
use smallvec::smallvec;
use tidelog_types::{Incarnation, PartitionIndex, SegmentSequence, TopicNumber};

use super::*;
use crate::DecodeError;
use crate::wire::put_crc;

fn batch() -> BatchEntry {
    BatchEntry {
        length: 100,
        record_count: 3,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        min_timestamp: Timestamp::from_millis(5),
        max_timestamp: Timestamp::from_millis(9),
        max_timestamp_offset_delta: 2,
        transactional: false,
        control: false,
    }
}

fn idempotent(base_sequence: i32) -> BatchEntry {
    BatchEntry {
        producer_id: ProducerId::new(9),
        producer_epoch: ProducerEpoch::new(4),
        base_sequence,
        ..batch()
    }
}

fn slice(position: u32, batches: &[BatchEntry]) -> SliceEntry {
    SliceEntry {
        partition: TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(2)),
        position,
        length: batches.iter().map(|batch| batch.length).sum(),
        crc32c: 7,
        batches: batches.into(),
    }
}

fn manifest(slices: Vec<SliceEntry>) -> Manifest {
    Manifest {
        segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(2)),
        bucket: BucketId::new(0),
        shard: ShardId::new(0),
        slices,
    }
}

#[test]
fn a_producer_that_goes_on_costs_no_bytes() {
    let lone = manifest(vec![slice(40, &[idempotent(1000)])])
        .encode()
        .len();
    let second = BatchEntry {
        min_timestamp: Timestamp::from_millis(6),
        ..idempotent(1003)
    };
    let both = manifest(vec![slice(40, &[idempotent(1000), second])]);
    assert_eq!(both.encode().len(), lone + 6);
    assert_eq!(Manifest::decode(&both.encode()), Ok(both));
}

#[test]
fn sequences_go_on_from_the_largest_to_zero() {
    assert_eq!(sequence_after(0, 1), 1);
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
    let wrapped = manifest(vec![slice(40, &[idempotent(i32::MAX - 1), idempotent(1)])]);
    assert_eq!(Manifest::decode(&wrapped.encode()), Ok(wrapped));
}

#[test]
fn what_breaks_a_rule_is_named() {
    let check = |slices| manifest(slices).check();
    assert_eq!(check(vec![]), Err(ManifestError::SliceCount(0)));
    assert_eq!(
        check(vec![slice(0, &[])]),
        Err(ManifestError::EmptySlice { slice: 0 })
    );
    let overlap = vec![slice(40, &[batch()]), slice(139, &[batch()])];
    assert_eq!(
        check(overlap),
        Err(ManifestError::SlicePosition {
            slice: 1,
            position: 139
        })
    );
    let past = slice(u32::MAX - 99, &[batch()]);
    let error = ManifestError::SlicePosition {
        slice: 0,
        position: u64::from(u32::MAX) - 99,
    };
    assert_eq!(check(vec![past]), Err(error));
    let longer = SliceEntry {
        length: 101,
        ..slice(40, &[batch()])
    };
    let error = ManifestError::SliceLength {
        slice: 0,
        length: 101,
        sum: 100,
    };
    assert_eq!(check(vec![longer]), Err(error));
}

#[test]
fn a_batch_that_contradicts_itself_is_named() {
    let cases = [
        (
            BatchEntry {
                length: 60,
                ..batch()
            },
            "length",
            60,
        ),
        (
            BatchEntry {
                record_count: 0,
                ..batch()
            },
            "record count",
            0,
        ),
        (
            BatchEntry {
                producer_id: ProducerId::new(-2),
                ..batch()
            },
            "producer id",
            -2,
        ),
        (
            BatchEntry {
                producer_epoch: ProducerEpoch::new(0),
                ..batch()
            },
            "producer epoch",
            0,
        ),
        (
            BatchEntry {
                producer_id: ProducerId::new(1),
                ..batch()
            },
            "producer epoch",
            -1,
        ),
        (
            BatchEntry {
                base_sequence: 0,
                ..batch()
            },
            "base sequence",
            0,
        ),
        (
            BatchEntry {
                max_timestamp_offset_delta: 3,
                ..batch()
            },
            "max timestamp offset delta",
            3,
        ),
    ];
    for (broken, field, value) in cases {
        let found = manifest(vec![slice(40, &[batch(), broken])]).check();
        assert_eq!(
            found,
            Err(ManifestError::Batch {
                slice: 0,
                batch: 1,
                field,
                value
            })
        );
    }
}

#[test]
fn counts_that_lie_end_where_the_bytes_do() {
    let mut bytes = vec![1, 0, 0, 1, 2, 0, 0, 1, 1, 2, 40, 0, 0, 0, 7];
    // A slice of 2^63 batches, and nothing of them.
    bytes.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]);
    put_crc(&mut bytes, 0);
    let error = DecodeError::Truncated {
        needed: 1,
        remaining: 0,
    };
    assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Decode(error)));
    let mut receipt = vec![1, 0xff, 0xff, 0xff, 0xff, 0x0f];
    put_crc(&mut receipt, 0);
    assert_eq!(Receipt::decode(&receipt), Err(ReceiptError::Decode(error)));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for flags in [0b1000, 0b1100, 0b1_0000] {
        let mut bytes = vec![1, 0, 0, 1, 2, 0, 0, 1, 1, 2, 40, 0, 0, 0, 7, 1];
        bytes.extend_from_slice(&[flags, 100, 3, 0, 0, 0, 0]);
        put_crc(&mut bytes, 0);
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Flags(flags)));
    }
}

#[test]
fn an_entry_is_what_the_header_states() {
    let header = BatchHeader {
        batch_length: 88,
        record_count: 4,
        last_offset_delta: 3,
        base_timestamp: Timestamp::from_millis(50),
        max_timestamp: Timestamp::NONE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::new(0),
        base_sequence: 0,
        ..BatchHeader::default()
    };
    let entry = BatchEntry::of(&header);
    let wanted = BatchEntry {
        length: 100,
        record_count: 4,
        min_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp::from_millis(50),
        max_timestamp_offset_delta: 3,
        ..batch()
    };
    assert_eq!(entry, wanted);
}

fn entries() -> impl Strategy<Value = BatchEntry> {
    let producer = prop_oneof![
        Just((ProducerId::NONE, ProducerEpoch::NONE, -1)),
        (0..3_i64, 0..2_i16, -1..6_i32).prop_map(|(id, epoch, sequence)| (
            ProducerId::new(id),
            ProducerEpoch::new(epoch),
            sequence
        )),
        (0..i64::MAX, 0..i16::MAX, -1..i32::MAX).prop_map(|(id, epoch, sequence)| (
            ProducerId::new(id),
            ProducerEpoch::new(epoch),
            sequence
        )),
    ];
    let counts = (61..100_000_u32, 1..=4_u32, 0..4_u32);
    (
        counts,
        producer,
        any::<i64>(),
        any::<i64>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |((length, record_count, delta), producer, min, max, transactional, control)| {
                BatchEntry {
                    length,
                    record_count,
                    producer_id: producer.0,
                    producer_epoch: producer.1,
                    base_sequence: producer.2,
                    min_timestamp: Timestamp::from_millis(min),
                    max_timestamp: Timestamp::from_millis(max),
                    max_timestamp_offset_delta: delta.min(record_count - 1),
                    transactional,
                    control,
                }
            },
        )
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let batches = proptest::collection::vec(entries(), 1..6);
    let slices = (
        any::<u64>(),
        any::<u32>(),
        0..1000_u32,
        any::<u32>(),
        batches,
    );
    let slices = proptest::collection::vec(slices, 1..8);
    let names = (any::<u64>(), any::<u64>(), any::<u16>(), any::<u32>());
    (names, slices).prop_map(|((incarnation, sequence, bucket, shard), parts)| {
        let mut end = 0;
        let mut slices = Vec::new();
        for (topic, partition, gap, crc32c, batches) in parts {
            let partition =
                TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(partition));
            let placed = SliceEntry {
                partition,
                crc32c,
                ..slice(end + gap, &batches)
            };
            end = placed.position + placed.length;
            slices.push(placed);
        }
        Manifest {
            segment: SegmentName::new(
                Incarnation::new(incarnation),
                SegmentSequence::new(sequence),
            ),
            bucket: BucketId::new(bucket),
            shard: ShardId::new(shard),
            slices,
        }
    })
}

proptest! {
    #[test]
    fn any_manifest_comes_back_within_its_bound(manifest in manifests()) {
        prop_assert_eq!(manifest.check(), Ok(()));
        let bytes = manifest.encode();
        let bound = manifest.encoded_len_estimate();
        prop_assert!(bytes.len() <= bound && bound <= bytes.len() + 58 + 29 * manifest.slices.len());
        prop_assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    }

    #[test]
    fn any_flipped_bit_of_any_manifest_is_found(manifest in manifests(), at in any::<prop::sample::Index>()) {
        let mut bytes = manifest.encode();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Manifest::decode(&bytes).is_err());
    }
}

#[test]
fn the_cost_of_a_batch_is_what_it_adds() {
    let mut size = ManifestSize::new();
    let empty = size.bytes();
    let partition = TopicPartition::default();
    size.add_slice(partition);
    size.add_batch(&batch(), None);
    assert!(size.bytes() - empty <= ManifestSize::cost(&batch(), None, true));
    let before = size.bytes();
    size.add_batch(&idempotent(0), Some(&batch()));
    assert_eq!(
        size.bytes() - before,
        ManifestSize::cost(&idempotent(0), Some(&batch()), false)
    );
    let batches: SmallVec<[BatchEntry; 1]> = smallvec![batch(), idempotent(0)];
    let built = manifest(vec![SliceEntry {
        partition,
        ..slice(40, &batches)
    }]);
    assert_eq!(built.encoded_len_estimate(), size.bytes());
}
