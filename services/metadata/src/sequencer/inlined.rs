//! How much of a shard lies in the store and has yet to be moved into a bucket.

use std::collections::VecDeque;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::GroupNumber;

/// Groups whose bytes are counted together once there are as many of these: so the list stays short.
const COUNTED_BYTES: u64 = 1024 * 1024;
/// Segments come no faster than one in so long on average: each leaves rows that have to go one by one, for which the
/// whole cluster has one janitor.
const SEGMENT_EVERY: Duration = Duration::from_millis(10);
/// As many as would come in so long may come at once.
const BURST: Duration = Duration::from_secs(10);

/// How much more the store takes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InlineRoom {
    pub(crate) bytes: u64,
    pub(crate) segments: u32,
}

/// What this owner has committed and merges have not reached. What an owner before it has left is not counted: it is
/// bounded as well, and the next merges move it.
#[derive(Debug, Default)]
pub(super) struct Inlined {
    /// The last group of each, and the bytes of all groups since the one before.
    counted: VecDeque<(GroupNumber, u64)>,
    bytes: u64,
    /// Bytes of these that came after the last checkpoint began, and may be in no page.
    unpaged: u64,
    /// When all that has come would have come at the average.
    paid_until: MonoTime,
}

impl Inlined {
    /// Takes note of a group.
    pub(super) fn committed(
        &mut self,
        group: GroupNumber,
        bytes: u64,
        segments: u32,
        now: MonoTime,
    ) {
        if segments == 0 {
            return;
        }
        self.paid_until = self.paid_until.max(now) + SEGMENT_EVERY * segments;
        self.bytes = self.bytes.saturating_add(bytes);
        self.unpaged = self.unpaged.saturating_add(bytes);
        match self.counted.back_mut() {
            Some((last, sum)) if *sum < COUNTED_BYTES => {
                *last = group;
                *sum += bytes;
            }
            _ => self.counted.push_back((group, bytes)),
        }
    }

    /// Forgets what is merged, up to a group.
    pub(super) fn merged(&mut self, merged: GroupNumber) {
        while let Some((group, bytes)) = self.counted.front().copied() {
            if group > merged {
                break;
            }
            self.counted.pop_front();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// How much more may come.
    pub(super) fn room(&self, bytes_max: u64, now: MonoTime) -> InlineRoom {
        let left = BURST.saturating_sub(self.paid_until.saturating_since(now));
        let segments = left.as_millis() / SEGMENT_EVERY.as_millis();
        InlineRoom {
            bytes: bytes_max.saturating_sub(self.bytes),
            segments: u32::try_from(segments).unwrap_or(u32::MAX),
        }
    }

    /// Bytes that are not merged.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is so much that it is to be merged, long before there is no more room.
    pub(super) const fn is_much(&self, bytes_max: u64) -> bool {
        self.bytes > 0 && self.bytes >= bytes_max / 2
    }

    /// A checkpoint begins: all that there is will be in pages.
    pub(super) const fn checkpoint_begins(&mut self) {
        self.unpaged = 0;
    }

    /// Whether a checkpoint is to come, so that there is something to merge when there is much.
    pub(super) const fn needs_checkpoint(&self, bytes_max: u64) -> bool {
        self.unpaged > 0 && self.unpaged >= bytes_max / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonoTime = MonoTime::START;

    const fn group(number: u64) -> GroupNumber {
        GroupNumber::new(number)
    }

    #[test]
    fn what_is_merged_makes_room_and_many_groups_are_few_numbers() {
        let max = 8 * COUNTED_BYTES;
        let mut inlined = Inlined::default();
        for number in 1..=4_000 {
            inlined.committed(group(number), 1_000, 1, NOW);
        }
        let mut room = |merged| {
            inlined.merged(group(merged));
            inlined.room(max, NOW).bytes
        };
        assert_eq!(room(0), max - 4_000_000);
        assert_eq!(room(1_048), max - 4_000_000);
        // A number goes when all of its groups are merged.
        assert_eq!(room(1_049), max - 2_951_000);
        assert_eq!(room(4_000), max);
        assert_eq!(inlined.counted.len(), 0);
        assert!(!inlined.is_much(max));
        inlined.committed(group(4_001), max / 2, 1, NOW);
        assert!(inlined.is_much(max));
        inlined.committed(group(4_002), max, 1, NOW);
        assert_eq!(inlined.room(max, NOW).bytes, 0);
    }

    #[test]
    fn segments_come_in_bursts_but_no_faster_than_they_can_go() {
        let mut inlined = Inlined::default();
        let segments = |inlined: &Inlined, now| inlined.room(u64::MAX, now).segments;
        assert_eq!(segments(&inlined, NOW), 1_000);
        inlined.committed(group(1), 1, 999, NOW);
        assert_eq!(segments(&inlined, NOW), 1);
        inlined.committed(group(2), 1, 1, NOW);
        assert_eq!(segments(&inlined, NOW), 0);
        assert_eq!(segments(&inlined, NOW + Duration::from_secs(1)), 100);
        // What was not used in a long time is not saved.
        let later = NOW + Duration::from_hours(1);
        assert_eq!(segments(&inlined, later), 1_000);
        inlined.committed(group(3), 1, 10, later);
        assert_eq!(segments(&inlined, later), 990);
    }

    #[test]
    fn a_checkpoint_comes_in_time_for_a_merge_that_comes_in_time() {
        let mut inlined = Inlined::default();
        inlined.committed(group(1), 24, 1, NOW);
        assert!(!inlined.needs_checkpoint(100));
        inlined.committed(group(2), 1, 1, NOW);
        assert!(inlined.needs_checkpoint(100));
        inlined.checkpoint_begins();
        assert!(!inlined.needs_checkpoint(100) && !inlined.is_much(100));
        inlined.committed(group(3), 25, 1, NOW);
        assert!(inlined.needs_checkpoint(100) && inlined.is_much(100));
    }
}
