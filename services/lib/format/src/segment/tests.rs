//! Facts about the limits of a segment and about footers that lie.

use tidelog_types::limits::{SEGMENT_BYTES_MAX, SEGMENT_SLICES_MAX};
use tidelog_types::{
    BucketId, ClusterId, Incarnation, PartitionIndex, SegmentName, SegmentSequence, ShardId,
    Timestamp, TopicId, TopicNumber, TopicPartition,
};

use super::*;
use crate::batch::{BatchBuf, BatchBuilder, Compression};
use crate::wire::put_varint;

const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

fn batch(bytes: usize) -> BatchBuf {
    let mut builder = BatchBuilder::new(Compression::None, bytes + 100);
    builder
        .append(Timestamp::from_millis(1), None, Some(&vec![7; bytes]), &[])
        .unwrap();
    builder.finish(None).unwrap()
}

fn partition(topic: u64, index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(index))
}

fn identity() -> SegmentIdentity {
    SegmentIdentity {
        cluster: ClusterId::from_bytes([2; 16]),
        bucket: BucketId::new(0),
        name: SegmentName::new(Incarnation::new(3), SegmentSequence::new(4)),
        nonce: Nonce::new([5; 16]),
    }
}

#[test]
fn a_segment_without_batches_is_none() {
    let writer = SegmentWriter::new();
    assert!(writer.is_empty());
    assert!(writer.seal(&identity()).is_none());
    assert_eq!(writer.manifest_bytes_max(), 0);
}

#[test]
fn a_segment_takes_so_many_partitions_and_no_more() {
    let mut writer = SegmentWriter::new();
    let small = batch(1);
    for index in 0..SEGMENT_SLICES_MAX {
        writer
            .push(TOPIC, partition(1, index), ShardId::new(0), small.clone())
            .unwrap();
    }
    let more = partition(1, SEGMENT_SLICES_MAX);
    let error = writer
        .push(TOPIC, more, ShardId::new(0), small.clone())
        .unwrap_err();
    assert_eq!(error, PushError::Slices);
    assert_eq!(writer.batch_count(), SEGMENT_SLICES_MAX as usize);
    // A partition that is there may still grow, and the whole can be read.
    let handle = writer
        .push(TOPIC, partition(1, 0), ShardId::new(0), small)
        .unwrap();
    let sealed = writer.seal(&identity()).unwrap();
    let place = sealed.place(handle).unwrap();
    assert_eq!((place.slice, place.batch, place.outcome), (0, 1, 1));
    let reader = SegmentReader::open(sealed.chunks.concat().into()).unwrap();
    assert_eq!(reader.check(), Ok(()));
    assert_eq!(reader.footer().slices().len(), SEGMENT_SLICES_MAX as usize);
}

#[test]
fn a_segment_never_passes_its_largest_size() {
    let mut writer = SegmentWriter::new();
    let large = batch(7 << 20);
    let taken = (0..20)
        .take_while(|index| {
            let pushed = writer.push(TOPIC, partition(1, *index), ShardId::new(0), large.clone());
            assert!(matches!(pushed, Ok(_) | Err(PushError::Bytes)));
            pushed.is_ok()
        })
        .count();
    assert_eq!(taken, 9);
    let sealed = writer.seal(&identity()).unwrap();
    assert!(sealed.length <= writer.bytes());
    assert!(writer.bytes() <= u64::from(SEGMENT_BYTES_MAX));
}

#[test]
fn a_partition_that_moved_waits_for_the_next_segment() {
    let mut writer = SegmentWriter::new();
    let small = batch(1);
    writer
        .push(TOPIC, partition(1, 3), ShardId::new(0), small.clone())
        .unwrap();
    let shard = writer
        .push(TOPIC, partition(1, 3), ShardId::new(1), small.clone())
        .unwrap_err();
    assert_eq!(
        shard,
        PushError::Moved {
            partition: partition(1, 3)
        }
    );
    let number = writer
        .push(TOPIC, partition(2, 3), ShardId::new(0), small.clone())
        .unwrap_err();
    assert_eq!(
        number,
        PushError::Moved {
            partition: partition(2, 3)
        }
    );
    let sibling = writer
        .push(TOPIC, partition(2, 4), ShardId::new(0), small)
        .unwrap_err();
    assert_eq!(
        sibling,
        PushError::Moved {
            partition: partition(2, 4)
        }
    );
    assert_eq!(writer.batch_count(), 1);
}

#[test]
fn batches_are_not_copied_into_the_object() {
    let mut writer = SegmentWriter::new();
    let large = batch(1000);
    let start = large.to_bytes().as_ptr();
    writer
        .push(TOPIC, partition(1, 0), ShardId::new(0), large)
        .unwrap();
    let sealed = writer.seal(&identity()).unwrap();
    assert!(sealed.chunks.iter().any(|chunk| chunk.as_ptr() == start));
}

#[test]
fn the_same_batches_are_sealed_again_under_another_name() {
    let mut writer = SegmentWriter::new();
    writer
        .push(TOPIC, partition(1, 0), ShardId::new(0), batch(10))
        .unwrap();
    let first = writer.seal(&identity()).unwrap();
    let name = SegmentName::new(Incarnation::new(3), SegmentSequence::new(5));
    let second = writer
        .seal(&SegmentIdentity { name, ..identity() })
        .unwrap();
    assert_eq!(first.manifests[0].slices, second.manifests[0].slices);
    assert_eq!(second.manifests[0].segment, name);
    let object = second.chunks.concat().into();
    assert!(SegmentReader::open_named(object, identity().cluster, name).is_ok());
}

/// A footer of one topic with these slices: partition, length, batches, records.
fn footer(slices: &[(u32, u64, u64, u64)]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&[1; 16]);
    put_varint(&mut out, 9);
    put_varint(&mut out, slices.len() as u64);
    for (partition, length, batches, records) in slices {
        put_varint(&mut out, u64::from(*partition));
        put_varint(&mut out, 0);
        put_varint(&mut out, *length);
        out.extend_from_slice(&[0; 4]);
        put_varint(&mut out, 0);
        put_varint(&mut out, *batches);
        put_varint(&mut out, *records);
        out.extend_from_slice(&[0, 0]);
    }
    out.push(0);
    out
}

#[test]
fn a_footer_that_contradicts_itself_is_refused() {
    let read = |slices: &[_]| Footer::read(&footer(slices));
    assert!(read(&[(0, 100, 1, 1), (1, 200, 2, 2)]).is_ok());
    let order = SegmentError::Order { slice: 1 };
    assert_eq!(read(&[(1, 100, 1, 1), (1, 100, 1, 1)]), Err(order));
    assert_eq!(read(&[(2, 100, 1, 1), (1, 100, 1, 1)]), Err(order));
    let slice = |field, value| {
        Err(SegmentError::Slice {
            slice: 0,
            field,
            value,
        })
    };
    assert_eq!(read(&[(0, 60, 1, 1)]), slice("length", 60));
    assert_eq!(read(&[(0, 100, 2, 2)]), slice("batch count", 2));
    assert_eq!(read(&[(0, 100, 0, 0)]), slice("batch count", 0));
    assert_eq!(read(&[(0, 200, 2, 1)]), slice("record count", 1));
    let end = u64::from(u32::MAX) + 40;
    assert_eq!(read(&[(0, u64::from(u32::MAX), 1, 1)]), slice("end", end));
    let none = crate::DecodeError::Range {
        field: "slice count",
        value: 0,
    };
    assert_eq!(read(&[]), Err(SegmentError::Footer(none)));
    assert_eq!(Footer::read(&[0, 0]), Err(SegmentError::SliceCount(0)));
}

#[test]
fn each_byte_has_one_partition() {
    let footer = Footer::read(&footer(&[(0, 100, 1, 1), (5, 200, 1, 1)])).unwrap();
    let of = |position| footer.find_position(position).map(|(index, _)| index);
    assert_eq!(
        [of(0), of(39), of(40), of(139)],
        [None, None, Some(0), Some(0)]
    );
    assert_eq!([of(140), of(339), of(340)], [Some(1), Some(1), None]);
    assert_eq!(footer.slices_end(), 340);
    let (index, slice) = footer.find(TOPIC, PartitionIndex::new(5)).unwrap();
    assert_eq!((index, slice.position), (1, 140));
    assert!(footer.find(TOPIC, PartitionIndex::new(4)).is_none());
}

/// An object of these parts: a trailer that fits the footer, and a header of this cluster.
fn forged(cluster: ClusterId, slices: &[u8], footer: &[u8], footer_position: u64) -> bytes::Bytes {
    let (kind, features) = (SegmentKind::Written, crate::Features::NONE);
    let header = SegmentHeader {
        kind,
        features,
        cluster,
    }
    .encode();
    let trailer = Trailer {
        footer_position,
        footer_length: u32::try_from(footer.len()).unwrap(),
        footer_crc32c: tidelog_crc32c::crc32c(footer),
        nonce: identity().nonce,
        cluster: identity().cluster,
        name: identity().name,
        kind,
        features,
    };
    [&header[..], slices, footer, &trailer.encode()]
        .concat()
        .into()
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let cluster = identity().cluster;
    let index = footer(&[(0, 100, 1, 1)]);
    assert!(SegmentReader::open(forged(cluster, &[0; 100], &index, 140)).is_ok());
    let other = forged(ClusterId::from_bytes([9; 16]), &[0; 100], &index, 140);
    let mismatch = SegmentError::Mismatch { field: "cluster" };
    assert_eq!(SegmentReader::open(other).unwrap_err(), mismatch);
    let gap = forged(cluster, &[0; 101], &index, 141);
    let layout = SegmentError::Layout {
        slices_end: 140,
        footer_position: 141,
    };
    assert_eq!(SegmentReader::open(gap).unwrap_err(), layout);
    let inside = forged(cluster, &[], &index[..20], 20);
    assert!(SegmentReader::open(inside).is_err());
}

#[test]
fn a_slice_has_as_many_batches_as_the_footer_says_and_nothing_else() {
    let two = [batch(1).to_bytes(), batch(1).to_bytes()].concat();
    let slice = |batches: u32, bytes: &[u8]| FooterSlice {
        topic_id: TOPIC,
        partition: partition(1, 0),
        shard: ShardId::new(0),
        position: HEADER_BYTES,
        length: u32::try_from(bytes.len()).unwrap(),
        crc32c: tidelog_crc32c::crc32c(bytes),
        key_id: 0,
        batch_count: batches,
        record_count: 2,
        min_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp::NONE,
    };
    let check = |batches, bytes: &[u8]| {
        check_slice(
            3,
            &slice(batches, bytes),
            &bytes::Bytes::copy_from_slice(bytes),
        )
    };
    assert_eq!(check(2, &two).unwrap().len(), 2);
    let wrong = SegmentError::Slice {
        slice: 3,
        field: "batches found",
        value: 2,
    };
    assert_eq!(check(1, &two).unwrap_err(), wrong);
    assert_eq!(check(3, &two).unwrap_err(), wrong);
    let cut = check(2, &two[..two.len() - 1]).unwrap_err();
    assert!(matches!(
        cut,
        SegmentError::Batch {
            slice: 3,
            batch: 1,
            ..
        }
    ));
    let part = Part::Slice(3);
    let short = check_slice(3, &slice(2, &two), &bytes::Bytes::new()).unwrap_err();
    let needed = two.len() as u64;
    assert_eq!(
        short,
        SegmentError::Truncated {
            part,
            needed,
            remaining: 0
        }
    );
}
