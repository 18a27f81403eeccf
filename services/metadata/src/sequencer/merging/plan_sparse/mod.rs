//! What of sparse segments is written anew: the extents in them that pages still name.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_format::location::Location;
use tidelog_metadata_api::IndexedSlice;
use tidelog_store::{KeyRange, ReadMode, ScanOptions};
use tidelog_types::{Offset, OffsetRange, SegmentName, Timestamp};

use super::super::error::SequencerError;
use super::super::keeping::topic_of;
use super::super::retention::Limits;
use super::plan::{Planned, Planning};
use crate::keyspace::{KeyKind, Keyspace, LiveBytesRow, PageRow, PartitionRow};

use left::Alive;
pub(super) use left::Left;

mod left;

/// Rows that are read at once.
const ROWS: usize = 256;
/// Rows of live bytes that are read at once, and so often before others have their turn.
const LIVE_ROWS: usize = 1_000;
const LIVE_SCANS: usize = 4;

/// What a look at live bytes has found.
#[derive(Debug, Default)]
pub(super) struct LiveRows {
    pub(super) found: Vec<(SegmentName, LiveBytesRow)>,
    /// Where the next one goes on.
    pub(super) rest: Option<KeyRange>,
}

/// Segments to be.
#[derive(Debug, Default)]
pub(super) struct Rewrites {
    pub(super) segments: Vec<Planned>,
    /// No extent of them is younger.
    pub(super) committed_at: Timestamp,
    /// Sparse segments of which most will have gone before long, and that are let be, each with the bytes that are left.
    pub(super) put_off: BTreeMap<SegmentName, u64>,
    /// Those that are not worth it unless others come.
    pub(super) resting: BTreeMap<SegmentName, u64>,
}

impl Planning {
    /// All live bytes of all shards.
    pub(super) fn live_bytes(&self) -> KeyRange {
        self.keys.all(KeyKind::LiveBytes)
    }

    /// Reads some live bytes; what is found are those of this shard.
    pub(super) async fn live_rows(&self, from: KeyRange) -> Result<LiveRows, SequencerError> {
        let mut rows = LiveRows {
            found: Vec::new(),
            rest: Some(from),
        };
        for _ in 0..LIVE_SCANS {
            let Some(range) = rows.rest.take() else {
                break;
            };
            let mut transaction = self.store.begin().await?;
            let options = ScanOptions::limit(LIVE_ROWS).snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rows.rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                // What is damaged stays as it is, which costs storage and nothing else.
                let named = Keyspace::receipt_segment(&key).zip(LiveBytesRow::decode(value).ok());
                if Keyspace::last_shard(&key) == Some(self.shard) {
                    rows.found.extend(named);
                }
            }
        }
        Ok(rows)
    }

    /// What pages still name of a segment, in the partitions and at the offsets that its index tells of. A partition with
    /// damaged pages is passed over: it stays as it is.
    pub(super) async fn left_of(
        &self,
        segment: SegmentName,
        slices: &[IndexedSlice],
    ) -> Result<Left, SequencerError> {
        let mut left = Left::default();
        for slices in slices.chunks(ROWS) {
            let mut transaction = self.store.begin().await?;
            let keys = slices.iter();
            let keys = keys.map(|slice| (self.keys.partition(slice.partition), ReadMode::Snapshot));
            let values = transaction.get_many(&keys.collect::<Vec<_>>()).await?;
            drop(transaction);
            for (slice, value) in slices.iter().zip(values) {
                let Some(value) = value.filter(|value| PartitionRow::has_pages(value)) else {
                    continue;
                };
                let extents = match self.left_of_slice(segment, slice, value).await {
                    Err(SequencerError::Row(error)) => {
                        let error = &error as &dyn std::error::Error;
                        let partition = slice.partition;
                        tracing::warn!(error, %partition, "a partition is not written anew");
                        continue;
                    }
                    found => found?,
                };
                if !extents.is_empty() {
                    left.extents += extents.len();
                    left.partitions.insert(slice.partition, extents);
                }
            }
        }
        Ok(left)
    }

    async fn left_of_slice(
        &self,
        segment: SegmentName,
        slice: &IndexedSlice,
        row: bytes::Bytes,
    ) -> Result<BTreeMap<Offset, Alive>, SequencerError> {
        let row = PartitionRow::decode(row)?;
        let offsets = OffsetRange {
            base: slice.offsets.base.max(row.reclaimed),
            next: slice.offsets.next,
        };
        let mut left = BTreeMap::new();
        if offsets.base >= offsets.next {
            return Ok(left);
        }
        let Some(topic) = topic_of(&self.catalogue, slice.partition.topic).await? else {
            return Ok(left);
        };
        let kept_for = Limits::kept_for(&topic);
        let mut transaction = self.store.begin().await?;
        let pages = self.pages(transaction.as_mut(), slice.partition, offsets);
        for PageRow {
            extents,
            committed_at,
            ..
        } in pages.await?
        {
            for extent in extents {
                let Location::Segment {
                    segment: at,
                    bucket,
                    ..
                } = extent.location
                else {
                    continue;
                };
                if at != segment || extent.offsets.next <= offsets.base {
                    continue;
                }
                let base = extent.offsets.base;
                let alive = Alive {
                    extent,
                    kept_for,
                    committed_at,
                    class: self.class_of(&topic, bucket),
                };
                left.insert(base, alive);
            }
        }
        Ok(left)
    }

    /// Cuts what is left of sparse segments into new ones, together. Those of which most goes by itself between two times
    /// are let be.
    pub(super) async fn rewrites(
        &self,
        left: Left,
        now: Timestamp,
        before: Timestamp,
    ) -> Result<Rewrites, SequencerError> {
        let (put_off, staying) = (left.dying(now, before), left.staying());
        let committed_at = left.all().map(|(_, alive)| alive.committed_at).max();
        let mut rewrites = Rewrites {
            segments: Vec::new(),
            committed_at: committed_at.unwrap_or(Timestamp::NONE),
            put_off: BTreeMap::new(),
            resting: BTreeMap::new(),
        };
        let is_wanted = |at: &SegmentName| !put_off.contains_key(at) && !staying.contains(at);
        let wanted = left.all().map(|(segment, _)| segment);
        let mut wanted: BTreeSet<SegmentName> = wanted.filter(is_wanted).collect();
        rewrites.resting = left.fit(&mut wanted);
        for runs in left.rounds(&wanted) {
            rewrites.segments.extend(self.cut_all(runs).await?);
        }
        rewrites.put_off = put_off;
        Ok(rewrites)
    }

    /// Those of some segments that have live bytes, each with them.
    pub(super) async fn alive(
        &self,
        segments: &[SegmentName],
    ) -> Result<Vec<(SegmentName, LiveBytesRow)>, SequencerError> {
        let mut transaction = self.store.begin().await?;
        let keys = segments.iter();
        let keys = keys.map(|segment| {
            (
                self.keys.live_bytes(*segment, self.shard),
                ReadMode::Snapshot,
            )
        });
        let values = transaction.get_many(&keys.collect::<Vec<_>>()).await?;
        let rows = segments.iter().zip(values);
        let rows = rows.filter_map(|(segment, value)| {
            // As above.
            Some((*segment, LiveBytesRow::decode(value?).ok()?))
        });
        Ok(rows.collect())
    }
}
