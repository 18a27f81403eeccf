//! Which merged extents are merged again: where few bytes of a partition come in a window, its merged extents are small,
//! and each of them costs metadata and a request of whoever reads it.
//!
//! ```text
//!   window   window   window  ...             window
//!   [s] [s] [s] [s] [s] [s] [s] [s]      -->  [   m   ]
//!   [   m   ] [   m   ] ... [   m   ]    -->  [                 large                 ]
//! ```
//!
//! Whether the last extents of a partition are worth it is seen in the pages that a swap reads anyway, so nobody looks
//! for such partitions. They are noted in memory only: what is forgotten is seen again with the next swap of the
//! partition, as long as that is of the same part of the time. What is here does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::MonoTime;
use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::limits::MERGED_EXTENT_BYTES;
use tidelog_types::{Offset, OffsetRange, Timestamp, TopicPartition};

use super::super::retention::span_millis;
use super::plan::merged_bytes;
use super::windows::{Due, MergeSettings};

/// Extents of one run: what is swapped at once.
const RUN_EXTENTS_MAX: usize = 2_048;
/// Runs that are noted. Of more the others are seen again with the next swaps of their partitions, unless these are of
/// another part of the time by then.
const NOTED_MAX: usize = 100_000;

/// An extent, and when the youngest of its records is from, as far as retention cares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed<'a> {
    pub(super) extent: &'a Extent,
    pub(super) time: Timestamp,
    committed_at: Timestamp,
}

impl<'a> Timed<'a> {
    pub(super) fn new(extent: &'a Extent, committed_at: Timestamp) -> Self {
        Self {
            extent,
            time: extent.max_timestamp.min(committed_at),
            committed_at,
        }
    }

    /// Whether retention takes it in time from a page that says that it was committed later, as the page of what is
    /// merged does: where records have no time, or one of the future, the time of the commit is all there is.
    pub(super) fn may_move(self, most: i64) -> bool {
        let time = self.extent.max_timestamp;
        let latest = self.committed_at.as_millis().saturating_add(most);
        time >= Timestamp::from_millis(0) && time.as_millis() <= latest
    }
}

/// What is worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// A byte is copied only into an extent that is so many times as large as the one that it is in; 0 for never.
    pub(super) growth: u64,
    /// Milliseconds of the parts of time: the records of an extent to be are of one.
    pub(super) span: Option<i64>,
}

impl Rule {
    pub(super) fn new(settings: &MergeSettings, retention_millis: Option<i64>) -> Self {
        Self {
            growth: if settings.is_on { settings.growth } else { 0 },
            span: retention_millis.map(span_millis),
        }
    }

    /// How many extents at the end, at most, are to become larger ones: of each the result is `growth` times as large,
    /// or as large as extents become. So a byte is copied a few times, and the more often the smaller the extent was
    /// that it came in.
    pub(super) fn at_end(self, extents: &[Timed<'_>]) -> Option<usize> {
        let growth = usize::try_from(self.growth).ok().filter(|at| *at > 1)?;
        let full = u64::from(MERGED_EXTENT_BYTES);
        let (mut sum, mut largest, mut found) = (0_u64, 0, None);
        let last = extents.last()?;
        let bucket = bucket_of(last.extent)?;
        let from_end = (1..).zip(extents.iter().rev()).take(RUN_EXTENTS_MAX);
        let mut following = last.extent.offsets.next;
        for (count, timed) in from_end {
            let (extent, time) = (timed.extent, timed.time);
            let bytes = merged_bytes(extent);
            let is_one = bucket_of(extent) == Some(bucket) && extent.offsets.next == following;
            let is_close = self
                .span
                .is_none_or(|span| time.part(span) == last.time.part(span) && timed.may_move(span));
            if !is_one || !is_close || bytes.saturating_mul(self.growth) > full {
                break;
            }
            following = extent.offsets.base;
            sum += bytes;
            largest = largest.max(bytes);
            if count >= growth && largest.saturating_mul(self.growth) <= sum {
                found = Some(count);
            }
        }
        found
    }
}

/// Markers that are left in pages have no bytes, and stay. What lies in the store is moved by merges of the tail alone.
const fn bucket_of(extent: &Extent) -> Option<u16> {
    match extent.location {
        Location::Segment { bucket, .. } if !bucket.is_store() => Some(bucket.get()),
        Location::Segment { .. } | Location::Inline { .. } | Location::Marker(_) => None,
    }
}

/// Extents of a partition that are worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) offsets: OffsetRange,
    pub(crate) bytes: u64,
    pub(crate) extents: usize,
    /// How long it may wait, of the part of time that its records are of.
    pub(crate) within: Duration,
}

impl Noted {
    /// The last extents of a partition, if they are worth it.
    pub(super) fn at_end(rule: Rule, extents: &[Timed<'_>]) -> Option<Self> {
        let count = rule.at_end(extents)?;
        let run = extents.get(extents.len().checked_sub(count)?..)?;
        let (first, last) = run.first().zip(run.last())?;
        Some(Self {
            offsets: OffsetRange {
                base: first.extent.offsets.base,
                next: last.extent.offsets.next,
            },
            bytes: run.iter().map(|timed| merged_bytes(timed.extent)).sum(),
            extents: count,
            within: rule.span.map_or(Duration::MAX, |span| {
                Duration::from_millis(u64::try_from(span).unwrap_or_default()) / 2
            }),
        })
    }
}

/// What of a shard is to be merged again.
#[derive(Debug, Default)]
pub(crate) struct Again(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By where they begin: a partition may have some of an older part of time that wait for their turn.
    noted: BTreeMap<(TopicPartition, Offset), Noted>,
    bytes: u64,
    /// When the first of them was noted.
    since: Option<MonoTime>,
    /// How long after that they may wait, at most.
    within: Duration,
    /// The last partition that something was taken of: the others come first.
    last: Option<TopicPartition>,
}

impl State {
    fn remove(&mut self, place: (TopicPartition, Offset)) -> Option<Noted> {
        let noted = self.noted.remove(&place)?;
        self.bytes = self.bytes.saturating_sub(noted.bytes);
        Some(noted)
    }

    /// Forgets what was noted of some offsets.
    fn remove_within(&mut self, partition: TopicPartition, offsets: OffsetRange) {
        let below = (partition, Offset::new(0))..(partition, offsets.next);
        loop {
            let last = self.noted.range(below.clone()).next_back();
            let Some((place, _)) = last.filter(|(_, noted)| noted.offsets.next > offsets.base)
            else {
                break;
            };
            self.remove(*place);
        }
    }
}

impl Again {
    /// Takes note of something of a partition that is worth it.
    pub(crate) fn note(&self, partition: TopicPartition, noted: Noted, now: MonoTime) {
        let mut state = self.0.lock();
        state.remove_within(partition, noted.offsets);
        if state.noted.len() >= NOTED_MAX {
            return;
        }
        state.bytes = state.bytes.saturating_add(noted.bytes);
        state.noted.insert((partition, noted.offsets.base), noted);
        let since = *state.since.get_or_insert(now);
        let within = now.saturating_since(since).saturating_add(noted.within);
        state.within = if state.noted.len() == 1 {
            within
        } else {
            state.within.min(within)
        };
    }

    /// When something is to be merged again; never where nothing is noted (invariant I8).
    pub(super) fn due(&self, settings: &MergeSettings, now: MonoTime) -> Due {
        let state = self.0.lock();
        let Some(since) = state.since.filter(|_| !state.noted.is_empty()) else {
            return Due::Never;
        };
        if state.bytes >= settings.bytes {
            return Due::Now;
        }
        let wait = settings.again_age.min(state.within);
        let left = (since + wait).saturating_since(now);
        if left == Duration::ZERO {
            Due::Now
        } else {
            Due::In(left)
        }
    }

    /// Takes runs in order, one of each partition, from behind those that were taken last, until there are so many extents or
    /// bytes.
    pub(super) fn take(
        &self,
        extents_max: usize,
        bytes_max: u64,
        now: MonoTime,
    ) -> Vec<(TopicPartition, Noted)> {
        let mut state = self.0.lock();
        let (mut taken, mut extents, mut bytes) = (Vec::new(), 0, 0);
        let mut partitions = BTreeSet::new();
        while extents < extents_max && bytes < bytes_max {
            let behind = |last| Bound::Excluded((last, Offset::MAX));
            let from = state.last.map_or(Bound::Unbounded, behind);
            let behind = state.noted.range((from, Bound::Unbounded)).next();
            let next = behind.or_else(|| state.noted.iter().next());
            let Some(place) = next.map(|(place, _)| *place) else {
                break;
            };
            if !partitions.insert(place.0) {
                break;
            }
            let Some(noted) = state.remove(place) else {
                break;
            };
            state.last = Some(place.0);
            extents += noted.extents;
            bytes += noted.bytes;
            taken.push((place.0, noted));
        }
        // What is left is not older than what comes next.
        state.since = (!state.noted.is_empty()).then_some(now);
        taken
    }
}

#[cfg(test)]
mod tests;
