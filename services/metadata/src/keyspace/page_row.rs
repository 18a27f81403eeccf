//! Pages: extents of one partition, in the order of their offsets.
//!
//! What tail rows say group by group, pages say partition by partition, so that old extents need not
//! be in memory: one read finds those at an offset.

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::limits::{STORE_TRANSACTION_BYTES_MAX, STORE_VALUE_BYTES_MAX};
use tidelog_types::{Offset, OffsetRange, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::Keyspace;

/// The newest version of these rows. On disk for ever; version 1 says nothing of bytes and commit times.
const SIZES_VERSION: u8 = 2;

/// Most extents of a page.
pub(crate) const PAGE_EXTENTS_MAX: usize = 256;

/// Bytes of an extent at most: its count, its location with a length, its checksum, its timestamp.
const EXTENT_BYTES_MAX: usize = 10 + 36 + 5 + 10;
/// Bytes of a page's own fields at most.
const PAGE_FIXED_BYTES_MAX: usize = 32;
/// Bytes of a page at most.
pub(crate) const PAGE_BYTES_MAX: usize = PAGE_FIXED_BYTES_MAX + PAGE_EXTENTS_MAX * EXTENT_BYTES_MAX;

const _: () = assert!(PAGE_BYTES_MAX <= STORE_VALUE_BYTES_MAX);
const _: () = assert!(PAGE_BYTES_MAX <= STORE_TRANSACTION_BYTES_MAX / 8);

/// Stands for a commit time that is not known.
const UNKNOWN: Timestamp = Timestamp::from_millis(i64::MAX);

/// Extents of one partition that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRow {
    /// The largest timestamp of all extents before the page, so that a search by time can halve.
    pub max_before: Timestamp,
    /// The bytes of all extents before the page, also of those that are deleted; 0 in version 1.
    pub bytes_before: u64,
    /// The commit time of the last extent: no extent of the page is younger. As late as can be in version 1, which
    /// does not say it.
    pub committed_at: Timestamp,
    /// At least one; each begins where the one before ends.
    pub extents: Vec<Extent>,
}

impl PageRow {
    /// The row's value. The offset at which the first extent begins is in the key.
    pub fn encode(&self) -> Bytes {
        let count = u16::try_from(self.extents.len()).unwrap_or(u16::MAX);
        let mut row = RowWriter::new(SIZES_VERSION)
            .i64(self.max_before.as_millis())
            .u64(self.bytes_before)
            .i64(self.committed_at.as_millis())
            .u16(count);
        let mut time = 0;
        for extent in &self.extents {
            let offsets = extent.offsets;
            let location = extent.location.encode();
            row = row
                .varint(offsets.next.get().saturating_sub(offsets.base.get()))
                .u8(u8::try_from(location.len()).unwrap_or(u8::MAX))
                .fixed(&location)
                .zigzag(extent.max_timestamp.as_millis().wrapping_sub(time));
            row = match extent.crc32c {
                Some(crc) => row.u8(1).u32(crc),
                None => row.u8(0),
            };
            time = extent.max_timestamp.as_millis();
        }
        row.finish()
    }

    /// Reads back a row, with the offset at which the page begins.
    pub(crate) fn of_row((key, value): (Bytes, Bytes)) -> Result<(Offset, Self), RowError> {
        let base = Keyspace::page_base(&key).ok_or(RowError {
            kind: "page",
            what: "its key has another length",
        })?;
        Ok((base, Self::decode(base, value)?))
    }

    /// Reads back the value of the page that begins at `base`.
    pub fn decode(base: Offset, value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("page", value, SIZES_VERSION)?;
        let max_before = Timestamp::from_millis(row.i64()?);
        let (mut bytes_before, mut committed_at) = (0, UNKNOWN);
        if version >= SIZES_VERSION {
            bytes_before = row.u64()?;
            committed_at = Timestamp::from_millis(row.i64()?);
        }
        let count = row.u16()?;
        let (mut base, mut time) = (base, 0_i64);
        let mut extents = Vec::new();
        for _ in 0..count {
            let next = base.checked_add(row.varint()?).filter(|next| *next > base);
            let next = next.ok_or_else(|| row.error("its offsets do not go up"))?;
            let location = Location::decode(&row.short_bytes()?)
                .map_err(|_| row.error("a location is damaged"))?;
            time = time.wrapping_add(row.zigzag()?);
            let crc32c = match row.u8()? {
                0 => None,
                1 => Some(row.u32()?),
                _ => return Err(row.error("a flag is unknown")),
            };
            extents.push(Extent {
                offsets: OffsetRange { base, next },
                location,
                crc32c,
                max_timestamp: Timestamp::from_millis(time),
            });
            base = next;
        }
        if extents.is_empty() {
            return Err(row.error("it has no extent"));
        }
        row.finish()?;
        Ok(Self {
            max_before,
            bytes_before,
            committed_at,
            extents,
        })
    }

    /// Its extents, each with the bytes of all extents up to and with it; 0 in version 1, which does not count them.
    pub fn sized(&self) -> impl Iterator<Item = (&Extent, u64)> {
        let is_counted = self.is_counted();
        let mut bytes = self.bytes_before;
        self.extents.iter().map(move |extent| {
            if is_counted {
                bytes = bytes.saturating_add(u64::from(extent.byte_count()));
            }
            (extent, bytes)
        })
    }

    /// Whether it says anything of bytes and commit times.
    pub(crate) fn is_counted(&self) -> bool {
        self.committed_at < UNKNOWN
    }

    /// The offsets of all its extents; none in a page that was not read back.
    pub fn offsets(&self) -> Option<OffsetRange> {
        let (first, last) = self.extents.first().zip(self.extents.last())?;
        Some(OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next,
        })
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

    use super::*;

    fn page(extents: u64, number: u64, time: i64) -> PageRow {
        let extent = |index: u64| Extent {
            offsets: OffsetRange {
                base: Offset::new(10 + index * 3),
                next: Offset::new(13 + index * 3),
            },
            location: Location::Segment {
                bucket: BucketId::new(u16::MAX),
                segment: SegmentName::new(Incarnation::new(number), SegmentSequence::new(number)),
                position: u32::MAX - 7,
                length: 7,
            },
            crc32c: index.is_multiple_of(2).then_some(u32::MAX),
            max_timestamp: Timestamp::from_millis([time, -time][usize::from(index & 1 == 1)]),
        };
        PageRow {
            max_before: Timestamp::from_millis(time),
            bytes_before: number,
            committed_at: Timestamp::from_millis(time),
            extents: (0..extents).map(extent).collect(),
        }
    }

    #[test]
    fn pages_round_trip_and_cut_longer_or_empty_ones_are_errors() {
        let page = page(3, 70_000, 99);
        let value = page.encode();
        let base = Offset::new(10);
        assert_eq!(PageRow::decode(base, value.clone()).as_ref(), Ok(&page));
        for cut in 0..value.len() {
            assert!(PageRow::decode(base, value.slice(..cut)).is_err(), "{cut}");
        }
        let longer = [value.as_ref(), &[0]].concat();
        assert!(PageRow::decode(base, longer.into()).is_err());
        let empty = PageRow {
            extents: Vec::new(),
            ..page
        };
        assert!(PageRow::decode(base, empty.encode()).is_err());
    }

    #[test]
    fn a_page_of_version_1_says_nothing_of_bytes_and_commit_times() {
        let page = page(2, 3, 99);
        let value = page.encode();
        let old = [&[1], &value[1..9], &value[25..]].concat();
        let read = PageRow::decode(Offset::new(10), old.into());
        let expected = PageRow {
            bytes_before: 0,
            committed_at: Timestamp::from_millis(i64::MAX),
            ..page
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn the_largest_page_fits_a_value() {
        let page = page(PAGE_EXTENTS_MAX as u64, u64::MAX, i64::MAX);
        let value = page.encode();
        assert!(value.len() <= PAGE_BYTES_MAX, "{}", value.len());
        assert_eq!(PageRow::decode(Offset::new(10), value), Ok(page));
    }
}
