//! Every flipped bit and every cut of what has a CRC is found, and the error says what was hit.

use bytes::Bytes;
use tidelog_format::batch::{BatchBuf, BatchError, BatchRules};
use tidelog_format::manifest::{Manifest, ManifestError, Receipt};
use tidelog_format::segment::{
    AnySegment, HEADER_BYTES, MergedReader, Part, SegmentError, SegmentHeader, SegmentReader,
    TRAILER_BYTES, Trailer,
};
use tidelog_types::{BucketId, ClusterId, SegmentName, SegmentSequence};

use super::fixtures::{self, golden};

/// Every variant of `bytes` with one bit flipped, with the byte that it is in.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(move |bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, flipped)
    })
}

#[test]
fn a_manifest_with_a_flipped_bit_or_a_cut_is_refused() {
    let bytes = golden("manifest-shard-1");
    for (at, flipped) in flips(&bytes) {
        assert!(Manifest::decode(&flipped).is_err(), "byte {at}");
    }
    for cut in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let version = [&[9], &bytes[1..]].concat();
    assert_eq!(Manifest::decode(&version), Err(ManifestError::Version(9)));
}

#[test]
fn a_manifest_with_features_is_read_only_if_they_may_be_ignored() {
    let bytes = golden("manifest-shard-0");
    let seal = |front: Vec<u8>| {
        let crc = tidelog_crc32c::crc32c(&front).to_be_bytes();
        [front, crc.to_vec()].concat()
    };
    let mut required = bytes[..bytes.len() - 4].to_vec();
    required[1] = 0b100;
    let error = Manifest::decode(&seal(required)).unwrap_err();
    assert!(matches!(error, ManifestError::Features(unknown) if unknown.bits == 0b100));
    // An ignorable feature and its extension: the last byte before the CRC is the extension's length.
    let mut ignorable = bytes[..bytes.len() - 5].to_vec();
    ignorable[2] = 0b100;
    ignorable.extend_from_slice(&[3, 7, 8, 9]);
    assert_eq!(Manifest::decode(&seal(ignorable)), Manifest::decode(&bytes));
}

#[test]
fn a_manifest_of_a_segment_in_the_store_is_refused_by_who_does_not_know_such() {
    let mut manifest = Manifest::decode(&golden("manifest-shard-0")).unwrap();
    manifest.bucket = BucketId::STORE;
    let bytes = manifest.encode();
    assert_eq!(bytes[1], 1, "it is a required feature");
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    let mut without = bytes[..bytes.len() - 4].to_vec();
    without[1] = 0;
    let crc = tidelog_crc32c::crc32c(&without).to_be_bytes();
    let error = Manifest::decode(&[without, crc.to_vec()].concat()).unwrap_err();
    assert_eq!(error, ManifestError::Bucket(BucketId::STORE));
}

#[test]
fn a_receipt_with_a_flipped_bit_or_a_cut_is_refused() {
    let bytes = golden("receipt");
    for (at, flipped) in flips(&bytes) {
        assert!(Receipt::decode(&flipped).is_err(), "byte {at}");
    }
    for cut in 0..bytes.len() {
        assert!(Receipt::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_batch_with_a_flipped_bit_behind_its_crc_is_refused() {
    let bytes = golden("batch-plain");
    for (at, flipped) in flips(&bytes).filter(|(at, _)| *at >= 16) {
        let parsed = BatchBuf::parse(flipped.into(), &BatchRules::stored());
        assert!(parsed.is_err(), "byte {at}");
    }
    for cut in 0..bytes.len() {
        let parsed = BatchBuf::parse(bytes.slice(..cut), &BatchRules::stored());
        assert!(
            matches!(parsed, Err(BatchError::Truncated { .. })),
            "cut at {cut}"
        );
    }
}

#[test]
fn header_and_trailer_with_a_flipped_bit_or_a_cut_are_refused() {
    let bytes = golden("segment");
    let header = &bytes[..HEADER_BYTES as usize];
    for (at, flipped) in flips(header) {
        assert!(SegmentHeader::decode(&flipped).is_err(), "byte {at}");
    }
    let trailer = &bytes[bytes.len() - TRAILER_BYTES as usize..];
    for (at, flipped) in flips(trailer) {
        assert!(Trailer::decode(&flipped).is_err(), "byte {at}");
    }
    for cut in 0..header.len() {
        assert!(
            SegmentHeader::decode(&header[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    for cut in 1..=trailer.len() {
        assert!(Trailer::decode(&trailer[cut..]).is_err(), "cut at {cut}");
    }
}

#[test]
fn every_flipped_bit_of_a_segment_is_found_and_its_part_is_named() {
    let bytes = golden("segment");
    let whole = SegmentReader::open(bytes.clone()).unwrap();
    let footer = usize::try_from(whole.trailer().footer_position).unwrap();
    let trailer = bytes.len() - TRAILER_BYTES as usize;
    for (at, flipped) in flips(&bytes) {
        let found = SegmentReader::open(flipped.into()).and_then(|reader| reader.check());
        let found = found.expect_err("damage is found");
        let position = u32::try_from(at).unwrap();
        let part = match whole.footer().find_position(position) {
            Some((index, _)) => Part::Slice(index),
            None if at < footer => Part::Header,
            None if at < trailer => Part::Footer,
            None => Part::Trailer,
        };
        let named = match found {
            SegmentError::Crc { part, .. }
            | SegmentError::Magic { part, .. }
            | SegmentError::Version { part, .. } => part,
            other => panic!("byte {at}: {other}"),
        };
        assert_eq!(named, part, "byte {at}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_merged_segment_is_found_and_the_part_is_named() {
    let bytes = golden("segment-merged");
    let whole = MergedReader::open(bytes.clone()).unwrap();
    let footer = usize::try_from(whole.trailer().footer_position).unwrap();
    let trailer = bytes.len() - TRAILER_BYTES as usize;
    for (at, flipped) in flips(&bytes) {
        let found = AnySegment::open(flipped.into()).and_then(|segment| segment.check());
        let found = found.expect_err("damage is found");
        let slices = (0..).zip(whole.footer().slices());
        let inside = |end: u64| (at as u64) < end;
        let slice = slices
            .filter(|(_, (_, slice))| at >= slice.position as usize && inside(slice.end()))
            .map(|(index, _)| index);
        let part = match slice.last() {
            Some(index) => Part::Slice(index),
            None if at < footer => Part::Header,
            None if at < trailer => Part::Footer,
            None => Part::Trailer,
        };
        let named = match found {
            SegmentError::Crc { part, .. }
            | SegmentError::Magic { part, .. }
            | SegmentError::Version { part, .. } => part,
            other => panic!("byte {at}: {other}"),
        };
        assert_eq!(named, part, "byte {at}");
    }
    for cut in 0..bytes.len() {
        assert!(
            AnySegment::open(bytes.slice(..cut)).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_segment_that_was_cut_or_grew_is_refused() {
    let bytes = golden("segment");
    for cut in 0..bytes.len() {
        assert!(
            SegmentReader::open(bytes.slice(..cut)).is_err(),
            "cut at {cut}"
        );
        if cut > 0 {
            assert!(
                SegmentReader::open(bytes.slice(cut..)).is_err(),
                "cut before {cut}"
            );
        }
    }
    // A whole trailer behind the wrong number of bytes.
    let (front, back) = bytes.split_at(100);
    let grown: Bytes = [front, b"x", back].concat().into();
    let error = SegmentReader::open(grown).unwrap_err();
    assert!(matches!(error, SegmentError::FooterEnd { .. }), "{error}");
}

#[test]
fn a_segment_of_another_name_or_cluster_is_told_apart() {
    let bytes = golden("segment");
    let name = SegmentName::new(fixtures::name().incarnation, SegmentSequence::new(201));
    let error = SegmentReader::open_named(bytes.clone(), fixtures::cluster(), name).unwrap_err();
    assert!(matches!(error, SegmentError::Name { .. }), "{error}");
    let cluster = ClusterId::from_bytes([9; 16]);
    let error = SegmentReader::open_named(bytes, cluster, fixtures::name()).unwrap_err();
    assert!(matches!(error, SegmentError::Cluster { .. }), "{error}");
}
