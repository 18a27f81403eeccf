//! Proves segments: what they say of themselves, and their bytes.

use std::ops::Range;

use bytes::Bytes;
use tidelog_blob::object_store;
use tidelog_blob::object_store::path::Path;
use tidelog_format::batch::BatchHeader;
use tidelog_format::extent::prove;
use tidelog_format::segment::{
    Footer, HEADER_BYTES, MergedFooter, SegmentError, SegmentHeader, SegmentKind, TRAILER_BYTES,
    Trailer,
};
use tidelog_types::{ClusterId, Offset, SegmentName};

use super::difference::Difference;
use super::known::{Known, Named};
use super::reader::{Reader, Unreadable};

/// Bytes at the end of an object that nearly always have all of its index.
const TAIL_BYTES: u64 = 64 * 1024;
/// Bytes of an index at most: 65,536 slices of a merged segment, with their extents.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Extents that follow each other are read together up to so many bytes.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// What a segment says of its bytes.
#[derive(Debug)]
pub(crate) enum Index {
    Written(Footer),
    Merged(MergedFooter),
}

/// Why there is no index.
#[derive(Debug)]
pub(crate) enum NoIndex {
    /// The object is gone.
    Missing,
    /// It is not what it should be.
    Broken(String),
    Bucket(object_store::Error),
}

impl From<Unreadable> for NoIndex {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Missing => Self::Missing,
            Unreadable::Short => Self::Broken("it is shorter than it was".to_owned()),
            Unreadable::Bucket(error) => Self::Bucket(error),
        }
    }
}

impl From<SegmentError> for NoIndex {
    fn from(error: SegmentError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Reads and checks the index of a segment, which must be of this cluster and have this name and length.
pub(crate) async fn read_index(
    reader: &Reader,
    path: &Path,
    cluster: ClusterId,
    segment: SegmentName,
    length: u64,
) -> Result<Index, NoIndex> {
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = reader.range(path, start..length).await?;
    let trailer = Trailer::decode(&tail)?;
    trailer.check_identity(cluster, segment)?;
    trailer.check_length(length)?;
    let index = trailer.footer_position;
    if length.saturating_sub(index) > INDEX_BYTES_MAX {
        return Err(NoIndex::Broken("its index is larger than any".to_owned()));
    }
    if index < start {
        tail = reader.range(path, index..length).await?;
    }
    let skip = length - (tail.len() as u64).min(length);
    let from = usize::try_from(index.saturating_sub(skip)).unwrap_or(usize::MAX);
    let to = tail.len().saturating_sub(TRAILER_BYTES as usize);
    let footer = tail.get(from..to).unwrap_or_default();
    let header = if start == 0 && skip == 0 {
        tail.slice(..(HEADER_BYTES as usize).min(tail.len()))
    } else {
        reader.range(path, 0..u64::from(HEADER_BYTES)).await?
    };
    trailer.check_header(&SegmentHeader::decode(&header)?)?;
    Ok(match trailer.kind {
        SegmentKind::Written => Index::Written(Footer::decode(footer, &trailer)?),
        SegmentKind::Merged => Index::Merged(MergedFooter::decode(footer, &trailer)?),
    })
}

impl Index {
    const fn kind(&self) -> SegmentKind {
        match self {
            Self::Written(_) => SegmentKind::Written,
            Self::Merged(_) => SegmentKind::Merged,
        }
    }

    /// What is wrong with an extent, by what the segment says of it.
    fn fault(&self, named: &Named) -> Option<String> {
        let fault = match self {
            Self::Written(footer) => {
                let slices = footer.slices().iter();
                let mut slices = slices.filter(|slice| slice.partition == named.part.partition);
                match slices.next() {
                    None => "the segment has no slice of the partition",
                    Some(slice) if slice.shard != named.shard => {
                        "the segment has the partition for another shard"
                    }
                    Some(slice) => {
                        let is_within =
                            named.position >= slice.position && named.end() <= slice.end();
                        let is_whole =
                            (named.position, named.length) == (slice.position, slice.length);
                        let has_other = |crc| crc != slice.crc32c;
                        if !is_within {
                            "it is not inside the slice of its partition"
                        } else if is_whole && named.crc32c.is_some_and(has_other) {
                            "metadata has another checksum than the segment"
                        } else {
                            return None;
                        }
                    }
                }
            }
            Self::Merged(footer) => {
                let mut slices = footer.slices();
                let slice = slices.find(|(_, slice)| slice.partition == named.part.partition);
                // The last one that does not begin behind it.
                let found = slice.and_then(|(_, slice)| {
                    let after = slice
                        .extents
                        .partition_point(|extent| extent.position <= named.position);
                    slice.extents.get(after.checked_sub(1)?)
                });
                // A rebuild takes a part of an extent where another one has the rest.
                let is_part = found.is_some_and(|extent| {
                    let offsets = named.part.offsets;
                    let end = u64::from(extent.position) + u64::from(extent.length);
                    named.length < extent.length
                        && named.end() <= end
                        && offsets.base >= extent.offsets.base
                        && offsets.next <= extent.offsets.next
                });
                match found {
                    _ if footer.shard != named.shard => "the segment is of another shard",
                    None => "the segment has no extent there",
                    Some(_) if is_part => return None,
                    Some(extent) if extent.position != named.position => {
                        "the segment has no extent there"
                    }
                    Some(extent)
                        if extent.length != named.length
                            || extent.offsets != named.part.offsets =>
                    {
                        "the segment has another length or other offsets there"
                    }
                    Some(extent) if named.crc32c.is_some_and(|crc| crc != extent.crc32c) => {
                        "metadata has another checksum than the segment"
                    }
                    Some(_) => return None,
                }
            }
        };
        Some(fault.to_owned())
    }
}

/// How much of a segment is proven, and how.
#[derive(Debug)]
pub(super) struct Proof<'a> {
    pub(super) reader: &'a Reader,
    pub(super) path: Path,
    pub(super) cluster: ClusterId,
    pub(super) segment: SegmentName,
    pub(super) known: &'a Known,
    pub(super) length: u64,
    pub(super) all_bytes: bool,
}

impl Proof<'_> {
    /// What is wrong with the segment. What is gone or too short by now is found by who looks for that.
    pub(super) async fn run(self) -> Result<Vec<Difference>, object_store::Error> {
        let segment = self.segment;
        let mut found = Vec::new();
        let index = read_index(self.reader, &self.path, self.cluster, segment, self.length).await;
        let kind = index.as_ref().ok().map(Index::kind);
        match index {
            Ok(index) => {
                let faults = self.known.extents.iter();
                let faults =
                    faults.filter_map(|named| Some(self.difference(named, index.fault(named)?)));
                found.extend(faults);
            }
            Err(NoIndex::Missing) => return Ok(found),
            Err(NoIndex::Broken(fault)) => found.push(Difference::Index { segment, fault }),
            Err(NoIndex::Bucket(error)) => return Err(error),
        }
        if self.all_bytes {
            self.bytes(kind, &mut found).await?;
        }
        Ok(found)
    }

    fn difference(&self, named: &Named, fault: String) -> Difference {
        Difference::Extent {
            segment: self.segment,
            part: named.part,
            bytes: (named.position, named.length),
            fault,
        }
    }

    /// Reads all that extents name.
    async fn bytes(
        &self,
        kind: Option<SegmentKind>,
        found: &mut Vec<Difference>,
    ) -> Result<(), object_store::Error> {
        let mut extents: Vec<&Named> = self.known.extents.iter().collect();
        extents.sort_unstable_by_key(|named| named.position);
        let mut rest = &extents[..];
        while let Some((range, count)) = together(rest) {
            let (now, later) = rest.split_at(count);
            rest = later;
            // Beyond the end there is nothing, and somebody else says so.
            if range.end > self.length {
                continue;
            }
            let mut bytes = match self.reader.range(&self.path, range.clone()).await {
                Ok(bytes) => bytes,
                Err(Unreadable::Missing | Unreadable::Short) => return Ok(()),
                Err(Unreadable::Bucket(error)) => return Err(error),
            };
            let mut faults = faults(now, &range, &bytes, kind);
            if !faults.is_empty() {
                // Once more: damage on the way is no damage.
                bytes = match self.reader.range(&self.path, range.clone()).await {
                    Ok(bytes) => bytes,
                    Err(Unreadable::Missing | Unreadable::Short) => return Ok(()),
                    Err(Unreadable::Bucket(error)) => return Err(error),
                };
                faults = self::faults(now, &range, &bytes, kind);
            }
            let faults = faults.into_iter();
            found.extend(faults.map(|(named, fault)| self.difference(&named, fault)));
        }
        Ok(())
    }
}

/// The first extents that are read together, and how many they are.
fn together(extents: &[&Named]) -> Option<(Range<u64>, usize)> {
    let first = extents.first()?;
    let start = u64::from(first.position);
    let mut end = first.end();
    let mut count = 1;
    for named in extents.iter().skip(1) {
        if u64::from(named.position) != end || named.end() - start > READ_BYTES {
            break;
        }
        end = named.end();
        count += 1;
    }
    Some((start..end, count))
}

fn faults(
    extents: &[&Named],
    range: &Range<u64>,
    bytes: &Bytes,
    kind: Option<SegmentKind>,
) -> Vec<(Named, String)> {
    let faults = extents.iter().filter_map(|named| {
        let from = usize::try_from(u64::from(named.position) - range.start).ok()?;
        let part = bytes.get(from..from + named.length as usize)?;
        Some((**named, fault_in(named, part, kind)?))
    });
    faults.collect()
}

/// What is wrong with the bytes of an extent (invariant I6): its checksum, the checksums of its batches, or which
/// offsets they take, if it is known what kind of segment it is.
fn fault_in(named: &Named, bytes: &[u8], kind: Option<SegmentKind>) -> Option<String> {
    let checksums = [named.crc32c, None];
    for crc32c in checksums {
        if let Err(error) = prove(crc32c, &[bytes]) {
            return Some(error.to_string());
        }
    }
    let is_merged = kind? == SegmentKind::Merged;
    let (mut rest, mut next) = (bytes, named.part.offsets.base);
    while !rest.is_empty() {
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(error) => return Some(error.to_string()),
        };
        let base = if is_merged {
            Offset::from_i64(header.base_offset).filter(|base| *base >= next)
        } else {
            Some(next)
        };
        let end = base.and_then(|base| base.checked_add(u64::from(header.offset_count())));
        match end.filter(|end| *end <= named.part.offsets.next) {
            Some(end) => next = end,
            None => return Some("its batches have other offsets than it".to_owned()),
        }
        rest = rest.get(header.size() as usize..).unwrap_or_default();
    }
    if !is_merged && next != named.part.offsets.next {
        return Some("its batches have other offsets than it".to_owned());
    }
    None
}
