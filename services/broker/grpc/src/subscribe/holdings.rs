//! The partitions that a member has, and how far each has been read. No I/O.
//!
//! ```text
//!   target, as the coordinator said last      held: what the member says that it has
//!        gained --> Starting --> Reading <--> Parked
//!        lost   ---------------> Revoked --> released, by the client or when its time is over
//! ```
//!
//! A partition is given up, so that others get it, only once it is held no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_env::MonoTime;
use tidelog_types::{Offset, PartitionIndex, TopicNumber, TopicPartition};

/// Where a member stands in a partition that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Where to begin is being found out. A `reset` does not look at the committed offset.
    Starting { reset: bool },
    /// The offset of the next record to send.
    Reading(Offset),
    /// Nothing is read until the client says where to go on.
    Parked,
    /// The client has been told to let go of it.
    Revoked(u64),
}

#[derive(Clone, Debug)]
struct Held {
    /// The topic's name, once the client has been told of the partition.
    told: Option<Arc<str>>,
    stage: Stage,
}

/// A partition as clients name it.
pub(super) type Named = (Arc<str>, u32);

/// Partitions that the client is to let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revocation {
    pub(super) id: u64,
    pub(super) partitions: Vec<Named>,
}

/// What came of an assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assigned {
    /// What the client is to be told to let go of.
    pub(super) revocation: Option<Revocation>,
    /// Whether something is given up already, since the client does not know of it.
    pub(super) given_up: bool,
}

/// A partition that is read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: TopicPartition,
    pub(super) topic: Arc<str>,
    pub(super) next: Offset,
}

/// The partitions of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    held: BTreeMap<TopicPartition, Held>,
    /// What the member is to have.
    target: BTreeSet<TopicPartition>,
    /// The topics that the client has been told of.
    topics: BTreeMap<Arc<str>, TopicNumber>,
    /// Until when the client may let go.
    revocations: BTreeMap<u64, MonoTime>,
    revoked: u64,
}

impl Holdings {
    /// What the member is to have from now on. What it has beyond is taken away, by a revocation if the client knows of
    /// it; the rest of it is given up at once.
    pub(super) fn assign(&mut self, target: Vec<TopicPartition>, until: MonoTime) -> Assigned {
        self.target = target.into_iter().collect();
        let id = self.revoked + 1;
        let mut partitions = Vec::new();
        let mut given_up = false;
        let target = &self.target;
        self.held.retain(|at, held| {
            if target.contains(at) || matches!(held.stage, Stage::Revoked(_)) {
                return true;
            }
            let Some(topic) = &held.told else {
                given_up = true;
                return false;
            };
            held.stage = Stage::Revoked(id);
            partitions.push((Arc::clone(topic), at.partition.get()));
            true
        });
        self.gain();
        let revocation = (!partitions.is_empty()).then(|| {
            self.revoked = id;
            self.revocations.insert(id, until);
            Revocation { id, partitions }
        });
        Assigned {
            revocation,
            given_up,
        }
    }

    /// Takes what the member is to have and has not.
    fn gain(&mut self) {
        for at in &self.target {
            self.held.entry(*at).or_insert(Held {
                told: None,
                stage: Stage::Starting { reset: false },
            });
        }
        let held = &self.held;
        self.topics
            .retain(|_, number| held.keys().any(|at| at.topic == *number));
    }

    /// Everything that the member has.
    pub(super) fn owned(&self) -> Vec<TopicPartition> {
        self.held.keys().copied().collect()
    }

    /// The partitions of which it is to be found out where to begin, and whether not at the committed offset.
    pub(super) fn to_start(&self) -> Vec<(TopicPartition, bool)> {
        let starting = self.held.iter().filter_map(|(at, held)| match held.stage {
            Stage::Starting { reset } => Some((*at, reset)),
            _ => None,
        });
        starting.collect()
    }

    /// It is known where to begin; nowhere for now, if `next` is none. Answers whether the client is to be told, since
    /// it does not know of the partition.
    pub(super) fn started(
        &mut self,
        at: TopicPartition,
        topic: &Arc<str>,
        next: Option<Offset>,
    ) -> bool {
        let Some(held) = self.held.get_mut(&at) else {
            return false;
        };
        if !matches!(held.stage, Stage::Starting { .. }) {
            return false;
        }
        held.stage = next.map_or(Stage::Parked, Stage::Reading);
        self.topics.insert(Arc::clone(topic), at.topic);
        held.told.replace(Arc::clone(topic)).is_none()
    }

    /// What is to be read.
    pub(super) fn places(&self) -> Vec<Place> {
        let reading = self.held.iter().filter_map(|(at, held)| match held {
            Held {
                told: Some(topic),
                stage: Stage::Reading(next),
            } => Some(Place {
                at: *at,
                topic: Arc::clone(topic),
                next: *next,
            }),
            _ => None,
        });
        reading.collect()
    }

    /// Whether it is to be found out of any partition where to begin.
    pub(super) fn starts(&self) -> bool {
        let mut held = self.held.values();
        held.any(|held| matches!(held.stage, Stage::Starting { .. }))
    }

    /// Whether there is anything to read.
    pub(super) fn reads(&self) -> bool {
        let mut held = self.held.values();
        held.any(|held| matches!(held.stage, Stage::Reading(_)))
    }

    /// Whether what was read from `place` is what comes next; then it goes on at `next`.
    pub(super) fn advance(&mut self, place: &Place, next: Offset) -> bool {
        let stage = self.held.get_mut(&place.at).map(|held| &mut held.stage);
        match stage {
            Some(stage @ Stage::Reading(_)) if *stage == Stage::Reading(place.next) => {
                *stage = Stage::Reading(next);
                true
            }
            _ => false,
        }
    }

    /// Stops reading a partition until the client says where to go on.
    pub(super) fn park(&mut self, at: TopicPartition) {
        if let Some(held) = self.held.get_mut(&at)
            && !matches!(held.stage, Stage::Revoked(_))
        {
            held.stage = Stage::Parked;
        }
    }

    /// Finds out anew where to read, and not from the committed offset.
    pub(super) fn reset(&mut self, at: TopicPartition) {
        if let Some(held) = self.held.get_mut(&at)
            && matches!(held.stage, Stage::Reading(_))
        {
            held.stage = Stage::Starting { reset: true };
        }
    }

    /// A partition that the client knows of, and that is not taken from it yet.
    pub(super) fn find(&self, topic: &str, partition: u32) -> Option<TopicPartition> {
        let number = self.topics.get(topic)?;
        let at = TopicPartition::new(*number, PartitionIndex::new(partition));
        self.held.get(&at)?.told.as_ref().map(|_| at)
    }

    /// Goes on reading somewhere else. Answers whether the member has the partition and is to keep it.
    pub(super) fn seek(&mut self, topic: &str, partition: u32, next: Offset) -> bool {
        let at = self.find(topic, partition);
        let held = at.and_then(|at| self.held.get_mut(&at));
        match held {
            Some(held) if !matches!(held.stage, Stage::Revoked(_)) => {
                held.stage = Stage::Reading(next);
                true
            }
            _ => false,
        }
    }

    /// Whether a revocation is open.
    pub(super) fn is_open(&self, revocation: u64) -> bool {
        self.revocations.contains_key(&revocation)
    }

    /// The client has let go, or its time is over.
    pub(super) fn release(&mut self, revocation: u64) {
        self.revocations.remove(&revocation);
        self.held
            .retain(|_, held| held.stage != Stage::Revoked(revocation));
        self.gain();
    }

    /// Revocations whose time is over.
    pub(super) fn overdue(&self, now: MonoTime) -> Vec<u64> {
        let revocations = self.revocations.iter();
        let over = revocations.filter(|(_, until)| **until <= now);
        over.map(|(id, _)| *id).collect()
    }

    /// When the next revocation is over.
    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        self.revocations.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(topic: u64, partition: u32) -> TopicPartition {
        TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(partition))
    }

    fn soon() -> MonoTime {
        MonoTime::START + Duration::from_secs(1)
    }

    /// Holdings that read partitions of topic 1, `t`, from offset 5.
    fn reading(partitions: &[u32]) -> Holdings {
        let mut holdings = Holdings::default();
        let target = partitions.iter().map(|index| at(1, *index)).collect();
        assert_eq!(holdings.assign(target, soon()), Assigned::default());
        for (at, reset) in holdings.to_start() {
            assert!(!reset);
            assert!(holdings.started(at, &"t".into(), Some(Offset::new(5))));
        }
        holdings
    }

    #[test]
    fn what_is_lost_is_read_no_more_and_held_until_the_client_lets_go() {
        let mut holdings = reading(&[0, 1, 2]);
        let revocation = holdings.assign(vec![at(1, 0)], soon());
        let revocation = revocation.revocation.unwrap();
        assert_eq!(
            revocation.partitions,
            [("t".into(), 1), ("t".into(), 2)] as [Named; 2]
        );
        assert_eq!(holdings.places().len(), 1);
        assert_eq!(holdings.owned().len(), 3);
        assert_eq!(
            holdings.find("t", 2),
            Some(at(1, 2)),
            "it may still be committed"
        );
        assert!(!holdings.seek("t", 2, Offset::ZERO));
        holdings.release(revocation.id + 1);
        assert_eq!(holdings.owned().len(), 3);
        holdings.release(revocation.id);
        assert_eq!(holdings.owned(), [at(1, 0)]);
        assert_eq!(holdings.find("t", 2), None);
    }

    #[test]
    fn who_does_not_let_go_loses_it_when_the_time_is_over() {
        let mut holdings = reading(&[0]);
        let revocation = holdings.assign(Vec::new(), soon());
        let revocation = revocation.revocation.unwrap();
        assert_eq!(holdings.next_deadline(), Some(soon()));
        assert!(holdings.overdue(MonoTime::START).is_empty());
        assert_eq!(holdings.overdue(soon()), [revocation.id]);
    }

    #[test]
    fn what_the_client_does_not_know_of_is_given_up_without_a_word() {
        let mut holdings = Holdings::default();
        assert_eq!(holdings.assign(vec![at(1, 0)], soon()), Assigned::default());
        assert!(holdings.assign(Vec::new(), soon()).given_up);
        assert!(holdings.owned().is_empty());
        assert!(!holdings.started(at(1, 0), &"t".into(), Some(Offset::ZERO)));
    }

    #[test]
    fn what_comes_back_while_it_is_let_go_of_begins_anew() {
        let mut holdings = reading(&[0]);
        let revocation = holdings.assign(Vec::new(), soon());
        let revocation = revocation.revocation.unwrap();
        assert_eq!(holdings.assign(vec![at(1, 0)], soon()), Assigned::default());
        assert!(holdings.places().is_empty());
        holdings.release(revocation.id);
        assert_eq!(holdings.to_start(), [(at(1, 0), false)]);
        assert!(holdings.started(at(1, 0), &"t".into(), Some(Offset::new(9))));
    }

    #[test]
    fn what_was_read_before_a_seek_or_a_revocation_is_not_sent() {
        let mut holdings = reading(&[0, 1]);
        let places = holdings.places();
        assert!(holdings.seek("t", 0, Offset::new(2)));
        assert!(!holdings.advance(&places[0], Offset::new(8)));
        assert!(holdings.advance(&places[1], Offset::new(8)));
        let places = holdings.places();
        assert_eq!(
            (places[0].next, places[1].next),
            (Offset::new(2), Offset::new(8))
        );
        holdings.assign(Vec::new(), soon());
        assert!(!holdings.advance(&places[0], Offset::new(9)));
    }

    #[test]
    fn a_parked_partition_is_not_read_until_the_client_says_where() {
        let mut holdings = reading(&[0]);
        holdings.park(at(1, 0));
        assert!(!holdings.reads());
        holdings.reset(at(1, 0));
        assert!(holdings.to_start().is_empty());
        assert!(holdings.seek("t", 0, Offset::ZERO));
        holdings.reset(at(1, 0));
        assert_eq!(holdings.to_start(), [(at(1, 0), true)]);
        let told = holdings.started(at(1, 0), &"t".into(), Some(Offset::ZERO));
        assert!(!told, "the client knows of it");
    }

    #[test]
    fn a_topic_made_again_is_the_one_that_is_committed() {
        let mut holdings = reading(&[0]);
        holdings.assign(vec![at(2, 0)], soon());
        assert!(holdings.started(at(2, 0), &"t".into(), Some(Offset::ZERO)));
        assert_eq!(holdings.find("t", 0), Some(at(2, 0)));
    }
}
