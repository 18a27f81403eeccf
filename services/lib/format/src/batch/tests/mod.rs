//! Facts about batches: each rule has its error, and patching leaves the rest as it was.

mod keyless;
mod records;
mod retain;

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::*;

/// A change of a header.
type Change = fn(&mut BatchHeader);

const CLIENT: BatchRules = BatchRules::client(1 << 20);

fn sample(records: usize) -> BatchBuf {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for _ in 0..records {
        builder
            .append(
                Timestamp::from_millis(1000),
                Some(b"key"),
                Some(b"value"),
                &[],
            )
            .unwrap();
    }
    builder.finish(None).unwrap()
}

/// The sample batch with a changed header, under a CRC that is right.
fn changed(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let batch = sample(3);
    let mut header = *batch.header();
    change(&mut header);
    with_crc(header, &batch.body())
}

fn with_crc(mut header: BatchHeader, body: &[u8]) -> Bytes {
    let mut bytes = [&header.encode(), body].concat();
    header.crc = tidelog_crc32c::crc32c(&bytes[21..]);
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    bytes.into()
}

fn refused(change: impl FnOnce(&mut BatchHeader)) -> BatchError {
    BatchBuf::parse(changed(change), &CLIENT).unwrap_err()
}

#[test]
fn a_batch_as_clients_send_it_passes() {
    let (batch, rest) = BatchBuf::parse(changed(|_| {}), &CLIENT).unwrap();
    assert!(rest.is_empty());
    assert_eq!(batch.record_count(), 3);
    // Without a producer id nobody looks at epoch and sequence; a max of -1 is left to the server.
    let careless = changed(|header| {
        header.producer_epoch = ProducerEpoch::new(0);
        header.base_sequence = 0;
        header.max_timestamp = Timestamp::NONE;
    });
    assert!(BatchBuf::parse(careless, &CLIENT).is_ok());
}

#[test]
fn counts_that_contradict_each_other_are_refused() {
    assert_eq!(
        refused(|header| header.last_offset_delta = 3),
        BatchError::LastOffsetDelta { delta: 3, count: 3 }
    );
    assert_eq!(
        refused(|header| header.record_count = i32::MIN),
        BatchError::RecordCount(i32::MIN)
    );
    assert_eq!(
        refused(|header| header.record_count = 0),
        BatchError::RecordCount(0)
    );
}

#[test]
fn what_only_the_log_may_write_is_refused_from_clients_alone() {
    let cases: [(Change, BatchError); 4] = [
        (
            |header| header.attributes = Attributes::from_bits(1 << 5),
            BatchError::Control,
        ),
        (
            |header| header.attributes = Attributes::from_bits(1 << 3),
            BatchError::LogAppendTime,
        ),
        (
            |header| header.attributes = Attributes::from_bits(1 << 6),
            BatchError::DeleteHorizon,
        ),
        (
            |header| header.last_offset_delta = 9,
            BatchError::LastOffsetDelta { delta: 9, count: 3 },
        ),
    ];
    for (change, error) in cases {
        assert_eq!(refused(change), error);
        assert!(
            BatchBuf::parse(changed(change), &BatchRules::stored()).is_ok(),
            "{error}"
        );
    }
}

#[test]
fn producer_fields_that_contradict_each_other_are_refused() {
    let error = |id, epoch, sequence| BatchError::Producer {
        id,
        epoch,
        sequence,
    };
    assert_eq!(
        refused(|header| header.producer_id = ProducerId::new(7)),
        error(7, -1, -1)
    );
    assert_eq!(
        refused(|header| header.producer_id = ProducerId::new(-2)),
        error(-2, -1, -1)
    );
    let no_sequence = refused(|header| {
        header.producer_id = ProducerId::new(7);
        header.producer_epoch = ProducerEpoch::new(0);
    });
    assert_eq!(no_sequence, error(7, 0, -1));
    let no_epoch = refused(|header| {
        header.producer_id = ProducerId::new(7);
        header.base_sequence = 0;
    });
    assert_eq!(no_epoch, error(7, -1, 0));
    let transaction = refused(|header| header.attributes = header.attributes.transactional());
    assert_eq!(transaction, BatchError::TransactionWithoutProducer);
}

#[test]
fn timestamps_and_codecs_without_meaning_are_refused() {
    let stamp = Timestamp::from_millis;
    assert_eq!(
        refused(|header| header.max_timestamp = stamp(999)),
        BatchError::Timestamps {
            base: 1000,
            max: 999
        }
    );
    assert_eq!(
        refused(|header| header.base_timestamp = stamp(-2)),
        BatchError::Timestamps {
            base: -2,
            max: 1000
        }
    );
    for codec in 5..8 {
        let error = refused(|header| header.attributes = Attributes::from_bits(codec));
        assert_eq!(error, BatchError::Codec(u8::try_from(codec).unwrap()));
    }
}

#[test]
fn frames_that_are_broken_are_refused() {
    let bytes = changed(|_| {});
    let parse = |bytes: Vec<u8>| BatchBuf::parse(bytes.into(), &CLIENT).unwrap_err();
    let mut old = bytes.to_vec();
    old[16] = 1;
    assert_eq!(parse(old), BatchError::Magic(1));
    for length in [-1, 0, 48, i32::MIN, i32::MAX] {
        let mut wrong = bytes.to_vec();
        wrong[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(parse(wrong), BatchError::Length(length));
    }
    let needed = bytes.len() as u64;
    let cut = parse(bytes[..bytes.len() - 1].to_vec());
    assert_eq!(
        cut,
        BatchError::Truncated {
            needed,
            remaining: needed - 1
        }
    );
    let mut damaged = bytes.to_vec();
    damaged[70] ^= 1;
    assert!(matches!(parse(damaged), BatchError::Crc { .. }));
}

#[test]
fn a_batch_over_the_limit_is_refused_before_it_is_hashed() {
    let mut bytes = changed(|_| {}).to_vec();
    let size = u32::try_from(bytes.len()).unwrap();
    assert!(BatchBuf::parse(bytes.clone().into(), &BatchRules::client(size)).is_ok());
    bytes[70] ^= 1;
    let error = BatchBuf::parse(bytes.into(), &BatchRules::client(size - 1)).unwrap_err();
    assert_eq!(
        error,
        BatchError::TooLarge {
            size,
            limit: size - 1
        }
    );
}

#[test]
fn batches_behind_each_other_are_split_and_the_iterator_ends_at_an_error() {
    let (one, two) = (sample(1).to_bytes(), sample(2).to_bytes());
    let bytes: Bytes = [one.as_ref(), &two, &one[..20]].concat().into();
    let found: Vec<_> = BatchBuf::parse_all(bytes, CLIENT).collect();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].as_ref().unwrap().to_bytes(), one);
    assert_eq!(found[1].as_ref().unwrap().to_bytes(), two);
    assert_eq!(
        *found[2].as_ref().unwrap_err(),
        BatchError::Truncated {
            needed: 61,
            remaining: 20
        }
    );
}

#[test]
fn log_append_time_renews_the_crc_without_hashing_the_records() {
    for records in [1, 2, 50, 3000] {
        let before = sample(records);
        let after = before
            .clone()
            .with_log_append_time(Timestamp::from_millis(123_456));
        let whole = after.to_bytes();
        assert_eq!(whole, after.chunks().collect::<Vec<_>>().concat());
        let (parsed, _) = BatchBuf::parse(whole.clone(), &BatchRules::stored()).unwrap();
        assert_eq!(parsed.header(), after.header());
        assert_eq!(
            parsed.header().attributes.timestamp_type(),
            TimestampType::LogAppendTime
        );
        assert_eq!(after.whole_crc32c(), tidelog_crc32c::crc32c(&whole));
        assert_eq!(after.body(), before.body());
        let mut times = parsed.records(Offset::ZERO, DecodeLimit::DEFAULT).unwrap();
        assert!(times.all(|record| record.unwrap().timestamp.as_millis() == 123_456));
    }
}

#[test]
fn a_read_patches_offset_and_epoch_and_nothing_else() {
    let stored = sample(2).to_bytes();
    let (view, _) = BatchView::split(stored.clone()).unwrap();
    let (head, body) = view.at_offset(Offset::new(1 << 40));
    assert_eq!(
        body.as_ptr(),
        stored[HEADER_BYTES..].as_ptr(),
        "the records are not copied"
    );
    let read: Bytes = [head, body].concat().into();
    let (batch, _) = BatchBuf::parse(read.clone(), &CLIENT).unwrap();
    assert_eq!(batch.header().base_offset, 1 << 40);
    assert_eq!(batch.header().partition_leader_epoch, 0);
    assert_eq!(read[16..], stored[16..]);
    let mut copy = stored.to_vec();
    patch_offsets(&mut copy, Offset::new(1 << 40)).unwrap();
    assert_eq!(copy, read);
}

#[test]
fn records_are_slices_of_the_batch() {
    let batch = sample(1);
    let body = batch.body();
    let record = batch
        .records(Offset::ZERO, DecodeLimit::DEFAULT)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let value = record.value.unwrap();
    assert!(body.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn a_builder_knows_its_size_and_refuses_what_no_batch_can_hold() {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    assert!(matches!(
        BatchBuilder::new(Compression::None, 0).finish(None),
        Err(BuilderError::Empty)
    ));
    let early = builder.append(Timestamp::from_millis(-2), None, None, &[]);
    assert!(matches!(early, Err(BuilderError::Timestamp(_))));
    assert!(builder.is_empty());
    let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(b"v"))];
    let bound = record_bytes_max(Some(b"k"), Some(b"v"), &headers);
    builder
        .append(Timestamp::from_millis(5), Some(b"k"), Some(b"v"), &headers)
        .unwrap();
    let size = builder.size();
    assert!(size <= HEADER_BYTES + bound);
    let stamp = ProducerStamp {
        id: ProducerId::new(1),
        epoch: ProducerEpoch::new(0),
        base_sequence: -1,
        transactional: false,
    };
    assert_eq!(builder.record_count(), 1);
    assert!(matches!(
        builder.finish(Some(stamp)),
        Err(BuilderError::Producer(_))
    ));
    assert_eq!(sample(1).size() as usize, sample(1).to_bytes().len());
}

proptest! {
    #[test]
    fn a_header_comes_back(bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES)) {
        let mut bytes = bytes;
        bytes[16] = 2;
        bytes[8] &= 0x3f;
        bytes[11] |= 0x40;
        let header = BatchHeader::parse(&bytes).unwrap();
        prop_assert_eq!(&header.encode()[..], &bytes[..]);
    }

    #[test]
    fn any_header_under_a_right_crc_passes_or_has_an_error(
        attributes in any::<u16>(),
        count in -2..5_i32,
        last in -2..5_i32,
        id in -3..3_i64,
        epoch in -2..2_i16,
        sequence in -2..2_i32,
        base in -3..3_i64,
        max in -3..3_i64,
    ) {
        let bytes = changed(|header| {
            header.attributes = Attributes::from_bits(attributes);
            header.record_count = count;
            header.last_offset_delta = last;
            header.producer_id = ProducerId::new(id);
            header.producer_epoch = ProducerEpoch::new(epoch);
            header.base_sequence = sequence;
            header.base_timestamp = Timestamp::from_millis(base);
            header.max_timestamp = Timestamp::from_millis(max);
        });
        // What a client may send, the log may hold.
        if let Ok((batch, _)) = BatchBuf::parse(bytes.clone(), &CLIENT) {
            prop_assert_eq!(batch.record_count(), batch.header().offset_count());
            prop_assert!(BatchBuf::parse(bytes, &BatchRules::stored()).is_ok());
        }
    }
}
