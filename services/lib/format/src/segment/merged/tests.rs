//! Facts about what a merged segment takes and refuses, how its extents are cut, and footers that lie.

use bytes::{Bytes, BytesMut};
use tidelog_types::limits::{MERGED_BYTES_MAX, MERGED_EXTENT_BYTES, MERGED_SLICES_MAX};
use tidelog_types::{
    BucketId, ClusterId, Incarnation, Offset, OffsetRange, PartitionIndex, SegmentName,
    SegmentSequence, ShardId, Timestamp, TopicId, TopicName, TopicNumber, TopicPartition,
};

use super::*;
use crate::batch::{BatchBuilder, Compression};
use crate::extent;
use crate::segment::{
    AnySegment, Nonce, SegmentError, SegmentIdentity, SegmentKind, SegmentReader,
};
use crate::wire::{put_varint, put_zigzag};

const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

fn identity() -> SegmentIdentity {
    SegmentIdentity {
        cluster: ClusterId::from_bytes([2; 16]),
        bucket: BucketId::new(0),
        name: SegmentName::new(Incarnation::new(3), SegmentSequence::new(4)),
        nonce: Nonce::new([5; 16]),
    }
}

/// Batches of one record each, whose values have these sizes, from an offset on.
fn batches(base: u64, sizes: &[usize]) -> Bytes {
    let mut all = BytesMut::new();
    for (offset, size) in (base..).zip(sizes) {
        let mut builder = BatchBuilder::new(Compression::None, size + 100);
        let time = Timestamp::from_millis(1000 + i64::try_from(offset).unwrap());
        let value = vec![7; *size];
        builder.append(time, None, Some(&value), &[]).unwrap();
        all.extend_from_slice(&builder.finish(None).unwrap().to_bytes());
    }
    extent::place(&mut all, offsets(base, base + sizes.len() as u64)).unwrap();
    all.freeze()
}

fn offsets(base: u64, next: u64) -> OffsetRange {
    OffsetRange {
        base: Offset::new(base),
        next: Offset::new(next),
    }
}

fn slice(topic: u8, partition: u32, base: u64, next: u64) -> NewSlice {
    NewSlice {
        topic_id: TopicId::from_bytes([topic; 16]),
        topic_name: TopicName::new(&format!("topic-{topic}")).unwrap(),
        partition_count: 100_000,
        partition: TopicPartition::new(
            TopicNumber::new(u64::from(topic)),
            PartitionIndex::new(partition),
        ),
        offsets: offsets(base, next),
    }
}

fn writer() -> MergedWriter {
    MergedWriter::new(ShardId::new(7), Timestamp::from_millis(9))
}

fn open(writer: &MergedWriter) -> MergedReader {
    let sealed = writer.seal(&identity()).unwrap();
    let object: Bytes = sealed.chunks.concat().into();
    assert_eq!(object.len() as u64, sealed.length);
    let reader = MergedReader::open_named(object, identity().cluster, identity().name).unwrap();
    assert_eq!(reader.check(), Ok(()));
    reader
}

#[test]
fn extents_are_cut_at_batches_before_they_grow_past_their_size_wherever_pieces_end() {
    let limit = MERGED_EXTENT_BYTES as usize;
    let sizes = [limit / 2, limit / 3, limit / 3, 2 * limit, 10, 10, limit];
    let whole = batches(50, &sizes);
    let cut = sizes[0] + 70 + sizes[1] + 70;
    let cut = (cut - 20..cut + 20)
        .find(|cut| whole[cut + 16] == 2 && whole[cut + 7] == 52)
        .unwrap();
    let pieces = [whole.slice(..cut), Bytes::new(), whole.slice(cut..)];
    for pieces in [&[whole.clone()][..], &pieces] {
        let mut writer = writer();
        let extents = writer.push(slice(1, 3, 50, 60), pieces).unwrap().to_vec();
        let cuts: Vec<_> = extents
            .iter()
            .map(|extent| (extent.offsets.base.get(), extent.offsets.next.get()))
            .collect();
        // Offsets behind the last batch belong to the last extent.
        assert_eq!(cuts, [(50, 52), (52, 53), (53, 54), (54, 56), (56, 60)]);
        let times = extents
            .iter()
            .map(|extent| extent.max_timestamp.as_millis());
        assert_eq!(times.collect::<Vec<_>>(), [1051, 1052, 1053, 1055, 1056]);
        let reader = open(&writer);
        let (topic, slice) = reader.footer().slices().next().unwrap();
        assert_eq!((topic.id, topic.name.as_str()), (TOPIC, "topic-1"));
        assert_eq!((&slice.extents, slice.position), (&extents, 40));
        assert_eq!(slice.offsets(), offsets(50, 60));
        assert_eq!(slice.min_timestamp.as_millis(), 1050);
        assert_eq!(slice.crc32c, tidelog_crc32c::crc32c(&whole));
        let batches = reader.slice(0).unwrap();
        let found: Vec<_> = batches.iter().map(|view| view.bytes().clone()).collect();
        assert_eq!(found.concat(), whole);
    }
}

#[test]
fn a_gap_between_batches_stays_within_an_extent() {
    let mut writer = writer();
    let pieces = [batches(5, &[1]), batches(9, &[1])];
    writer.push(slice(1, 0, 2, 20), &pieces).unwrap();
    let reader = open(&writer);
    let (_, slice) = reader.footer().slices().next().unwrap();
    assert_eq!(slice.offsets(), offsets(2, 20));
    assert_eq!(slice.extents.len(), 1);
}

#[test]
fn offsets_that_do_not_fit_are_refused_and_the_segment_is_as_it_was() {
    let mut writer = writer();
    writer.push(slice(2, 3, 0, 1), &[batches(0, &[1])]).unwrap();
    let cases: [(NewSlice, Vec<Bytes>); 8] = [
        // Below the slice, overlapping, past the end.
        (slice(2, 4, 6, 9), vec![batches(5, &[1])]),
        (slice(2, 4, 5, 9), vec![batches(5, &[1]), batches(5, &[1])]),
        (slice(2, 4, 5, 6), vec![batches(5, &[1, 1])]),
        // Nothing, a partition beyond the topic's, a batch cut short.
        (slice(2, 4, 5, 6), vec![Bytes::new()]),
        (slice(2, 100_000, 5, 6), vec![batches(5, &[1])]),
        (slice(2, 4, 5, 6), vec![batches(5, &[1]).slice(..60)]),
        // Not behind the one before.
        (slice(2, 3, 1, 2), vec![batches(1, &[1])]),
        (slice(1, 9, 1, 2), vec![batches(1, &[1])]),
    ];
    let before = open(&writer).footer().clone();
    for (number, (slice, pieces)) in cases.into_iter().enumerate() {
        assert!(writer.push(slice, &pieces).is_err(), "case {number}");
    }
    let renamed = NewSlice {
        topic_name: TopicName::new("other").unwrap(),
        ..slice(2, 4, 5, 6)
    };
    let error = writer.push(renamed, &[batches(5, &[1])]).unwrap_err();
    assert!(matches!(error, WriteError::Order(_)), "{error}");
    assert_eq!(open(&writer).footer(), &before);
}

#[test]
fn a_merged_segment_takes_so_many_partitions_and_bytes_and_no_more() {
    let mut all = writer();
    assert!(all.is_empty() && all.seal(&identity()).is_none());
    let small = [batches(0, &[1])];
    for partition in 0..MERGED_SLICES_MAX {
        all.push(slice(1, partition, 0, 1), &small).unwrap();
    }
    let error = all.push(slice(1, MERGED_SLICES_MAX, 0, 1), &small);
    assert_eq!(error.unwrap_err(), WriteError::Slices);
    let footer = open(&all).footer().clone();
    assert_eq!(footer.slices().count(), MERGED_SLICES_MAX as usize);
    let bytes = footer.encode();
    assert_eq!(MergedFooter::read(&bytes), Ok(footer));

    let large = batches(0, &[(MERGED_BYTES_MAX / 8) as usize]);
    let mut all = writer();
    let taken = (0..20)
        .take_while(|partition| {
            let pushed = all.push(slice(1, *partition, 0, 1), std::slice::from_ref(&large));
            assert!(matches!(pushed, Ok(_) | Err(WriteError::Bytes)));
            pushed.is_ok()
        })
        .count();
    assert_eq!(taken, 7);
    let sealed = all.seal(&identity()).unwrap();
    assert!(sealed.length <= u64::from(MERGED_BYTES_MAX));
}

#[test]
fn the_planned_size_bounds_the_length() {
    let mut size = MergedSize::new();
    let mut all = writer();
    for topic in 1..9 {
        size.add_topic("topic-1".len());
        for partition in 0..u32::from(topic) {
            let pieces = [batches(1 << 40, &[500_000, 600_000, 20, 20])];
            size.add_slice(pieces[0].len() as u64);
            all.push(slice(topic, partition, 1 << 40, (1 << 40) + 4), &pieces)
                .unwrap();
        }
    }
    let sealed = all.seal(&identity()).unwrap();
    assert!(sealed.length <= size.bytes());
    assert!(sealed.length + 36 * 120 + 8 * 40 + 60 >= size.bytes());
}

#[test]
fn each_kind_is_read_by_its_own_reader_and_by_that_of_any_kind() {
    let mut all = writer();
    all.push(slice(1, 0, 0, 1), &[batches(0, &[1])]).unwrap();
    let object: Bytes = all.seal(&identity()).unwrap().chunks.concat().into();
    let error = SegmentReader::open(object.clone()).unwrap_err();
    let (expected, found) = (SegmentKind::Written, SegmentKind::Merged);
    assert_eq!(error, SegmentError::OtherKind { expected, found });
    let any = AnySegment::open(object).unwrap();
    assert!(matches!(any, AnySegment::Merged(_)));
    assert_eq!(any.trailer().name, identity().name);
    assert_eq!(any.check(), Ok(()));
}

/// A footer of one topic and one slice, with one field after the other changed.
fn lying(change: impl Fn(&mut Fields)) -> Result<MergedFooter, SegmentError> {
    let mut fields = Fields {
        topics: 1,
        name: "logs".to_owned(),
        partition_count: 5,
        slices: 1,
        partition: 4,
        key_id: 0,
        batch_count: 1,
        base: 10,
        extents: 1,
        length: 61,
        count: 3,
    };
    change(&mut fields);
    MergedFooter::read(&fields.encode())
}

struct Fields {
    topics: u64,
    name: String,
    partition_count: u64,
    slices: u64,
    partition: u64,
    key_id: u64,
    batch_count: u64,
    base: u64,
    extents: u64,
    length: u64,
    count: u64,
}

impl Fields {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, 7);
        put_zigzag(&mut out, 1);
        put_varint(&mut out, self.topics);
        for _ in 0..self.topics.min(2) {
            out.extend_from_slice(&[1; 16]);
            put_varint(&mut out, 2);
            put_varint(&mut out, self.name.len() as u64);
            out.extend_from_slice(self.name.as_bytes());
            put_varint(&mut out, self.partition_count);
            put_varint(&mut out, self.slices);
            for _ in 0..self.slices.min(2) {
                for field in [self.partition, self.key_id, self.batch_count] {
                    put_varint(&mut out, field);
                }
                put_zigzag(&mut out, 5);
                put_varint(&mut out, self.base);
                put_varint(&mut out, self.extents);
                for _ in 0..self.extents.min(2) {
                    put_varint(&mut out, self.length);
                    out.extend_from_slice(&[0; 4]);
                    put_varint(&mut out, self.count);
                    put_zigzag(&mut out, 0);
                }
            }
        }
        put_varint(&mut out, 0);
        out
    }
}

#[test]
fn a_footer_that_lies_is_refused_at_the_field_that_does() {
    assert!(lying(|_| {}).is_ok());
    let refused: [fn(&mut Fields); 21] = [
        |fields| fields.topics = 0,
        |fields| fields.topics = 2,
        |fields| fields.topics = u64::MAX,
        |fields| fields.name = String::new(),
        |fields| fields.name = "not a name".to_owned(),
        |fields| fields.name = "x".repeat(250),
        |fields| fields.partition_count = 4,
        |fields| fields.partition_count = 100_001,
        |fields| fields.partition_count = u64::MAX,
        |fields| fields.slices = 0,
        |fields| fields.slices = 2,
        |fields| fields.slices = u64::MAX,
        |fields| fields.key_id = 1,
        |fields| fields.batch_count = 0,
        |fields| fields.batch_count = 2,
        |fields| fields.base = Offset::MAX.get(),
        |fields| fields.extents = 0,
        |fields| fields.extents = u64::MAX,
        |fields| fields.length = 60,
        |fields| fields.length = u64::from(MERGED_BYTES_MAX),
        |fields| fields.count = 0,
    ];
    for (number, change) in refused.into_iter().enumerate() {
        assert!(lying(change).is_err(), "case {number}");
    }
    let two = lying(|fields| {
        fields.extents = 2;
        fields.batch_count = 2;
    });
    let slice = two.unwrap().topics()[0].slices[0].clone();
    assert_eq!((slice.length, slice.offsets()), (122, offsets(10, 16)));
}
