//! What compaction leaves of batches: bytes, offsets and times of what stays, whatever the codec.

use super::*;
use crate::extent::{place, prove};
use tidelog_types::OffsetRange;

const HORIZON: Timestamp = Timestamp::from_millis(9_000_000_000_000);

/// Eight records, every third a tombstone, of a producer in a transaction.
fn batch(codec: Compression) -> BatchView {
    let mut builder = BatchBuilder::new(codec, 0);
    for at in 0..8_u8 {
        let time = Timestamp::from_millis(5_000 - i64::from(at) * 300);
        let value = (at % 3 != 0).then(|| vec![at; 100]);
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(&[at]))];
        let headers = &headers[..usize::from(at % 2)];
        builder
            .append(time, Some(&[at]), value.as_deref(), headers)
            .unwrap();
    }
    let stamp = ProducerStamp {
        id: ProducerId::new(7),
        epoch: ProducerEpoch::new(2),
        base_sequence: 40,
        transactional: true,
    };
    let mut bytes = builder.finish(Some(stamp)).unwrap().to_bytes().to_vec();
    patch_offsets(&mut bytes, Offset::new(100)).unwrap();
    BatchView::split(bytes.into()).unwrap().0
}

fn records(bytes: Bytes) -> Vec<Record> {
    let (batch, rest) = BatchBuf::parse(bytes, &BatchRules::stored()).unwrap();
    assert!(rest.is_empty());
    let base = Offset::from_i64(batch.header().base_offset).unwrap();
    let records = batch.records(base, DecodeLimit::DEFAULT).unwrap();
    records.map(Result::unwrap).collect()
}

fn retained(
    batch: &BatchView,
    horizon: Option<Timestamp>,
    keep: impl FnMut(&Record) -> bool,
) -> Retained {
    let limit = DecodeLimit::DEFAULT;
    batch
        .retain(Offset::new(100), limit, horizon, keep)
        .unwrap()
}

#[test]
fn what_stays_of_a_batch_is_as_it_was_and_at_its_offset() {
    for codec in Compression::ALL {
        let batch = batch(codec);
        let all = records(batch.bytes().clone());
        assert_eq!(retained(&batch, None, |_| true), Retained::All);
        assert_eq!(retained(&batch, None, |_| false), Retained::None);
        for mask in [0b1010_0110_u8, 0b1000_0000, 0b0000_0001, 0b0001_1000] {
            let stays = |record: &Record| mask >> (record.offset.get() - 100) & 1 == 1;
            let expected: Vec<_> = all.iter().filter(|record| stays(record)).cloned().collect();
            for horizon in [None, Some(HORIZON)] {
                let Retained::Some(bytes) = retained(&batch, horizon, stays) else {
                    panic!("some records stay");
                };
                assert_eq!(records(bytes.clone()), expected, "{codec} {mask:b}");
                let header = BatchHeader::parse(&bytes).unwrap();
                let before = batch.header();
                assert_eq!(header.offset_count(), 8);
                assert_eq!(header.base_offset, 100);
                assert_eq!(header.base_sequence, before.base_sequence);
                assert_eq!(header.producer_id, before.producer_id);
                assert_eq!(header.producer_epoch, before.producer_epoch);
                assert_eq!(header.partition_leader_epoch, 0);
                let latest = expected.iter().map(|record| record.timestamp).max();
                assert_eq!(Some(header.max_timestamp), latest);
                let has_tombstones = expected.iter().any(|record| record.value.is_none());
                let is_set = header.attributes.has_delete_horizon();
                assert_eq!(is_set, horizon.is_some() && has_tombstones);
                assert_eq!(is_set, header.base_timestamp == HORIZON);
            }
        }
    }
}

#[test]
fn a_batch_says_once_until_when_its_tombstones_stay() {
    for codec in Compression::ALL {
        let batch = batch(codec);
        let Retained::Some(bytes) = retained(&batch, Some(HORIZON), |_| true) else {
            panic!("it has tombstones");
        };
        assert_eq!(records(bytes.clone()), records(batch.bytes().clone()));
        let again = BatchView::split(bytes).unwrap().0;
        let later = Some(Timestamp::from_millis(HORIZON.as_millis() + 1));
        assert_eq!(retained(&again, later, |_| true), Retained::All);
        // What is left out later does not change the time.
        let Retained::Some(bytes) = retained(&again, later, |record| record.offset.get() != 101)
        else {
            panic!("some records stay");
        };
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.base_timestamp, HORIZON);
        assert_eq!(records(bytes).len(), 7);
    }
}

#[test]
fn offsets_without_records_are_a_batch_that_every_reader_passes_over() {
    let before = batch(Compression::None).bytes().clone();
    let whole: Bytes = [before, gap_batch(Offset::new(108), 500)].concat().into();
    let offsets = OffsetRange {
        base: Offset::new(100),
        next: Offset::new(608),
    };
    assert_eq!(prove(None, std::slice::from_ref(&whole)), Ok(()));
    let mut placed = bytes::BytesMut::from(&whole[..]);
    place(&mut placed, offsets).unwrap();
    assert_eq!(placed, whole);
    // One that is missing is seen.
    let mut cut = bytes::BytesMut::from(&whole[..whole.len() - HEADER_BYTES]);
    assert!(place(&mut cut, offsets).is_err());
    assert!(records(gap_batch(Offset::new(108), 1)).is_empty());
    let largest = gap_batch(Offset::ZERO, u32::MAX);
    let header = BatchHeader::parse(&largest).unwrap();
    assert_eq!(header.offset_count(), GAP_OFFSETS_MAX);
}
