//! Facts about records: what is broken is named, and no compressed bytes take more memory than they are
//! allowed.

use super::super::compress::compress;
use super::super::decompress::{XERIAL_MAGIC, decompress};
use super::*;

fn read_body(count: i32, last: i32, body: &[u8]) -> Result<Vec<Record>, RecordError> {
    let header = BatchHeader {
        record_count: count,
        last_offset_delta: last,
        batch_length: u32::try_from(body.len()).unwrap() + 49,
        ..BatchHeader::default()
    };
    let (view, _) = BatchView::split(with_crc(header, body)).unwrap();
    view.records(Offset::ZERO, DecodeLimit::DEFAULT)?.collect()
}

#[test]
fn each_broken_record_has_its_error() {
    // Length 6, attributes, timestamp, offset, no key, no value, no headers.
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(read_body(1, 0, &good).unwrap().len(), 1);
    let error = |count, body: &[u8]| read_body(count, 0, body).unwrap_err();
    assert!(matches!(
        error(2, &good),
        RecordError::Truncated { index: 1 }
    ));
    assert!(matches!(error(0, &good), RecordError::Trailing(7)));
    assert!(matches!(
        error(1, &[14, 0, 0, 0, 1, 1, 0]),
        RecordError::Truncated { index: 0 }
    ));
    assert!(matches!(
        error(1, &[14, 0, 0, 0, 1, 1, 0, 0]),
        RecordError::RecordTrailing { index: 0, left: 1 }
    ));
    assert!(matches!(
        error(1, &[1]),
        RecordError::Length {
            field: "record",
            value: -1,
            ..
        }
    ));
    assert!(matches!(
        error(1, &[12, 0, 0, 2, 1, 1, 0]),
        RecordError::OffsetDelta { index: 0, delta: 1 }
    ));
    assert!(matches!(
        error(1, &[12, 0, 0, 0, 3, 1, 0]),
        RecordError::Length {
            field: "key",
            value: -2,
            ..
        }
    ));
    assert!(matches!(
        error(1, &[12, 0, 0, 0, 1, 1, 8]),
        RecordError::Truncated { index: 0 }
    ));
    assert!(matches!(
        error(1, &[0xff; 9]),
        RecordError::Varint { index: 0 }
    ));
    // A second record with the offset of the first.
    let twice = [good, good].concat();
    let same = read_body(2, 1, &twice).unwrap_err();
    assert!(matches!(
        same,
        RecordError::OffsetDelta { index: 1, delta: 0 }
    ));
}

#[test]
fn a_decompression_bomb_is_an_error_within_the_limit() {
    let zeros = vec![0; 4 << 20];
    for codec in Compression::ALL.into_iter().skip(1) {
        let mut bomb = Vec::new();
        compress(codec, &zeros, &mut bomb).unwrap();
        let bomb = Bytes::from(bomb);
        let limit = DecodeLimit::bytes(zeros.len() - 1);
        let error = decompress(codec, bomb.clone(), limit).unwrap_err();
        assert!(
            matches!(error, RecordError::TooLarge { .. }),
            "{codec}: {error}"
        );
        let whole = decompress(codec, bomb, DecodeLimit::bytes(zeros.len())).unwrap();
        assert_eq!(whole, zeros, "{codec}");
    }
}

#[test]
fn a_snappy_block_that_claims_more_than_it_can_hold_is_refused_before_memory_is_taken() {
    // The claim is 60 MiB in four bytes, and within the limit.
    let claim = [0x80, 0x80, 0x80, 0x1e, 0];
    let framed = [
        &XERIAL_MAGIC[..],
        &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5],
        &claim,
    ]
    .concat();
    for body in [claim.to_vec(), framed] {
        let error = decompress(Compression::Snappy, body.into(), DecodeLimit::DEFAULT).unwrap_err();
        let RecordError::Decompress { source, .. } = error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains("claims more"), "{source}");
    }
}

#[test]
fn garbage_under_each_codec_is_an_error() {
    for codec in Compression::ALL.into_iter().skip(1) {
        let garbage = Bytes::from_static(b"\xffthis is not what it says");
        let error = decompress(codec, garbage, DecodeLimit::DEFAULT).unwrap_err();
        assert!(matches!(error, RecordError::Decompress { .. }), "{codec}");
    }
}

#[test]
fn lz4_frames_are_what_javas_reader_takes() {
    let mut frame = Vec::new();
    compress(Compression::Lz4, &vec![7; 100_000], &mut frame).unwrap();
    // Version 1, independent blocks, no checksums, no stated size; blocks of at most 64 KiB.
    assert_eq!(frame[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
}

#[test]
fn snappy_is_framed_as_javas_reader_takes_it() {
    let mut framed = Vec::new();
    compress(Compression::Snappy, &vec![7; 40_000], &mut framed).unwrap();
    assert_eq!(framed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let size = u32::from_be_bytes(framed[16..20].try_into().unwrap()) as usize;
    let first = &framed[20..20 + size];
    assert_eq!(snap::raw::decompress_len(first).unwrap(), 32 * 1024);
}

#[test]
fn a_zstd_window_past_the_limit_is_refused() {
    // A frame that states a window of so many bytes as a power of two, and one raw block of one byte.
    let frame = |log: u8| {
        let head = [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
        Bytes::from([&head[..], &[9, 0, 0, b'x']].concat())
    };
    let read = |log, limit| decompress(Compression::Zstd, frame(log), DecodeLimit::bytes(limit));
    assert_eq!(read(23, 1).unwrap(), b"x"[..]);
    assert!(matches!(read(24, 1), Err(RecordError::Decompress { .. })));
    assert_eq!(read(26, 64 << 20).unwrap(), b"x"[..]);
    assert!(matches!(
        read(27, 64 << 20),
        Err(RecordError::Decompress { .. })
    ));
    assert!(matches!(
        read(28, usize::MAX),
        Err(RecordError::Decompress { .. })
    ));
}
