//! Which deleted topics are to be purged when, and how far the shard has come with each. Nothing here does I/O.
//!
//! ```text
//!   deleted, due at --> begin --> look: empty the logs, wait until all is off the books --> offsets --> emptied
//!                                   ^                |                                                    |
//!                                   +---- rest ------+        in shard 0: all shards are --> rows --> topic
//! ```
//!
//! It is in memory only: another owner finds the topics again, and what is left of each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::TopicInfo;
use tidelog_store::KeyRange;
use tidelog_types::{Timestamp, TopicNumber};

/// Topics that are purged at once. The others wait.
const TOPICS_AT_ONCE: usize = 64;
/// Deleted topics whose time is known. Of more the last ones are found again when some have gone.
const TOPICS_KNOWN: usize = 10_000;
/// The wall clock may jump: nobody sleeps longer without a look at it.
const SLEEP_MAX: Duration = Duration::from_hours(1);
/// How long nothing is done after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a topic rests that waits for something, unless it is heard that this has come.
const REST: Duration = Duration::from_secs(15);
/// How long a topic is let be with which nothing goes on.
const SET_ASIDE: Duration = Duration::from_hours(1);

/// How far the shard is with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its partitions from this one on are to be emptied.
    Look(u32),
    /// The offsets of groups in it go.
    Offsets,
    /// It is to be noted that the shard has nothing of it any more.
    Emptied,
    /// All other shards are to have nothing of it any more either.
    Others,
    /// Its rows go, and then the topic.
    Rows,
}

/// A topic that is being purged.
#[derive(Clone, Debug)]
pub(crate) struct Purged {
    pub(crate) topic: Arc<TopicInfo>,
    pub(crate) stage: Stage,
    /// When it last went on.
    pub(crate) since: MonoTime,
    /// Bytes of logs that were emptied.
    pub(crate) bytes: u64,
    /// Offsets of what was last waited for that are not off the books.
    pub(crate) left: u64,
}

/// A look through all offsets of groups, for some topics.
#[derive(Debug)]
pub(crate) struct OffsetsPass {
    pub(crate) topics: BTreeSet<TopicNumber>,
    pub(crate) rest: KeyRange,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Job {
    /// Find out whether it is time for a topic.
    Begin(TopicNumber),
    /// Go on with one.
    Work(Purged),
    /// Go on with a look through offsets.
    Offsets(OffsetsPass),
}

/// The schedule of a shard.
#[derive(Debug)]
pub(crate) struct Purge {
    /// When each is due, and that by time.
    deleted: BTreeMap<TopicNumber, Timestamp>,
    due: BTreeSet<(Timestamp, TopicNumber)>,
    has_missed: bool,
    working: VecDeque<Purged>,
    resting: Vec<Purged>,
    /// When those that rest are looked at again.
    wake_at: Option<MonoTime>,
    offsets: Option<OffsetsPass>,
    /// Topics of which the shard is known to have nothing: others may have.
    done: BTreeSet<TopicNumber>,
    not_before: MonoTime,
    had_turn: bool,
}

impl Purge {
    pub(crate) const fn new(now: MonoTime) -> Self {
        Self {
            deleted: BTreeMap::new(),
            due: BTreeSet::new(),
            has_missed: false,
            working: VecDeque::new(),
            resting: Vec::new(),
            wake_at: None,
            offsets: None,
            done: BTreeSet::new(),
            not_before: now,
            had_turn: false,
        }
    }

    // ----- what there is to do --------------------------------------------------------------------

    /// When there is something to do; never where no topic waits (invariant I8).
    pub(crate) fn deadline(&self, now: MonoTime, wall: Timestamp) -> Option<MonoTime> {
        if !self.working.is_empty() || self.offsets.is_some() {
            return Some(self.not_before);
        }
        let first = self.due.first().filter(|_| self.has_room());
        let first = first.map(|(due, _)| {
            let wait = due.as_millis().saturating_sub(wall.as_millis());
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            now + wait.min(SLEEP_MAX)
        });
        let next = [first, self.wake_at].into_iter().flatten().min();
        next.map(|at| at.max(self.not_before))
    }

    /// What is to be done now, every other time that it is asked.
    pub(crate) fn next(&mut self, now: MonoTime, wall: Timestamp) -> Option<Job> {
        self.had_turn = !self.had_turn && self.deadline(now, wall).is_some_and(|at| at <= now);
        if !self.had_turn {
            return None;
        }
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake();
        }
        let due = self.due.first().copied();
        if let Some((_, topic)) = due.filter(|(due, _)| *due <= wall && self.has_room()) {
            self.forget(topic);
            return Some(Job::Begin(topic));
        }
        if let Some(pass) = self.offsets.take() {
            return Some(Job::Offsets(pass));
        }
        self.working.pop_front().map(Job::Work)
    }

    fn has_room(&self) -> bool {
        self.working.len() + self.resting.len() < TOPICS_AT_ONCE
    }

    /// How many topics wait for their time or are being purged.
    pub(crate) fn count(&self) -> usize {
        self.deleted.len() + self.working.len() + self.resting.len()
    }

    // ----- what is found ---------------------------------------------------------------------------

    /// A topic is deleted, and is to be purged from a time on.
    pub(crate) fn note(&mut self, topic: TopicNumber, at: Timestamp) {
        if self.is_purging(topic) || self.done.contains(&topic) {
            return;
        }
        self.forget(topic);
        self.deleted.insert(topic, at);
        self.due.insert((at, topic));
        if self.due.len() > TOPICS_KNOWN
            && let Some((_, last)) = self.due.pop_last()
        {
            self.deleted.remove(&last);
            self.has_missed = true;
        }
    }

    /// A topic is not to be purged, or not known to be.
    pub(crate) fn forget(&mut self, topic: TopicNumber) {
        if let Some(at) = self.deleted.remove(&topic) {
            self.due.remove(&(at, topic));
        }
    }

    /// The shard has nothing of a topic any more, and nothing else to do for it.
    pub(crate) fn done(&mut self, topic: TopicNumber) {
        if self.done.len() >= TOPICS_KNOWN {
            // They are found to be done again.
            self.done.clear();
        }
        self.done.insert(topic);
    }

    /// Whether all that is known is done, and there was more than there was room for.
    pub(crate) fn take_missed(&mut self) -> bool {
        self.deleted.is_empty() && std::mem::take(&mut self.has_missed)
    }

    fn is_purging(&self, topic: TopicNumber) -> bool {
        let all = self.working.iter().chain(&self.resting);
        all.map(|purged| purged.topic.number)
            .any(|number| number == topic)
    }

    /// A topic is gone on with at once.
    pub(crate) fn go_on(&mut self, purged: Purged) {
        self.working.push_back(purged);
    }

    /// A topic waits for something; one that has waited for long is let be.
    pub(crate) fn rest(&mut self, purged: Purged, now: MonoTime, wall: Timestamp) -> bool {
        if now - purged.since >= SET_ASIDE {
            self.set_aside(purged.topic.number, wall);
            return false;
        }
        self.resting.push(purged);
        self.wake_at.get_or_insert(now + REST);
        true
    }

    /// A topic is let be for a while.
    pub(crate) fn set_aside(&mut self, topic: TopicNumber, wall: Timestamp) {
        let millis = i64::try_from(SET_ASIDE.as_millis()).unwrap_or(i64::MAX);
        let later = wall.as_millis().saturating_add(millis);
        self.note(topic, Timestamp::from_millis(later));
    }

    /// What topics wait for may have come.
    pub(crate) fn wake(&mut self) {
        self.wake_at = None;
        self.working.extend(self.resting.drain(..));
    }

    /// Begins a look through offsets for all topics that are so far, or goes on with one.
    pub(crate) fn look_through(&mut self, pass: OffsetsPass) {
        self.offsets = Some(pass);
    }

    /// Topics at a stage, beside the one that is worked on.
    pub(crate) fn all_at(&self, stage: Stage) -> Vec<TopicNumber> {
        let at = self.working.iter().filter(|purged| purged.stage == stage);
        at.map(|purged| purged.topic.number).collect()
    }

    /// A look through offsets is over: the topics that it was for go on.
    pub(crate) fn looked_through(&mut self, topics: &BTreeSet<TopicNumber>) {
        let all = self.working.iter_mut().chain(&mut self.resting);
        for purged in all.filter(|purged| topics.contains(&purged.topic.number)) {
            if purged.stage == Stage::Offsets {
                purged.stage = Stage::Emptied;
            }
        }
        self.wake();
    }

    /// Whether a look through offsets is under way.
    pub(crate) const fn looks_through(&self) -> bool {
        self.offsets.is_some()
    }

    /// Nothing is done for a while: something has failed.
    pub(crate) fn pause(&mut self, now: MonoTime) {
        self.not_before = now + PAUSE;
    }
}

#[cfg(test)]
mod tests;
