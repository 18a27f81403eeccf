//! The bounds of partitions that were asked for, kept within a bound of their own.

use std::collections::HashMap;

use tidelog_metadata_api::PartitionBounds;
use tidelog_types::{TopicNumber, TopicPartition};

/// What is known of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) bounds: PartitionBounds,
    /// The session within which the owner has told them, after which news has kept them current.
    pub(super) session: Option<u64>,
    /// A question is under way, or was answered: without it news may have passed unheard.
    is_open: bool,
    /// Higher bounds may have been shown once, and forgotten.
    pub(super) is_forgotten: bool,
}

/// Keeps those that were asked for last. When the young half is full it becomes the old half, and what was
/// in that and not asked for since is forgotten.
#[derive(Debug)]
pub(super) struct BoundsCache {
    young: HashMap<TopicPartition, Entry>,
    old: HashMap<TopicPartition, Entry>,
    /// Partitions of one half.
    half_max: usize,
    /// Whether anything was ever forgotten: until then, what is not here was never shown.
    has_forgotten: bool,
}

impl BoundsCache {
    pub(super) fn new(half_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half_max,
            has_forgotten: false,
        }
    }

    /// Begins anew, with nothing that was ever shown.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.half_max);
    }

    /// The entry of a partition, which from now on hears news.
    pub(super) fn open(&mut self, partition: TopicPartition) -> &mut Entry {
        if !self.young.contains_key(&partition) {
            if self.young.len() >= self.half_max {
                let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
                self.has_forgotten |= !old.is_empty();
            }
            let new = Entry {
                is_forgotten: self.has_forgotten,
                ..Entry::default()
            };
            let entry = self.old.remove(&partition).unwrap_or(new);
            self.young.insert(partition, entry);
        }
        let entry = self.young.entry(partition).or_default();
        entry.is_open = true;
        entry
    }

    /// News of a partition, if anybody asked for it.
    pub(super) fn raise(&mut self, partition: TopicPartition, bounds: PartitionBounds) {
        let young = self.young.get_mut(&partition);
        if let Some(entry) = young.or_else(|| self.old.get_mut(&partition)) {
            entry.bounds = highest(entry.bounds, bounds);
        }
    }

    /// An answer of the owner, which is not older than what was shown; with a session it is current. Answers
    /// with what holds.
    pub(super) fn learn(
        &mut self,
        partition: TopicPartition,
        bounds: PartitionBounds,
        session: Option<u64>,
    ) -> PartitionBounds {
        let was_open = self.get(partition).is_some_and(|entry| entry.is_open);
        let entry = self.open(partition);
        entry.is_forgotten = false;
        entry.bounds = highest(entry.bounds, bounds);
        if was_open && session.is_some() {
            entry.session = session;
        }
        entry.bounds
    }

    /// A topic has changed, perhaps was deleted: its partitions are asked for anew.
    pub(super) fn forget_topic(&mut self, topic: TopicNumber) {
        for (_, entry) in self.entries().filter(|(at, _)| at.topic == topic) {
            entry.session = None;
            entry.is_open = false;
        }
    }

    fn get(&self, partition: TopicPartition) -> Option<&Entry> {
        let young = self.young.get(&partition);
        young.or_else(|| self.old.get(&partition))
    }

    fn entries(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut Entry)> {
        self.young.iter_mut().chain(self.old.iter_mut())
    }
}

/// Bounds only grow, whoever tells of them first.
pub(crate) fn highest(one: PartitionBounds, other: PartitionBounds) -> PartitionBounds {
    PartitionBounds {
        log_start: one.log_start.max(other.log_start),
        last_stable: one.last_stable.max(other.last_stable),
        high_watermark: one.high_watermark.max(other.high_watermark),
        aborted_below: one.aborted_below.max(other.aborted_below),
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{Offset, PartitionIndex};

    use super::*;

    fn at(index: u32) -> TopicPartition {
        TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
    }

    fn upto(offset: u64) -> PartitionBounds {
        PartitionBounds {
            high_watermark: Offset::new(offset),
            aborted_below: Offset::ZERO,
            ..PartitionBounds::default()
        }
    }

    #[test]
    fn an_answer_that_news_has_overtaken_does_not_lower_what_is_known() {
        let mut cache = BoundsCache::new(100);
        cache.open(at(1));
        cache.raise(at(1), upto(12));
        assert_eq!(cache.learn(at(1), upto(10), Some(3)), upto(12));
        assert_eq!(cache.open(at(1)).session, Some(3));
    }

    #[test]
    fn an_answer_whose_question_was_forgotten_is_not_current() {
        let mut cache = BoundsCache::new(100);
        // News may have passed between the question and the answer.
        cache.learn(at(1), upto(10), Some(3));
        assert_eq!(cache.open(at(1)).session, None);
        cache.open(at(2));
        cache.forget_topic(TopicNumber::new(1));
        cache.learn(at(2), upto(10), Some(3));
        assert_eq!(cache.open(at(2)).session, None);
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_asked_for() {
        let mut cache = BoundsCache::new(100);
        cache.open(at(0)).session = Some(1);
        for index in 1..300 {
            cache.open(at(index));
            if index % 50 == 0 {
                assert_eq!(cache.open(at(0)).session, Some(1));
            }
        }
        assert!(cache.young.len() + cache.old.len() <= 200);
    }

    #[test]
    fn what_is_not_here_was_shown_only_if_something_was_forgotten() {
        let mut cache = BoundsCache::new(2);
        for index in 0..4 {
            assert!(!cache.open(at(index)).is_forgotten);
        }
        // The first two make room; from then on nobody knows which it were.
        assert!(cache.open(at(4)).is_forgotten);
        assert!(!cache.open(at(3)).is_forgotten);
        assert!(cache.open(at(0)).is_forgotten);
        cache.raise(at(0), upto(5));
        assert!(cache.open(at(0)).is_forgotten, "news may be old");
        cache.learn(at(0), upto(5), None);
        assert!(!cache.open(at(0)).is_forgotten);
    }
}
