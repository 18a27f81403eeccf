//! What rows of one generation of the cluster become in a later one.

use bytes::Bytes;
use tidelog_types::{ClusterGeneration, Incarnation};

use super::error::RestoreError;
use crate::keyspace::{Counter, KeyKind, Keyspace, LeaseRow, NumberRow};

/// How far counters of topics and incarnations, and epochs of leases, go up with each generation.
///
/// A backup does not know what was given out after it, so numbers go up by more than a generation can
/// give out: 2^32 topics at a thousand a second are fifty days of nothing else, 2^32 starts of a writer
/// process or of a lease are never seen; and 2^32 generations, each of which is a restore, fit.
const JUMP: u64 = 1 << 32;
/// Incarnations that one generation may give out.
pub(super) const INCARNATIONS: u64 = JUMP;
/// The same for producer ids, which clients take: 2^40 at ten thousand a second are three years, and each
/// process takes a thousand at once. Eight million generations fit the 63 bits that an id has.
const PRODUCER_JUMP: u64 = 1 << 40;

/// A lower bound of the incarnations that a generation gives out: each one before it was at least a jump.
pub(super) const fn first_incarnation(generation: ClusterGeneration) -> u64 {
    JUMP.saturating_mul(generation.get().saturating_sub(1) as u64)
}

/// The generation that has given out an incarnation.
pub(crate) const fn generation_of(incarnation: Incarnation) -> u64 {
    incarnation.get() / JUMP + 1
}

/// Numbers above all that generations before have given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstNumbers {
    /// The last topic number that may be in use.
    pub(super) topic: u64,
    /// The first incarnation that the generation gives out.
    pub(super) incarnation: u64,
    /// The last producer id that may be in use.
    pub(super) producer: u64,
}

/// Those of a generation that begins without a backup.
pub(super) fn first_numbers(generation: ClusterGeneration) -> Result<FirstNumbers, RestoreError> {
    let jump = Jump::between(ClusterGeneration::new(1), generation);
    let producer = jump.raise(0, PRODUCER_JUMP, "producer ids")?;
    if i64::try_from(producer).is_err() {
        return Err(RestoreError::Exhausted("producer ids"));
    }
    Ok(FirstNumbers {
        topic: jump.raise(0, JUMP, "topic numbers")?,
        incarnation: jump.raise(1, JUMP, "incarnations")?,
        producer,
    })
}

/// From the generation of a backup to the one that a restore of it begins. Two restores of one backup
/// begin two generations, and differ in every number that they give out from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    generations: u64,
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written as it is.
    Stays(Bytes),
    /// It is written at the end, or not at all.
    Later,
    /// It is a topic, from which other rows follow.
    Topic(Bytes),
}

impl Jump {
    pub(super) const fn between(from: ClusterGeneration, to: ClusterGeneration) -> Self {
        Self {
            generations: to.get().saturating_sub(from.get()) as u64,
        }
    }

    fn raise(self, number: u64, by: u64, what: &'static str) -> Result<u64, RestoreError> {
        let by = self.generations.checked_mul(by);
        by.and_then(|by| number.checked_add(by))
            .ok_or(RestoreError::Exhausted(what))
    }

    /// What becomes of a row, by its kind.
    pub(super) fn fate(self, kind: KeyKind, value: Bytes) -> Result<Fate, RestoreError> {
        match kind {
            KeyKind::Topic => Ok(Fate::Topic(value)),
            KeyKind::Lease => self.lease(value).map(Fate::Stays),
            // The counters and the cluster come last. The others are in no backup: members of the cluster and
            // of groups join anew, the
            // row of the restore is its own, and what the catalogue is found by follows from the topics.
            KeyKind::Cluster
            | KeyKind::Counter
            | KeyKind::Member
            | KeyKind::Restore
            | KeyKind::TopicName
            | KeyKind::TopicId
            | KeyKind::DeletedTopic
            | KeyKind::Emptied
            | KeyKind::GroupMember => Ok(Fate::Later),
            KeyKind::Checkpoint
            | KeyKind::Tail
            | KeyKind::Receipt
            | KeyKind::Floor
            | KeyKind::LiveBytes
            | KeyKind::EndedWriter
            | KeyKind::Dying
            | KeyKind::Orphans
            | KeyKind::Merged
            | KeyKind::Inline
            | KeyKind::Partition
            | KeyKind::Producer
            | KeyKind::Page
            | KeyKind::Aborted
            | KeyKind::Compacted
            | KeyKind::Group
            | KeyKind::GroupOffset
            | KeyKind::GroupProducer
            | KeyKind::GroupPending
            | KeyKind::Transaction => Ok(Fate::Stays(value)),
        }
    }

    fn lease(self, value: Bytes) -> Result<Bytes, RestoreError> {
        let before = LeaseRow::decode(value)?;
        let after = LeaseRow {
            owner: LeaseRow::RELEASED,
            epoch: self.raise(before.epoch, JUMP, "the epoch of a lease")?,
            settled: 0,
        };
        Ok(after.encode())
    }
}

/// The counters of a cluster as a backup has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    topic: u64,
    incarnation: u64,
    producer: u64,
    searched: u64,
}

impl Counters {
    /// Takes note of a counter's row.
    pub(super) fn note(
        &mut self,
        keys: Keyspace,
        key: &Bytes,
        value: Bytes,
    ) -> Result<(), RestoreError> {
        let number = NumberRow::decode(value)?.0;
        for (counter, known) in [
            (Counter::TopicNumber, &mut self.topic),
            (Counter::Incarnation, &mut self.incarnation),
            (Counter::ProducerId, &mut self.producer),
            (Counter::SearchedIncarnation, &mut self.searched),
        ] {
            if *key == keys.counter(counter) {
                *known = number;
            }
        }
        Ok(())
    }

    /// The counters of the new generation, as rows, and the first incarnation that it gives out.
    pub(super) fn raised(
        self,
        jump: Jump,
        keys: Keyspace,
    ) -> Result<(Vec<(Bytes, Bytes)>, Incarnation), RestoreError> {
        let topic = jump.raise(self.topic, JUMP, "topic numbers")?;
        let incarnation = jump.raise(self.incarnation, JUMP, "incarnations")?;
        let producer = jump.raise(self.producer, PRODUCER_JUMP, "producer ids")?;
        if i64::try_from(producer).is_err() {
            return Err(RestoreError::Exhausted("producer ids"));
        }
        let first = incarnation
            .checked_add(1)
            .ok_or(RestoreError::Exhausted("incarnations"))?;
        let mut rows = vec![
            (Counter::TopicNumber, topic),
            (Counter::Incarnation, incarnation),
            (Counter::ProducerId, producer),
            // Every writer of before has ended: it registers anew, and finds the new generation.
            (Counter::OldestLiveIncarnation, first),
        ];
        if self.searched > 0 {
            rows.push((Counter::SearchedIncarnation, self.searched));
        }
        let row = |(counter, number)| (keys.counter(counter), NumberRow(number).encode());
        let rows = rows.into_iter().map(row);
        Ok((rows.collect(), Incarnation::new(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn jump(from: u32, to: u32) -> Jump {
        Jump::between(ClusterGeneration::new(from), ClusterGeneration::new(to))
    }

    fn counters(number: u64) -> Counters {
        let keys = Keyspace::default();
        let mut counters = Counters::default();
        for counter in [
            Counter::TopicNumber,
            Counter::Incarnation,
            Counter::ProducerId,
            Counter::OldestLiveIncarnation,
        ] {
            let value = NumberRow(number).encode();
            counters.note(keys, &keys.counter(counter), value).unwrap();
        }
        counters
    }

    #[test]
    fn each_generation_gives_out_numbers_of_its_own() {
        let keys = Keyspace::default();
        let raised = |generation| {
            let (rows, first) = counters(7).raised(jump(1, generation), keys).unwrap();
            let number = |row: &(Bytes, Bytes)| NumberRow::decode(row.1.clone()).unwrap().0;
            (rows.iter().map(number).collect::<Vec<_>>(), first.get())
        };
        let (one, two) = (1 << 32, 2 << 32);
        let second = vec![one + 7, one + 7, (1 << 40) + 7, one + 8];
        let third = vec![two + 7, two + 7, (2 << 40) + 7, two + 8];
        assert_eq!(raised(2), (second, one + 8));
        assert_eq!(raised(3), (third, two + 8));
    }

    #[test]
    fn numbers_at_their_end_are_an_error_and_do_not_wrap() {
        let keys = Keyspace::default();
        let end = counters(u64::MAX - 5).raised(jump(1, 2), keys);
        assert!(matches!(end, Err(RestoreError::Exhausted(_))), "{end:?}");
        let far = counters(0).raised(jump(0, u32::MAX), keys);
        assert!(matches!(far, Err(RestoreError::Exhausted(_))), "{far:?}");
    }

    #[test]
    fn a_lease_has_no_owner_and_an_epoch_that_nobody_had() {
        let lease = LeaseRow {
            owner: [4; 16],
            epoch: 9,
            settled: 3,
        };
        let fate = jump(1, 2).fate(KeyKind::Lease, lease.encode()).unwrap();
        let after = LeaseRow {
            owner: LeaseRow::RELEASED,
            epoch: (1 << 32) + 9,
            settled: 0,
        };
        assert_eq!(fate, Fate::Stays(after.encode()));
    }
}
