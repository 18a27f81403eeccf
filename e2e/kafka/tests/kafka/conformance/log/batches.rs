//! Batches of records, also such as no producer makes.

use bytes::{Bytes, BytesMut};
use tidelog_format::batch::{Attributes, BatchBuilder, BatchHeader, Compression};
use tidelog_types::Timestamp;

/// Where the checksum of a header stands, and where begins what it is of.
const CRC_AT: usize = 17;
const SUMMED_FROM: usize = 21;
/// The bytes of a header.
const HEADER_BYTES: usize = 61;

/// A batch of values, each a millisecond later than the one before.
pub(super) fn batch(from: i64, values: &[&str], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 0);
    for (at, value) in (from..).zip(values) {
        let time = Timestamp::from_millis(at);
        let appended = builder.append(time, Some(b"key"), Some(value.as_bytes()), &[]);
        appended.expect("a record fits a batch");
    }
    let batch = builder.finish(None).expect("the batch has a record");
    batch.to_bytes()
}

/// The same batch with another header and the checksum of that.
pub(super) fn with_header(bytes: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(bytes).expect("the batch has a header");
    change(&mut header);
    let mut bytes = BytesMut::from(&bytes[..]);
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    let sum = tidelog_crc32c::crc32c(&bytes[SUMMED_FROM..]);
    bytes[CRC_AT..SUMMED_FROM].copy_from_slice(&sum.to_be_bytes());
    bytes.freeze()
}

/// The same batch with a byte of its records changed.
pub(super) fn damaged(bytes: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.freeze()
}

/// A batch of one record that is not compressed, changed in many ways: what is changed, and the batch.
pub(super) fn odd(now: i64) -> Vec<(&'static str, Bytes)> {
    let good = batch(now, &["a", "b"], Compression::None);
    let header = |change: fn(&mut BatchHeader)| with_header(&good, change);
    let mut old = BytesMut::from(&good[..]);
    old[16] = 1;
    vec![
        ("nothing", Bytes::new()),
        ("a damaged batch", damaged(&good)),
        ("half a batch", good.slice(..good.len() / 2)),
        ("half a header", good.slice(..30)),
        (
            "a batch and a half",
            [&good[..], &good[..40]].concat().into(),
        ),
        ("two batches", [&good[..], &good[..]].concat().into()),
        ("a batch of the older format", old.freeze()),
        (
            "a batch that begins later",
            header(|it| it.base_offset = 77),
        ),
        (
            "a batch of another leader",
            header(|it| it.partition_leader_epoch = 5),
        ),
        (
            "a batch that counts too many",
            header(|it| it.record_count = 3),
        ),
        (
            "a batch that counts too many offsets",
            header(|it| it.last_offset_delta = 2),
        ),
        ("a batch without a record", header(|it| it.record_count = 0)),
        (
            "a batch that counts less than none",
            header(|it| it.record_count = -1),
        ),
        (
            "a marker",
            header(|it| it.attributes = Attributes::new(Compression::None).control()),
        ),
        (
            "a batch with the time of the server",
            header(|it| it.attributes = Attributes::new(Compression::None).log_append_time()),
        ),
        (
            "a batch of a transaction of nobody",
            header(|it| it.attributes = Attributes::new(Compression::None).transactional()),
        ),
        (
            "a batch of an odd compression",
            header(|it| it.attributes = Attributes::from_bits(7)),
        ),
        (
            "a batch whose records are not compressed as it says",
            header(|it| it.attributes = Attributes::new(Compression::Gzip)),
        ),
        (
            "a batch from tomorrow",
            batch(now + 86_400_000, &["a"], Compression::None),
        ),
        (
            "a batch from long ago",
            batch(1_000, &["a"], Compression::None),
        ),
        (
            "a batch without a time",
            batch(-1, &["a"], Compression::None),
        ),
    ]
}
