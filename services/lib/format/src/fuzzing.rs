//! The bodies of the fuzz targets, so that a test on a stable toolchain can run them too.
//!
//! Each takes any bytes, and panics if a decoder panics or what it accepts is not what was written.
//! Where a CRC guards a decoder, the body also tries the bytes behind a CRC that is right, since random
//! bytes would never get past it.

use bytes::Bytes;
use tidelog_types::Offset;

use crate::batch::{
    Attributes, BatchBuf, BatchHeader, BatchRules, BatchView, DecodeLimit, HEADER_BYTES,
    patch_offsets,
};
use crate::location::Location;
use crate::manifest::{Manifest, Receipt};
use crate::segment::{AnySegment, Footer, MergedFooter, SegmentHeader, Trailer};

/// A body of a fuzz target.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 8] = [
    ("batch", batch),
    ("records", records),
    ("manifest", manifest),
    ("receipt", receipt),
    ("location", location),
    ("footer", footer),
    ("merged_footer", merged_footer),
    ("segment", segment),
];

/// The most that the records of one batch may take here.
const LIMIT: DecodeLimit = DecodeLimit::bytes(1 << 20);

/// Batches as clients send them and as they lie in the log.
pub fn batch(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    for rules in [BatchRules::client(1 << 20), BatchRules::stored()] {
        for batch in BatchBuf::parse_all(bytes.clone(), rules).map_while(Result::ok) {
            check_batch(&batch);
        }
    }
    // The same with a CRC that is right.
    if let Ok((view, _)) = BatchView::split(bytes) {
        let batch = with_crc(view.header(), &view.body());
        if let Ok((batch, _)) = BatchBuf::parse(batch, &BatchRules::stored()) {
            check_batch(&batch);
        }
    }
}

/// Records behind a header that is right: the first byte is the codec, the second the record count.
pub fn records(data: &[u8]) {
    let [codec, count, body @ ..] = data else {
        return;
    };
    let header = BatchHeader {
        attributes: Attributes::from_bits(u16::from(codec % 5)),
        record_count: i32::from(*count),
        last_offset_delta: i32::from(*count),
        batch_length: u32::try_from(body.len()).unwrap_or(0).saturating_add(49),
        ..BatchHeader::default()
    };
    let batch = with_crc(&header, body);
    if let Ok((view, _)) = BatchView::split(batch) {
        drain(&view);
    }
}

/// Manifests, with the CRC of the input and with one that is right.
pub fn manifest(data: &[u8]) {
    for bytes in with_and_without_crc(data) {
        if let Ok(manifest) = Manifest::decode(&bytes) {
            assert_eq!(manifest.check(), Ok(()));
            let again = manifest.encode();
            assert!(again.len() <= manifest.encoded_len_estimate());
            assert_eq!(Manifest::decode(&again), Ok(manifest));
        }
    }
}

/// Receipts, with the CRC of the input and with one that is right.
pub fn receipt(data: &[u8]) {
    for bytes in with_and_without_crc(data) {
        if let Ok(receipt) = Receipt::decode(&bytes) {
            assert_eq!(receipt.encode(), bytes);
        }
    }
}

/// Locations.
pub fn location(data: &[u8]) {
    if let Ok(location) = Location::decode(data) {
        assert_eq!(location.encode(), data);
    }
}

/// Footers, without the CRC in their trailer.
pub fn footer(data: &[u8]) {
    if let Ok(footer) = Footer::read(data) {
        assert!(u32::try_from(footer.slices_end()).is_ok());
        assert_eq!(Footer::read(&footer.encode()), Ok(footer));
    }
}

/// Footers of merged segments, without the CRC in their trailer.
pub fn merged_footer(data: &[u8]) {
    if let Ok(footer) = MergedFooter::read(data) {
        assert!(u32::try_from(footer.slices_end()).is_ok());
        for (_, slice) in footer.slices() {
            let lengths = slice.extents.iter().map(|extent| extent.length);
            assert_eq!(lengths.sum::<u32>(), slice.length);
            let pairs = slice.extents.windows(2);
            assert!(
                pairs
                    .into_iter()
                    .all(|pair| pair[0].offsets.next == pair[1].offsets.base)
            );
        }
        assert_eq!(MergedFooter::read(&footer.encode()), Ok(footer));
    }
}

/// Whole segments, headers and trailers.
pub fn segment(data: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(data) {
        assert!(data.starts_with(&header.encode()));
    }
    if let Ok(trailer) = Trailer::decode(data) {
        assert!(data.ends_with(&trailer.encode()));
    }
    if let Ok(segment) = AnySegment::open(Bytes::copy_from_slice(data)) {
        let sizes: u64 = match &segment {
            AnySegment::Written(reader) => {
                let slices = reader.footer().slices().iter();
                slices.map(|slice| u64::from(slice.length)).sum()
            }
            AnySegment::Merged(reader) => {
                let slices = reader.footer().slices();
                slices.map(|(_, slice)| u64::from(slice.length)).sum()
            }
        };
        assert!(sizes <= data.len() as u64);
        // Damage in a slice is found here; the answer matters less than that there is one.
        let _ = segment.check();
    }
}

fn check_batch(batch: &BatchBuf) {
    let whole = batch.to_bytes();
    assert_eq!(whole.len(), batch.size() as usize);
    assert_eq!(batch.whole_crc32c(), tidelog_crc32c::crc32c(&whole));
    assert!(whole.starts_with(&batch.header().encode()));
    let Ok((view, _)) = BatchView::split(whole.clone()) else {
        panic!("a batch has a frame")
    };
    let mut copy = whole.to_vec();
    assert_eq!(patch_offsets(&mut copy, Offset::new(7)), Ok(()));
    let (head, body) = view.at_offset(Offset::new(7));
    assert_eq!([head, body].concat(), copy);
    drain(&view);
}

fn drain(view: &BatchView) {
    let Ok(records) = view.records(Offset::ZERO, LIMIT) else {
        return;
    };
    let mut bytes = 0;
    let mut next = Offset::ZERO;
    for record in records.map_while(Result::ok) {
        assert!(record.offset >= next, "offsets ascend");
        next = record.offset.checked_add(1).unwrap_or(Offset::MAX);
        bytes += record.key.map_or(0, |key| key.len());
        bytes += record.value.map_or(0, |value| value.len());
    }
    assert!(
        bytes <= LIMIT.get().max(view.bytes().len()),
        "records stay within the limit"
    );
}

fn with_crc(header: &BatchHeader, body: &[u8]) -> Bytes {
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(body);
    let crc = tidelog_crc32c::crc32c(&bytes[21..]);
    bytes[..HEADER_BYTES].copy_from_slice(&BatchHeader { crc, ..*header }.encode());
    bytes.into()
}

fn with_and_without_crc(data: &[u8]) -> [Vec<u8>; 2] {
    let mut sealed = data.to_vec();
    sealed.extend_from_slice(&tidelog_crc32c::crc32c(data).to_be_bytes());
    [data.to_vec(), sealed]
}
