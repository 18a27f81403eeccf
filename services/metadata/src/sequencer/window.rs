//! The recent extents of one partition, which are in memory. Older ones are in pages of the store.
//!
//! ```text
//!   offsets   log start        window base                          high watermark
//!                 v                 v                                      v
//!             ----[  pages of the store  ]
//!                                   [ entries: in pages too | not yet in pages ]
//!                                        [  open page      ]
//! ```

use std::collections::VecDeque;

use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, PartitionBounds};
use tidelog_types::{Offset, OffsetRange, Timestamp};

use super::retention::Aged;
use super::state::PartitionState;
use crate::keyspace::{PAGE_EXTENTS_MAX, PageRow};

/// A page with fewer extents than this is written again with those that follow, so that a quiet
/// partition has few pages.
const PAGE_OPEN_EXTENTS: usize = 32;

/// An extent as it is kept in memory.
#[derive(Clone, Copy, Debug)]
struct Entry {
    base: u64,
    next: u64,
    location: Location,
    crc32c: Option<u32>,
    max_timestamp: Timestamp,
    /// The largest timestamp up to and with this entry, so that a search by time can halve.
    max_timestamp_so_far: Timestamp,
    /// The bytes of all extents up to and with this entry, so that the size of the log needs no sum.
    bytes_so_far: u64,
    committed_at: Timestamp,
}

impl Entry {
    fn to_extent(self) -> Extent {
        Extent {
            offsets: OffsetRange {
                base: Offset::new(self.base),
                next: Offset::new(self.next),
            },
            location: self.location,
            crc32c: self.crc32c,
            max_timestamp: self.max_timestamp,
        }
    }

    /// The bytes of all extents before this one.
    fn bytes_before(&self) -> u64 {
        let own = u64::from(self.to_extent().byte_count());
        self.bytes_so_far.saturating_sub(own)
    }
}

/// Bytes of memory of one extent.
pub(crate) const ENTRY_BYTES: usize = size_of::<Entry>();

/// What is known of a partition without its extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) bounds: PartitionBounds,
    /// Extents from here on are in memory, earlier ones in pages.
    pub(crate) window_base: Offset,
    /// The largest timestamp of all extents before the window.
    pub(crate) max_before: Timestamp,
}

/// Pages that have yet to be written for a partition.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// The pages, by the offset at which they begin.
    pub(crate) rows: Vec<(Offset, PageRow)>,
    /// Whether nothing remains for later.
    pub(crate) is_all: bool,
}

/// One partition.
#[derive(Debug)]
pub(crate) struct PartitionView {
    bounds: PartitionBounds,
    max_timestamp: Timestamp,
    max_before: Timestamp,
    /// The bytes of all extents so far.
    total: u64,
    entries: VecDeque<Entry>,
    /// How many entries, from the first, are in pages.
    paged: usize,
    /// How many of those, the last ones, are in a page that may be written again.
    open: usize,
}

impl PartitionView {
    /// A partition without recent extents.
    pub(crate) fn new(state: &PartitionState) -> Self {
        Self {
            bounds: state.bounds(),
            max_timestamp: state.max_timestamp,
            max_before: state.max_timestamp,
            total: state.total,
            entries: VecDeque::new(),
            paged: 0,
            open: 0,
        }
    }

    /// The bounds.
    pub(crate) const fn bounds(&self) -> PartitionBounds {
        self.bounds
    }

    /// What can be said without looking into pages.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            bounds: self.bounds(),
            window_base: self.window_base(),
            max_before: self.max_before,
        }
    }

    fn window_base(&self) -> Offset {
        let first = self.entries.front();
        first.map_or(self.bounds.high_watermark, |entry| Offset::new(entry.base))
    }

    /// Bounds never go back.
    pub(crate) fn raise(&mut self, to: PartitionBounds) -> PartitionBounds {
        let bounds = &mut self.bounds;
        bounds.log_start = bounds.log_start.max(to.log_start);
        bounds.last_stable = bounds.last_stable.max(to.last_stable);
        bounds.high_watermark = bounds.high_watermark.max(to.high_watermark);
        bounds.aborted_below = bounds.aborted_below.max(to.aborted_below);
        *bounds
    }

    /// The bytes of all extents so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The extents in memory from `offset` on, about `bytes_max` of them, at least one if there is one.
    pub(crate) fn extents(
        &self,
        offset: Offset,
        bytes_max: u64,
        extents_max: usize,
    ) -> Vec<Extent> {
        let mut bytes = 0_u64;
        let mut extents = Vec::new();
        for entry in self.entries.range(self.index_of(offset)..) {
            if !extents.is_empty() && (bytes >= bytes_max || extents.len() >= extents_max) {
                break;
            }
            let extent = entry.to_extent();
            bytes += u64::from(extent.byte_count());
            extents.push(extent);
        }
        extents
    }

    /// Shows the extents in memory that end after `from` until `look` has had enough.
    pub(crate) fn walk(&self, from: Offset, mut look: impl FnMut(&Aged) -> bool) {
        for entry in self.entries.range(self.index_of(from)..) {
            let aged = Aged {
                offsets: entry.to_extent().offsets,
                max_timestamp: entry.max_timestamp,
                committed_at: entry.committed_at,
                bytes_so_far: entry.bytes_so_far,
            };
            if !look(&aged) {
                return;
            }
        }
    }

    /// The index of the first entry that ends after an offset.
    fn index_of(&self, offset: Offset) -> usize {
        self.entries
            .partition_point(|entry| entry.next <= offset.get())
    }

    /// The first extent in memory in which a record of `time` or later can be.
    pub(crate) fn at_time(&self, time: Timestamp) -> Option<Extent> {
        let so_far = self
            .entries
            .partition_point(|entry| entry.max_timestamp_so_far < time);
        let first = so_far.max(self.index_of(self.bounds.log_start));
        self.entries
            .range(first..)
            .find(|entry| entry.max_timestamp >= time)
            .map(|entry| entry.to_extent())
    }

    /// The first extent in memory with the largest timestamp of those in memory.
    pub(crate) fn at_max_timestamp(&self) -> Option<Extent> {
        let live = || self.entries.range(self.index_of(self.bounds.log_start)..);
        let largest = live().map(|entry| entry.max_timestamp).max()?;
        live()
            .find(|entry| entry.max_timestamp == largest)
            .map(|entry| entry.to_extent())
    }

    /// Adds an extent. Returns how many bytes of memory it took, or `None` if it lies before the end. What is stable
    /// is said by [`raise`](Self::raise).
    pub(crate) fn append(&mut self, extent: &Extent, commit_time: Timestamp) -> Option<usize> {
        if extent.offsets.base < self.bounds.high_watermark {
            return None;
        }
        self.max_timestamp = self.max_timestamp.max(extent.max_timestamp);
        self.total = self.total.saturating_add(u64::from(extent.byte_count()));
        self.bounds.high_watermark = extent.offsets.next;
        let before = self.bytes();
        if self.entries.len() == self.entries.capacity() {
            // Most partitions of many have one or two: room for four would be the most of the memory.
            self.entries
                .reserve_exact((before / ENTRY_BYTES / 2).max(1));
        }
        self.entries.push_back(Entry {
            base: extent.offsets.base.get(),
            next: extent.offsets.next.get(),
            location: extent.location,
            crc32c: extent.crc32c,
            max_timestamp: extent.max_timestamp,
            max_timestamp_so_far: self.max_timestamp,
            bytes_so_far: self.total,
            committed_at: commit_time,
        });
        Some(self.bytes() - before)
    }

    /// Bytes of memory of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * ENTRY_BYTES
    }

    /// How many extents are in memory, and how many of them are in no page yet.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.len() - self.paged)
    }

    /// Drops the first entry if it is the one at `base` and a page has it.
    pub(crate) fn evict(&mut self, base: u64) -> Evicted {
        match self.entries.front() {
            Some(entry) if entry.base == base => {
                if self.paged == 0 {
                    return Evicted::NotInPage;
                }
                self.max_before = entry.max_timestamp_so_far;
                self.entries.pop_front();
                self.paged -= 1;
                if self.paged < self.open {
                    // A page is written again as a whole or not at all.
                    self.open = 0;
                }
                self.give_memory_back();
                Evicted::Dropped
            }
            _ => Evicted::Absent,
        }
    }

    /// Drops the entries that end at or below an offset and are in pages, which have others in their place by now: so no
    /// page is written again that has them. Returns how many.
    pub(crate) fn forget_below(&mut self, next: Offset) -> usize {
        let mut dropped = 0;
        while let Some(entry) = self.entries.front().filter(|_| self.paged > 0) {
            if entry.next > next.get() {
                break;
            }
            self.max_before = entry.max_timestamp_so_far;
            self.entries.pop_front();
            self.paged -= 1;
            dropped += 1;
        }
        self.open = 0;
        self.give_memory_back();
        dropped
    }

    fn give_memory_back(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        } else if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// The pages that have yet to be written, at most `pages_max` of them. All but the last of them all
    /// are full: so pages of a checkpoint that was cut off hide none that another owner writes across
    /// them, since no later page ends before they do.
    pub(crate) fn pages(&self, pages_max: usize) -> Pages {
        let mut pages = Pages {
            is_all: true,
            ..Pages::default()
        };
        if self.paged == self.entries.len() {
            return pages;
        }
        let mut first = self.paged - self.open;
        while first < self.entries.len() {
            if pages.rows.len() == pages_max {
                pages.is_all = false;
                break;
            }
            let end = (first + PAGE_EXTENTS_MAX).min(self.entries.len());
            let before = first.checked_sub(1).and_then(|at| self.entries.get(at));
            let row = PageRow {
                max_before: before.map_or(self.max_before, |entry| entry.max_timestamp_so_far),
                bytes_before: self.entries[first].bytes_before(),
                committed_at: self.entries[end - 1].committed_at,
                extents: self
                    .entries
                    .range(first..end)
                    .map(|entry| entry.to_extent())
                    .collect(),
            };
            let base = Offset::new(self.entries[first].base);
            pages.rows.push((base, row));
            first = end;
        }
        pages
    }

    /// Takes note that pages up to an offset are durable, the last of them beginning at `last_base`.
    pub(crate) fn set_paged(&mut self, last_base: Offset, next: Offset) {
        self.paged = self.paged.max(self.index_of(next));
        let open = self.paged.saturating_sub(self.index_of(last_base));
        self.open = if open < PAGE_OPEN_EXTENTS { open } else { 0 };
    }
}

/// What became of an attempt to drop an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evicted {
    /// It is gone.
    Dropped,
    /// It was gone already.
    Absent,
    /// It must stay: no page has it.
    NotInPage,
}
