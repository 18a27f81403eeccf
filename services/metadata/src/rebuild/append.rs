//! Appends what was written and not merged, at new offsets, when somebody asks for it.
//!
//! Nobody knows any more which of it was acknowledged, or at which offset. What can be told to be in the log already is
//! left out: by the numbers of its producer, else by its checksum and length, as often as the log has them.

use bytes::Bytes;
use tidelog_format::batch::BatchView;
use tidelog_format::extent::prove;
use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, OffsetRange, Timestamp, TopicPartition};

use super::chain::Piece;
use super::extend::How;
use super::found::{FoundPartition, UnmergedSlice};
use super::log::LogState;
use super::{RebuildError, Rebuilding};

/// What became of records that were written and not merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// They were appended.
    pub records: u64,
    /// The log has them already, or what their producer has sent after them.
    pub known: u64,
    /// They are of transactions: nobody knows how these ended.
    pub transactional: u64,
    /// They are of partitions that are compacted, where nobody can tell whether the log has had them.
    pub compacted: u64,
    /// Nobody knows the names of their topics, or these are gone.
    pub nameless: u64,
}

impl Appended {
    pub(super) const fn add(&mut self, more: &Self) {
        self.records += more.records;
        self.known += more.known;
        self.transactional += more.transactional;
        self.compacted += more.compacted;
        self.nameless += more.nameless;
    }
}

/// The extents that a slice becomes, as they grow.
struct Growing<'a> {
    slice: &'a UnmergedSlice,
    committed_at: Timestamp,
    /// The offset of the next record.
    at: Offset,
    pieces: &'a mut Vec<Piece>,
    /// The last of them may grow.
    is_open: bool,
}

impl Growing<'_> {
    /// A batch at this position of the slice is appended.
    fn push(&mut self, view: &BatchView, from: u32) -> Option<()> {
        let header = view.header();
        let next = self.at.checked_add(u64::from(header.offset_count()))?;
        let from = self.slice.position.checked_add(from)?;
        let last = self.pieces.last_mut().filter(|_| self.is_open);
        if let Some(Piece { extent, taken, .. }) = last
            && let Location::Segment { length, .. } = &mut extent.location
        {
            *length = length.checked_add(header.size())?;
            extent.offsets.next = next;
            extent.max_timestamp = extent.max_timestamp.max(header.max_timestamp);
            taken.next = next;
        } else {
            let extent = Extent {
                offsets: OffsetRange {
                    base: self.at,
                    next,
                },
                location: Location::Segment {
                    bucket: self.slice.bucket,
                    segment: self.slice.segment,
                    position: from,
                    length: header.size(),
                },
                crc32c: None,
                max_timestamp: header.max_timestamp,
            };
            let at = self.committed_at;
            self.pieces.push(Piece::whole(extent, at, Some(at)));
        }
        self.is_open = true;
        self.at = next;
        Some(())
    }
}

impl Rebuilding<'_> {
    /// Appends to the log of a partition what is newer than it.
    pub(super) async fn append(
        &self,
        partition: TopicPartition,
        found: &FoundPartition,
        how: How,
        pieces: &mut Vec<Piece>,
        state: &mut LogState,
    ) -> Result<Appended, RebuildError> {
        let mut appended = Appended::default();
        let last = pieces
            .last()
            .map(|piece| (piece.taken.next, piece.committed_at));
        let (mut at, committed_at) = last.unwrap_or((state.known_next(), Timestamp::default()));
        at = at.max(state.known_next());
        // Nobody knows when it was committed, and it is kept as long as if that was now.
        let committed_at = committed_at.max(self.options.env.clock.wall());
        for slice in &found.unmerged {
            let bytes = self.range((slice.bucket, slice.segment), slice.position, slice.length);
            let bytes = bytes.await?.and_then(|bytes| {
                for crc32c in [Some(slice.crc32c), None] {
                    prove(crc32c, &[&bytes[..]]).map_err(|error| error.to_string())?;
                }
                Ok(bytes)
            });
            let mut growing = Growing {
                slice,
                committed_at,
                at,
                pieces: &mut *pieces,
                is_open: false,
            };
            let read = bytes.and_then(|bytes| growing.slice(&bytes, how, state, &mut appended));
            at = growing.at;
            read.map_err(|fault| RebuildError::Damaged {
                segment: slice.segment,
                partition,
                offsets: OffsetRange { base: at, next: at },
                fault,
            })?;
        }
        Ok(appended)
    }
}

impl Growing<'_> {
    /// Goes through the batches of a slice.
    fn slice(
        &mut self,
        bytes: &Bytes,
        how: How,
        state: &mut LogState,
        appended: &mut Appended,
    ) -> Result<(), String> {
        let mut from = 0_u32;
        for view in BatchView::all(bytes.clone()) {
            let view = view.map_err(|error| error.to_string())?;
            let header = view.header();
            let records = u64::from(header.offset_count());
            if header.attributes.is_transactional() || header.attributes.is_control() {
                appended.transactional += records;
                self.is_open = false;
            } else if how == How::Latest {
                appended.compacted += records;
                self.is_open = false;
            } else if state.has(header) {
                appended.known += records;
                self.is_open = false;
            } else {
                let at = self.at;
                let pushed = self.push(&view, from);
                pushed.ok_or("the offsets of the partition have come to their end")?;
                if header.producer_id.get() >= 0 {
                    state.batch(header, at, self.committed_at);
                }
                appended.records += records;
            }
            from = from.saturating_add(header.size());
        }
        Ok(())
    }
}
