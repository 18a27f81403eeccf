//! Extents below the log start are taken off the books: the live bytes of their segments are lowered, and pages that
//! have nothing else go. What is here does no I/O.
//!
//! ```text
//!   offsets       reclaimed          log start
//!                     v                  v
//!   ----[ gone ]  [ page | dead extents | live ] [ page ] ...
//! ```
//!
//! Up to where that was done is in the row of the partition, and moves in the same transaction: so each extent is
//! taken off once, whoever owns the shard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_format::location::Location;
use tidelog_types::{Offset, SegmentName, TopicPartition};

use crate::keyspace::PageRow;

/// How long nothing is done after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The partitions of a shard that have something to take off. It is in memory only: another owner finds them again.
#[derive(Debug)]
pub(crate) struct Reclaim {
    /// As many wait at most.
    partitions_max: usize,
    waiting: BTreeSet<TopicPartition>,
    /// Those that wait for a checkpoint: what is not in pages is not taken off.
    unwritten: BTreeSet<TopicPartition>,
    has_missed: bool,
    not_before: MonoTime,
}

impl Reclaim {
    pub(crate) const fn new(partitions_max: usize, now: MonoTime) -> Self {
        Self {
            partitions_max,
            waiting: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            has_missed: false,
            not_before: now,
        }
    }

    /// The log start of the partition has moved up.
    pub(crate) fn note(&mut self, partition: TopicPartition) {
        if self.waiting.len() + self.unwritten.len() >= self.partitions_max.max(1) {
            self.has_missed = true;
        } else {
            self.unwritten.remove(&partition);
            self.waiting.insert(partition);
        }
    }

    /// A checkpoint has written the row of the partition.
    pub(crate) fn written(&mut self, partition: TopicPartition) {
        if self.unwritten.remove(&partition) {
            self.waiting.insert(partition);
        }
    }

    /// The partition is gone.
    pub(crate) fn forget(&mut self, partition: TopicPartition) {
        self.waiting.remove(&partition);
        self.unwritten.remove(&partition);
    }

    /// Whether nothing waits that can be done now.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What was found of the partition that came first is taken off.
    pub(crate) fn done(&mut self, partition: TopicPartition, rest: Rest) {
        if rest != Rest::More {
            self.waiting.remove(&partition);
        }
        if rest == Rest::Unwritten {
            self.unwritten.insert(partition);
        }
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Option<MonoTime> {
        (!self.waiting.is_empty()).then_some(self.not_before)
    }

    /// The partition that comes first.
    pub(crate) fn next(&self, now: MonoTime) -> Option<TopicPartition> {
        self.waiting
            .first()
            .copied()
            .filter(|_| now >= self.not_before)
    }

    /// Whether all that was found is done, and there was more than there was room for.
    pub(crate) fn take_missed(&mut self) -> bool {
        self.waiting.is_empty() && std::mem::take(&mut self.has_missed)
    }

    /// Nothing is done for a while: something has failed.
    pub(crate) fn pause(&mut self, now: MonoTime) {
        self.not_before = now + PAUSE;
    }
}

/// What is left of a partition after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    None,
    /// The next step goes on.
    More,
    /// What a checkpoint has yet to write.
    Unwritten,
}

/// What a step takes off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Up to where.
    pub(crate) reclaimed: Offset,
    /// The bytes of all extents below that.
    pub(crate) reclaimed_bytes: u64,
    /// How much is taken off the live bytes of each segment.
    pub(crate) segments: BTreeMap<SegmentName, u64>,
    /// Where the pages begin that go.
    pub(crate) pages: Vec<Offset>,
    /// Whether only the number of pages was the limit.
    pub(crate) has_more: bool,
}

impl Taken {
    /// Takes off what ends at or below `log_start`, from `(reclaimed, its bytes)` on. `pages` are in order, from
    /// the one that has that offset on; there are more behind them if `has_more`.
    ///
    /// Pages may overlap where an owner was replaced in the middle of a checkpoint, and then say the same. So each extent
    /// is counted in the first page that has it, nothing beyond the beginning of a page that was not looked
    /// at is taken, and a page goes once the one behind it has all that is left.
    pub(crate) fn of(
        (reclaimed, reclaimed_bytes): (Offset, u64),
        log_start: Offset,
        pages: &[(Offset, PageRow)],
        has_more: bool,
    ) -> Self {
        let mut taken = Self {
            reclaimed,
            reclaimed_bytes,
            ..Self::default()
        };
        let (looked_at, limit) = match pages.split_last() {
            Some(((base, _), before)) if has_more => (before, log_start.min(*base)),
            _ => (pages, log_start),
        };
        for (_, page) in looked_at {
            for (extent, bytes_so_far) in page.sized() {
                let offsets = extent.offsets;
                if offsets.next > limit {
                    break;
                }
                if offsets.next <= taken.reclaimed {
                    continue;
                }
                taken.reclaimed = offsets.next;
                taken.reclaimed_bytes = taken.reclaimed_bytes.max(bytes_so_far);
                if let Location::Segment { segment, .. } = extent.location {
                    *taken.segments.entry(segment).or_default() += u64::from(extent.byte_count());
                }
            }
        }
        let ends = pages.iter().skip(1).map(|(base, _)| Some(*base));
        let last = pages.last().filter(|_| !has_more);
        let last = last.map(|(_, page)| page.offsets().map(|offsets| offsets.next));
        for ((base, _), end) in pages.iter().zip(ends.chain(last)) {
            if end.is_some_and(|end| end <= taken.reclaimed) {
                taken.pages.push(*base);
            }
        }
        taken.has_more = has_more && limit < log_start && taken.reclaimed > reclaimed;
        taken
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::Extent;
    use tidelog_types::{BucketId, Incarnation, OffsetRange, SegmentSequence, Timestamp};

    use super::*;

    const fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    const fn segment(sequence: u64) -> SegmentName {
        SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence))
    }

    /// Extents of ten offsets and as many bytes, two of a segment, from `first` to before `end`.
    fn page(first: u64, end: u64) -> (Offset, PageRow) {
        let extents = (first..end).map(|index| Extent {
            offsets: OffsetRange {
                base: at(index * 10),
                next: at(index * 10 + 10),
            },
            location: Location::Segment {
                bucket: BucketId::new(0),
                segment: segment(index / 2),
                position: 0,
                length: 10,
            },
            crc32c: None,
            max_timestamp: Timestamp::NONE,
        });
        let page = PageRow {
            max_before: Timestamp::NONE,
            bytes_before: first * 10,
            committed_at: Timestamp::from_millis(0),
            extents: extents.collect(),
        };
        (at(first * 10), page)
    }

    fn taken(
        reclaimed: u64,
        log_start: u64,
        pages: &[(Offset, PageRow)],
        has_more: bool,
    ) -> (u64, Vec<(u64, u64)>, Vec<u64>, bool) {
        let taken = Taken::of((at(reclaimed), reclaimed), at(log_start), pages, has_more);
        assert_eq!(taken.reclaimed_bytes, taken.reclaimed.get());
        let segments = taken.segments.iter();
        let segments = segments.map(|(name, bytes)| (name.sequence.get(), *bytes));
        let pages = taken.pages.iter().map(|base| base.get());
        let reclaimed = taken.reclaimed.get();
        (
            reclaimed,
            segments.collect(),
            pages.collect(),
            taken.has_more,
        )
    }

    #[test]
    fn whole_extents_below_the_log_start_are_taken_and_pages_without_others_go() {
        let pages = [page(0, 3), page(3, 5), page(5, 9)];
        let nothing = (0, vec![], vec![], false);
        assert_eq!(taken(0, 9, &pages, false), nothing);
        assert_eq!(
            taken(0, 19, &pages, false),
            (10, vec![(0, 10)], vec![], false)
        );
        let (some, all) = (vec![(0, 10), (1, 10)], vec![(0, 20), (1, 20), (2, 20)]);
        assert_eq!(taken(10, 30, &pages, false), (30, some, vec![0], false));
        assert_eq!(taken(0, 60, &pages, false), (60, all, vec![0, 30], false));
        let rest = vec![(2, 10), (3, 20), (4, 10)];
        assert_eq!(
            taken(50, 90, &pages[2..], false),
            (90, rest, vec![50], false)
        );
        assert_eq!(
            taken(30, 30, &pages[1..], false),
            (30, vec![], vec![], false)
        );
    }

    #[test]
    fn nothing_beyond_the_pages_that_were_looked_at_is_taken() {
        let pages = [page(0, 3), page(3, 5)];
        let some = vec![(0, 20), (1, 10)];
        assert_eq!(
            taken(0, 90, &pages, true),
            (30, some.clone(), vec![0], true)
        );
        assert_eq!(taken(0, 30, &pages, true), (30, some, vec![0], false));
        assert_eq!(
            taken(0, 20, &pages, true),
            (20, vec![(0, 20)], vec![], false)
        );
    }

    #[test]
    fn what_two_pages_have_is_taken_once() {
        let pages = [page(0, 4), page(2, 6), page(3, 8)];
        let all = vec![(0, 20), (1, 20), (2, 10)];
        assert_eq!(taken(0, 50, &pages, false), (50, all, vec![0, 20], false));
        // The page behind them may begin anywhere.
        let some = vec![(0, 20), (1, 10)];
        assert_eq!(taken(0, 90, &pages, true), (30, some, vec![0, 20], true));
    }
}
