use bytes::Bytes;
use proptest::prelude::*;
use tidelog_blob::BackupName;
use tidelog_types::{
    ClusterGeneration, ClusterId, GroupNumber, Incarnation, SegmentSequence, ShardId, Timestamp,
};

use super::*;

const ORIGIN: Origin = Origin {
    cluster: ClusterId::from_bytes([9; 16]),
    nonce: [7; 16],
    generation: ClusterGeneration::new(3),
};

fn name(text: &str) -> BackupName {
    BackupName::new(text).unwrap()
}

fn end() -> End {
    End {
        name: name("nightly"),
        begun_at: Timestamp::from_millis(5),
        ended_at: Timestamp::from_millis(6),
        parts: 2,
        keys: 3,
        bytes: 4,
        checksum: 5,
        reached: [(ShardId::new(0), GroupNumber::new(9))].into(),
        writers: [
            (Incarnation::new(1), SegmentSequence::new(7)),
            (Incarnation::new(4), SegmentSequence::new(2)),
        ]
        .into(),
    }
}

#[test]
fn an_object_is_taken_apart_as_it_was_put_together() {
    let sealed = seal(&ORIGIN, ObjectKind::Part, 6, b"rows");
    let (origin, number, body) = unseal(&sealed, ObjectKind::Part).unwrap();
    assert_eq!((origin, number, body.as_ref()), (ORIGIN, 6, &b"rows"[..]));
    let other = unseal(&sealed, ObjectKind::End).unwrap_err();
    let expected = FormatError::Kind {
        expected: 3,
        found: 2,
    };
    assert_eq!(other, expected);
}

#[test]
fn every_cut_every_byte_more_and_every_flipped_bit_is_an_error() {
    let sealed = seal(&ORIGIN, ObjectKind::Begin, 0, b"some body");
    for cut in 0..sealed.len() {
        let error = unseal(&sealed.slice(..cut), ObjectKind::Begin).unwrap_err();
        assert!(matches!(error, FormatError::Truncated { .. }), "{error}");
    }
    let longer = Bytes::from([sealed.as_ref(), &[0]].concat());
    let error = unseal(&longer, ObjectKind::Begin).unwrap_err();
    assert_eq!(error, FormatError::Trailing(1));
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let damaged = Bytes::from(damaged);
        assert!(unseal(&damaged, ObjectKind::Begin).is_err(), "bit {bit}");
    }
}

/// The bytes of a header with some changed and its CRC made right again.
fn changed(at: usize, bytes: &[u8]) -> Bytes {
    let mut object = seal(&ORIGIN, ObjectKind::End, 1, b"").to_vec();
    object[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = tidelog_crc32c::crc32c(&object[..68]);
    object[68..72].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(object)
}

#[test]
fn newer_versions_and_features_are_refused_and_ignorable_ones_are_not() {
    let refused = |object| unseal(&object, ObjectKind::End).unwrap_err();
    assert_eq!(refused(changed(8, &[0, 2])), FormatError::Version(2));
    assert_eq!(refused(changed(0, b"TIDELOGS")), FormatError::Magic);
    let features = refused(changed(12, &[0, 0, 0, 1]));
    assert!(matches!(features, FormatError::Features(_)), "{features}");
    unseal(&changed(16, &[0xff; 4]), ObjectKind::End).unwrap();
}

#[test]
fn bodies_round_trip_and_cut_longer_or_misnamed_ones_are_errors() {
    let begin = Begin {
        name: name("nightly"),
        begun_at: Timestamp::from_millis(-5),
    };
    let body = Bytes::from(begin.encode());
    assert_eq!(
        Begin::decode(body.clone(), &begin.name).as_ref(),
        Ok(&begin)
    );
    for cut in 0..body.len() {
        assert!(Begin::decode(body.slice(..cut), &begin.name).is_err());
    }
    let other = Begin::decode(body, &name("weekly")).unwrap_err();
    assert!(matches!(other, FormatError::Name { .. }), "{other}");

    let end = end();
    let body = Bytes::from(end.encode());
    assert_eq!(End::decode(body.clone(), &end.name).as_ref(), Ok(&end));
    for cut in 0..body.len() {
        assert!(End::decode(body.slice(..cut), &end.name).is_err());
    }
    let longer = Bytes::from([body.as_ref(), &[0]].concat());
    let error = End::decode(longer, &end.name).unwrap_err();
    assert_eq!(error, FormatError::Trailing(1));
}

#[test]
fn writers_out_of_order_are_an_error() {
    let end = end();
    let mut body = end.encode();
    let at = body.len() - 32;
    let (first, second) = body[at..].split_at_mut(16);
    first.swap_with_slice(second);
    let error = End::decode(Bytes::from(body), &end.name).unwrap_err();
    assert_eq!(error, FormatError::Range("order of writers"));
}

#[test]
fn rows_that_no_store_can_have_are_errors() {
    for (lengths, what) in [
        ([0x02, 0x01, 0, 0, 0, 0], "key length"),
        ([0, 1, 0, 0x01, 0x86, 0xa1], "value length"),
    ] {
        let mut rows = Rows::new(Bytes::copy_from_slice(&lengths));
        assert_eq!(rows.next(), Some(Err(FormatError::Range(what))));
        assert_eq!(rows.next(), None);
    }
}

proptest! {
    #[test]
    fn rows_round_trip(rows in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..300)), 0..20)) {
        let mut body = Vec::new();
        let mut bytes = 0;
        for (key, value) in &rows {
            put_row(&mut body, key, value);
            bytes += row_bytes(key, value);
        }
        prop_assert_eq!(bytes, body.len());
        let read: Result<Vec<_>, _> = Rows::new(Bytes::from(body)).collect();
        let read: Vec<_> = read.unwrap().into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn any_bytes_end_with_rows_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let length = body.len();
        prop_assert!(Rows::new(Bytes::from(body)).count() <= length);
    }
}
