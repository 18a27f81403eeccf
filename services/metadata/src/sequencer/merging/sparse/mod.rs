//! Which merged segments are written anew: where little of one is named any more, all its bytes are stored for that
//! little.
//!
//! ```text
//!   merged segments     [a.......] [.b......] [......c.]      -->  [abc]
//! ```
//!
//! Whether little is left is seen in the live bytes whenever they are lowered, so nobody looks for such segments. They are
//! noted in memory only: a new owner looks at all live bytes once. They wait a while, since what goes by the retention of
//! its topic goes by itself soon after the first of it, and for others, so that one segment comes of many. What comes of
//! it is named as a whole, so each byte that is copied has let more than two others go. What is here does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::MonoTime;
use tidelog_types::SegmentName;

use super::windows::{Due, MergeSettings, RewriteSettings};
use crate::keyspace::LiveBytesRow;

/// Segments that are noted. Of more the others are found by a look at all live bytes, when there is room again.
const NOTED_MAX: usize = 100_000;
/// Segments that are looked into at once.
pub(super) const LOOKED_INTO_MAX: usize = 64;

impl RewriteSettings {
    /// Whether so little of a segment is named that the rest of it is worth a copy.
    pub(super) fn are_for(&self, live: &LiveBytesRow) -> bool {
        let freed = live.committed.saturating_sub(live.bytes);
        let share = u128::from(live.committed) * u128::from(self.live_percent);
        live.bytes > 0 && freed >= self.freed_min && u128::from(live.bytes) * 100 < share
    }
}

/// The segments of a shard of which little is named.
#[derive(Debug, Default)]
pub(crate) struct Sparse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when each has been so.
    noted: Queue,
    /// Those that are looked into only beside others, however long that takes: since when.
    resting: Queue,
    /// Those of the last look that had rested.
    had_rested: BTreeSet<SegmentName>,
    has_missed: bool,
}

/// Segments, each with a time and how many of its bytes are named.
#[derive(Debug, Default)]
struct Queue {
    segments: BTreeMap<SegmentName, (MonoTime, u64)>,
    order: BTreeSet<(MonoTime, SegmentName)>,
}

impl Queue {
    fn len(&self) -> usize {
        self.segments.len()
    }

    fn contains(&self, segment: SegmentName) -> bool {
        self.segments.contains_key(&segment)
    }

    fn insert(&mut self, segment: SegmentName, live: u64, now: MonoTime) {
        self.remove(segment);
        self.segments.insert(segment, (now, live));
        self.order.insert((now, segment));
    }

    fn remove(&mut self, segment: SegmentName) {
        if let Some((since, _)) = self.segments.remove(&segment) {
            self.order.remove(&(since, segment));
        }
    }

    /// The first ones, with their times.
    fn in_order(&self) -> impl Iterator<Item = (MonoTime, SegmentName, u64)> {
        let live = |segment| self.segments.get(segment).map_or(0, |(_, live)| *live);
        let order = self.order.iter();
        order.map(move |(since, segment)| (*since, *segment, live(segment)))
    }
}

impl Sparse {
    /// Takes note of what of a segment is named now; whether it is the first of which that is little.
    pub(crate) fn note(
        &self,
        settings: &RewriteSettings,
        segment: SegmentName,
        live: &LiveBytesRow,
        now: MonoTime,
    ) -> bool {
        let mut state = self.0.lock();
        let was_empty = state.noted.segments.is_empty();
        if !settings.are_for(live) {
            state.noted.remove(segment);
            state.resting.remove(segment);
        } else if let Some((_, bytes)) = state.noted.segments.get_mut(&segment) {
            *bytes = live.bytes;
        } else if state.noted.len() < NOTED_MAX {
            state.resting.remove(segment);
            state.noted.insert(segment, live.bytes, now);
        } else {
            state.has_missed |= !state.resting.contains(segment);
        }
        was_empty && !state.noted.segments.is_empty()
    }

    /// Takes note of a segment that was taken, and waits anew; one that has rested goes on with that, or it would be a reason
    /// for a look by itself, and take others along.
    pub(super) fn put_off(&self, segment: SegmentName, live: u64, now: MonoTime) {
        let mut state = self.0.lock();
        // It may have been noted anew meanwhile.
        if state.noted.contains(segment) {
            return;
        }
        if state.had_rested.contains(&segment) {
            state.resting.insert(segment, live, now);
        } else {
            state.noted.insert(segment, live, now);
        }
    }

    /// Takes note of a segment that was taken, and is not worth it but beside others.
    pub(super) fn rest(&self, segment: SegmentName, live: u64, now: MonoTime) {
        let mut state = self.0.lock();
        if !state.noted.contains(segment) && state.resting.len() < NOTED_MAX {
            state.resting.insert(segment, live, now);
        }
    }

    /// Whether there were more than there was room for, and is room now.
    pub(super) fn take_missed(&self) -> bool {
        let mut state = self.0.lock();
        let has_room = state.noted.len() < NOTED_MAX / 2;
        has_room && std::mem::take(&mut state.has_missed)
    }

    /// When segments are to be looked into: once those that have waited are as much as a merged segment has, or the first
    /// of them has waited as long again. Never where none is noted (invariant I8).
    pub(super) fn due(&self, settings: &MergeSettings, now: MonoTime) -> Due {
        let age = settings.rewrite.age;
        let state = self.0.lock();
        let Some((first, ..)) = state.noted.in_order().next() else {
            return Due::Never;
        };
        let mut bytes = 0_u64;
        let mut next = first + age + age;
        for (count, (since, _, live)) in state.noted.in_order().enumerate() {
            let ripe = since + age;
            if ripe > now {
                next = next.min(ripe);
                break;
            }
            bytes = bytes.saturating_add(live);
            if bytes >= settings.bytes || count + 1 >= LOOKED_INTO_MAX {
                return Due::Now;
            }
        }
        let left = next.saturating_since(now);
        if left == Duration::ZERO {
            Due::Now
        } else {
            Due::In(left)
        }
    }

    /// Takes segments that have waited, the first ones first, until they have so many bytes, and if there are such, some that
    /// rest. What becomes of them is noted anew.
    pub(super) fn take(
        &self,
        settings: &MergeSettings,
        bytes_max: u64,
        now: MonoTime,
    ) -> Vec<SegmentName> {
        let mut state = self.0.lock();
        state.had_rested.clear();
        let State {
            noted,
            resting,
            had_rested,
            ..
        } = &mut *state;
        let ripe = noted.in_order();
        let ripe = ripe.take_while(|(since, ..)| *since + settings.rewrite.age <= now);
        // Others each time: those that have rested for longest.
        let mut all: Vec<_> = ripe.take(LOOKED_INTO_MAX).collect();
        if !all.is_empty() {
            all.extend(resting.in_order().take(LOOKED_INTO_MAX - all.len()));
        }
        let (mut taken, mut bytes) = (Vec::new(), 0_u64);
        for (_, segment, live) in all {
            if bytes >= bytes_max {
                break;
            }
            bytes = bytes.saturating_add(live);
            if resting.contains(segment) {
                had_rested.insert(segment);
            }
            noted.remove(segment);
            resting.remove(segment);
            taken.push(segment);
        }
        taken
    }
}

#[cfg(test)]
mod tests;
