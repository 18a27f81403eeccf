//! When something in the logs of a shard is due to go, by time or by bytes. Nothing here does I/O.
//!
//! Nobody goes through all partitions again and again: each is seen once after a takeover and after a change of its
//! topic, and then when its oldest extent is due, or when a checkpoint has made it larger than its topic keeps.
//!
//! ```text
//!   takeover, topic changed --> topics --> fresh --> due (by time) --+
//!   checkpoint -----------------------------^  \---> large (bytes) --+--> check: what is due --> moves
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::{TopicInfo, TopicState};
use tidelog_types::{Offset, OffsetRange, Timestamp, TopicNumber, TopicPartition};

/// The wall clock may jump: nobody sleeps longer without a look at it.
const SLEEP_MAX: Duration = Duration::from_hours(1);
/// Topics that other processes change show after so long at most.
const PASS_INTERVAL: Duration = Duration::from_hours(1);
/// Topics that wait to be seen, at most. Of more all are seen again.
const TOPICS_MAX: usize = 10_000;
/// How long nothing is done after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// Records of so large a part of the time that they are kept share an extent at most, which goes as a whole.
const SPAN_PART: i64 = 8;

/// What of a topic is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) millis: Option<i64>,
    pub(crate) bytes: Option<u64>,
}

impl Limits {
    /// Those of a topic. Of one that is deleted nothing goes until it is purged: it may be brought back.
    pub(crate) fn of(topic: &TopicInfo) -> Self {
        if topic.state != TopicState::Live || !topic.config.cleanup_policy().delete {
            return Self::default();
        }
        Self {
            millis: topic.config.retention_millis(),
            // Pages count bytes as they were committed: of a log that is compacted, more would go than is said.
            bytes: topic
                .config
                .retention_bytes()
                .filter(|_| !topic.config.cleanup_policy().compact),
        }
    }

    /// How long a topic keeps its records, in milliseconds, if not for ever: also one that is deleted, which may be brought
    /// back.
    pub(crate) fn kept_for(topic: &TopicInfo) -> Option<i64> {
        let goes = topic.config.cleanup_policy().delete;
        topic.config.retention_millis().filter(|_| goes)
    }

    /// Whether everything is kept.
    pub(crate) fn are_none(self) -> bool {
        self == Self::default()
    }
}

/// Milliseconds of the parts of time, where records are kept for so many: those of one part may share an extent, which goes
/// when the youngest of them does.
pub(crate) const fn span_millis(retention_millis: i64) -> i64 {
    retention_millis / SPAN_PART
}

/// A search for the first extent that stays, from the log start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) limits: Limits,
    pub(crate) now: Timestamp,
    /// The bytes of all extents of the partition so far.
    pub(crate) total: u64,
    /// Nothing beyond it goes.
    pub(crate) last_stable: Offset,
    /// Everything below it goes.
    pub(crate) reached: Offset,
    /// When the extent that stays is due.
    pub(crate) due: Option<Timestamp>,
    /// Up to which offset the partition was compacted, and the bytes behind it. Nobody has counted the bytes that are left
    /// up to there.
    pub(crate) compacted: Option<(Offset, u64)>,
}

/// An extent as retention sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aged {
    pub(crate) offsets: OffsetRange,
    pub(crate) max_timestamp: Timestamp,
    /// It was not committed later.
    pub(crate) committed_at: Timestamp,
    /// The bytes of all extents up to and with it.
    pub(crate) bytes_so_far: u64,
}

impl Aged {
    /// A producer may say that its records are of the future, or of no time at all.
    fn time(&self) -> Timestamp {
        if self.max_timestamp < Timestamp::from_millis(0) {
            self.committed_at
        } else {
            self.max_timestamp.min(self.committed_at)
        }
    }
}

impl Cut {
    /// Looks at the next extent; whether it goes. The one that stays is the last to be looked at.
    pub(crate) fn passes(&mut self, extent: &Aged) -> bool {
        if extent.offsets.next <= self.reached {
            return true;
        }
        let due = self.limits.millis.map(|millis| {
            let last = extent.time().as_millis().saturating_add(millis);
            Timestamp::from_millis(last.saturating_add(1))
        });
        let compacted = self
            .compacted
            .filter(|(cleaned, _)| extent.offsets.base < *cleaned);
        let rest = match compacted {
            Some((_, behind)) => behind,
            None => self.total.saturating_sub(extent.bytes_so_far),
        };
        let is_old = due.is_some_and(|due| due <= self.now);
        let is_much = self.limits.bytes.is_some_and(|bytes| rest >= bytes);
        if (is_old || is_much) && extent.offsets.next <= self.last_stable {
            self.reached = extent.offsets.next;
            return true;
        }
        self.due = due;
        false
    }
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    limits: Limits,
    /// When its first extent is due by time; none without one.
    due: Option<Timestamp>,
}

/// The schedule of a shard. It is in memory only: another owner makes its own.
#[derive(Debug)]
pub(crate) struct Retention {
    interval: Duration,
    /// As many partitions are known at most.
    partitions_max: usize,
    known: HashMap<TopicPartition, Known>,
    due: BTreeSet<(Timestamp, TopicPartition)>,
    /// Partitions that are larger than their topics keep.
    large: BTreeSet<TopicPartition>,
    /// Partitions of which it is to be found out when they are due.
    fresh: BTreeSet<TopicPartition>,
    /// Partitions of which something may be due.
    check: BTreeSet<TopicPartition>,
    /// How far what is due goes, until it is as much as is moved at once or all was looked at.
    moves: Vec<(TopicPartition, Offset)>,
    /// Whether it cannot wait: more of the same partition is due.
    must_move: bool,
    /// Topics whose partitions are to be seen, and from which on.
    topics: BTreeMap<TopicNumber, u32>,
    /// After which topic a pass over all of them goes on. None has the number 0.
    pass: Option<TopicNumber>,
    /// When a pass is to begin anew.
    pass_at: Option<MonoTime>,
    is_shared: bool,
    checked_at: MonoTime,
    not_before: MonoTime,
    /// As of the last step.
    now: MonoTime,
}

impl Retention {
    /// Begins with a pass over all topics. `is_shared`: other processes change topics too.
    pub(crate) fn new(
        interval: Duration,
        partitions_max: usize,
        is_shared: bool,
        now: MonoTime,
    ) -> Self {
        Self {
            interval,
            partitions_max,
            known: HashMap::new(),
            due: BTreeSet::new(),
            large: BTreeSet::new(),
            fresh: BTreeSet::new(),
            check: BTreeSet::new(),
            moves: Vec::new(),
            must_move: false,
            topics: BTreeMap::new(),
            pass: Some(TopicNumber::default()),
            pass_at: None,
            is_shared,
            checked_at: now,
            not_before: now,
            now,
        }
    }

    // ----- what there is to do --------------------------------------------------------------------

    /// When there is something to do; never for a shard in which nothing is ever due (invariant I8).
    pub(crate) fn deadline(&self, now: MonoTime, wall: Timestamp) -> Option<MonoTime> {
        if self.has_work() {
            return Some(self.not_before);
        }
        let check_at = self.checked_at + self.interval;
        let first = self.due.first().map(|(due, _)| {
            let wait = due.as_millis().saturating_sub(wall.as_millis());
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            check_at.max(now + wait.min(SLEEP_MAX))
        });
        let large = (!self.large.is_empty()).then_some(check_at);
        let next = [first, large, self.pass_at].into_iter().flatten().min();
        next.map(|at| at.max(self.not_before))
    }

    fn has_work(&self) -> bool {
        self.pass.is_some()
            || !self.topics.is_empty()
            || !self.fresh.is_empty()
            || !self.check.is_empty()
    }

    /// Takes what is due into the check, at most once in an interval.
    pub(crate) fn begin_check(&mut self, now: MonoTime, wall: Timestamp) {
        self.now = now;
        if self.pass_at.is_some_and(|at| at <= now) {
            self.pass_at = None;
            self.pass.get_or_insert_default();
        }
        let is_due = self.due.first().is_some_and(|(due, _)| *due <= wall);
        if (!is_due && self.large.is_empty()) || now < self.checked_at + self.interval {
            return;
        }
        self.checked_at = now;
        self.check.append(&mut self.large);
        let due = self.due.iter().take_while(|(due, _)| *due <= wall);
        self.check.extend(due.map(|(_, partition)| *partition));
    }

    /// Some partitions to look at, and whether what is due of them goes now.
    pub(crate) fn next_partitions(&self, count: usize) -> (Vec<TopicPartition>, bool) {
        let is_check = !self.check.is_empty();
        let from = if is_check { &self.check } else { &self.fresh };
        (from.iter().take(count).copied().collect(), is_check)
    }

    /// A topic to see, and from which of its partitions on.
    pub(crate) fn next_topic(&self) -> Option<(TopicNumber, u32)> {
        let first = self.topics.first_key_value();
        first.map(|(topic, from)| (*topic, *from))
    }

    /// After which topic the pass goes on, if there is one and all that it has found was seen.
    pub(crate) fn next_pass(&self) -> Option<TopicNumber> {
        self.pass.filter(|_| self.topics.is_empty())
    }

    // ----- what is found ---------------------------------------------------------------------------

    /// Nothing is done for a while: something has failed.
    pub(crate) fn pause(&mut self, now: MonoTime) {
        self.not_before = now + PAUSE;
    }

    /// Nothing is known any more: all is to be found out anew.
    pub(crate) fn begin_anew(&mut self) {
        self.known.clear();
        self.due.clear();
        self.see_all();
    }

    /// All topics are to be seen anew.
    pub(crate) fn see_all(&mut self) {
        self.pass = Some(TopicNumber::default());
    }

    /// The topic has changed.
    pub(crate) fn see(&mut self, topic: TopicNumber) {
        if self.topics.len() >= TOPICS_MAX {
            self.topics.clear();
            self.see_all();
        } else {
            self.topics.insert(topic, 0);
        }
    }

    /// The pass has found topics, and goes on after the last one if there may be more.
    pub(crate) fn passed(
        &mut self,
        topics: impl IntoIterator<Item = TopicNumber>,
        rest: Option<TopicNumber>,
        now: MonoTime,
    ) {
        self.topics
            .extend(topics.into_iter().map(|topic| (topic, 0)));
        self.pass = rest;
        if rest.is_none() && self.is_shared {
            self.pass_at = Some(now + PASS_INTERVAL);
        }
    }

    /// Partitions of a topic were seen, and it goes on with another one if there are more.
    pub(crate) fn seen(&mut self, topic: TopicNumber, rest: Option<u32>) {
        match rest {
            Some(from) => drop(self.topics.insert(topic, from)),
            None => drop(self.topics.remove(&topic)),
        }
    }

    /// Whether nothing else is known of a partition than these limits.
    pub(crate) fn knows(&self, partition: TopicPartition, limits: Limits) -> bool {
        let known = self.known.get(&partition);
        known.is_some_and(|known| known.limits == limits)
    }

    /// How long records of the partition are kept, as far as it is known here.
    pub(crate) fn kept_millis(&self, partition: TopicPartition) -> Option<i64> {
        let known = self.known.get(&partition);
        known.and_then(|known| known.limits.millis)
    }

    /// It is to be found out when something of the partition is due.
    pub(crate) fn refresh(&mut self, partition: TopicPartition) {
        self.set(partition, None);
        self.fresh.insert(partition);
    }

    /// The checkpoint has written the partition, of which there are so many bytes at most.
    pub(crate) fn written(&mut self, partition: TopicPartition, bytes: u64) {
        let Some(known) = self.known.get(&partition) else {
            self.fresh.insert(partition);
            return;
        };
        if known.limits.millis.is_some() && known.due.is_none() {
            self.fresh.insert(partition);
        }
        if known.limits.bytes.is_some_and(|kept| bytes > kept) {
            self.large.insert(partition);
        }
    }

    /// The partition was looked at: when its first extent is due, and whether there are more bytes than are kept.
    pub(crate) fn looked(
        &mut self,
        partition: TopicPartition,
        limits: Limits,
        due: Option<Timestamp>,
        is_large: bool,
    ) {
        self.fresh.remove(&partition);
        self.check.remove(&partition);
        self.set(partition, Some(Known { limits, due }));
        if is_large {
            self.large.insert(partition);
        }
    }

    /// What lies below this offset is to go. `has_more`: it is to be found out how much more.
    pub(crate) fn moves(&mut self, partition: TopicPartition, to: Offset, has_more: bool) {
        self.moves.push((partition, to));
        self.must_move |= has_more;
    }

    /// What is to go, once there is enough of it.
    pub(crate) fn take_moves(&mut self, enough: usize) -> Vec<(TopicPartition, Offset)> {
        if !self.must_move && !self.check.is_empty() && self.moves.len() < enough {
            return Vec::new();
        }
        self.must_move = false;
        std::mem::take(&mut self.moves)
    }

    /// Nothing of the partition is ever looked at again, until a checkpoint or its topic says so.
    pub(crate) fn forget(&mut self, partition: TopicPartition) {
        self.fresh.remove(&partition);
        self.check.remove(&partition);
        self.large.remove(&partition);
        self.set(partition, None);
    }

    fn set(&mut self, partition: TopicPartition, now: Option<Known>) {
        let before = self.known.remove(&partition);
        if let Some(due) = before.and_then(|known| known.due) {
            self.due.remove(&(due, partition));
        }
        let Some(known) = now else {
            return;
        };
        if self.known.len() >= self.partitions_max.max(1) {
            // It is found again in the next pass.
            let at = self.now + PASS_INTERVAL;
            self.pass_at = Some(self.pass_at.map_or(at, |before| before.min(at)));
            return;
        }
        self.known.insert(partition, known);
        if let Some(due) = known.due {
            self.due.insert((due, partition));
        }
    }
}

#[cfg(test)]
mod tests;
