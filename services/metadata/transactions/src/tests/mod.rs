//! One transactional id, its time, and those who use it.

mod adds;
mod begins;
mod ends;
mod epochs;
mod marks;
mod random;
mod shows;
mod times;

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::{
    Decision, EndTransaction, GroupName, InitTransactions, Participant,
    ProducerIdentity as Producer, TransactionError, TransactionState,
    TransactionVersion as Version, TransactionalId,
};
use tidelog_types::{
    PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicNumber, TopicPartition,
};

use crate::{
    Cause, Coordinator, Effects, Ending, Limits, Markers, Now, Outcome, Phase, StoredTransaction,
};
use Decision::{Abort, Commit};
use TransactionError::{Concurrent, Fenced, InvalidState, UnknownProducer};
use Version::{One, Two};

const TIMEOUT: Duration = Duration::from_mins(1);
/// The shortest time that there is.
const MOMENT: Duration = Duration::from_millis(1);
const COORDINATOR_EPOCH: i32 = 3;

fn producer(id: i64, epoch: i16) -> Producer {
    Producer::new(ProducerId::new(id), ProducerEpoch::new(epoch))
}

fn partition(index: u32) -> Participant {
    let (topic, index) = (TopicNumber::new(7), PartitionIndex::new(index));
    Participant::Partition(TopicPartition::new(topic, index))
}

fn group(name: &str) -> Participant {
    Participant::Group(GroupName::new(name).unwrap())
}

fn set(participants: &[Participant]) -> BTreeSet<Participant> {
    participants.iter().cloned().collect()
}

fn id() -> TransactionalId {
    TransactionalId::new("id").unwrap()
}

fn begins(timeout: Duration, expected: Option<Producer>) -> InitTransactions {
    InitTransactions {
        id: id(),
        timeout,
        expected,
    }
}

fn ends(producer: Producer, decision: Decision, version: Version) -> EndTransaction {
    EndTransaction {
        id: id(),
        producer,
        decision,
        version,
    }
}

struct World {
    coordinator: Coordinator,
    now: Now,
    /// Producer ids are given out from 100 on.
    next_id: i64,
}

impl World {
    fn new() -> Self {
        Self {
            coordinator: Coordinator::new(Limits::default(), COORDINATOR_EPOCH),
            now: Now {
                mono: MonoTime::START,
                wall: Timestamp::from_millis(1_000_000),
            },
            next_id: 100,
        }
    }

    /// A world in which the id is with a producer of an epoch.
    fn at(epoch: i16) -> (Self, Producer) {
        let mut world = Self::new();
        let first = world.init(None).answer.unwrap();
        let mut stored = world.stored();
        stored.producer = Producer::new(first.id, ProducerEpoch::new(epoch));
        world.coordinator = Coordinator::restore(
            Limits::default(),
            COORDINATOR_EPOCH,
            stored.clone(),
            world.now,
        );
        (world, stored.producer)
    }

    fn spare(&self) -> Option<ProducerId> {
        let needs = self.coordinator.may_need_producer_id();
        needs.then_some(ProducerId::new(self.next_id))
    }

    /// An id that was given out is not given out again.
    fn used<T>(&mut self, outcome: Outcome<T>) -> Outcome<T> {
        let stored = self.coordinator.stored();
        if stored.is_some_and(|stored| stored.producer.id.get() == self.next_id) {
            self.next_id += 1;
        }
        outcome
    }

    fn init(&mut self, expected: Option<Producer>) -> Outcome<Producer> {
        let request = begins(TIMEOUT, expected);
        let outcome = self.coordinator.init(&request, self.spare(), self.now);
        self.used(outcome)
    }

    /// Begins, as often as it takes.
    fn begin(&mut self, expected: Option<Producer>) -> Result<Producer, TransactionError> {
        for _ in 0..3 {
            match self.init(expected).answer {
                Err(Concurrent) => self.tell_all(),
                answer => return answer,
            }
        }
        Err(Concurrent)
    }

    fn add(&mut self, producer: Producer, added: &[Participant]) -> Outcome<()> {
        self.coordinator.add(producer, &set(added), self.now)
    }

    fn end(
        &mut self,
        producer: Producer,
        decision: Decision,
        version: Version,
    ) -> Outcome<Producer> {
        let request = ends(producer, decision, version);
        let outcome = self.coordinator.end(&request, self.spare(), self.now);
        self.used(outcome)
    }

    /// All markers that are missing are written.
    fn tell_all(&mut self) {
        if let Some(markers) = self.coordinator.missing_markers() {
            let done = self.coordinator.marked(&markers, self.now);
            assert!(done.store, "the end is to be stored");
        }
    }

    /// Markers with a number are written at these participants.
    fn mark(&mut self, number: u64, participants: &[Participant]) -> Effects {
        let written = Markers {
            number,
            producer: self.stored().shown_producer(),
            coordinator_epoch: COORDINATOR_EPOCH,
            decision: Commit,
            participants: set(participants),
        };
        self.coordinator.marked(&written, self.now)
    }

    fn pass(&mut self, time: Duration) -> Effects {
        self.now.mono = self.now.mono + time;
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.now.wall = Timestamp::from_millis(self.now.wall.as_millis() + millis);
        self.coordinator.tick(self.now)
    }

    /// All of a time passes but for a moment.
    fn pass_almost(&mut self, time: Duration) -> Effects {
        self.pass(time.saturating_sub(MOMENT))
    }

    fn stored(&self) -> StoredTransaction {
        self.coordinator.stored().unwrap().clone()
    }

    fn state(&self) -> TransactionState {
        self.stored().state()
    }

    /// The owner fails, and another one reads what is stored.
    fn take_over(&mut self) {
        let stored = self.stored();
        let epoch = COORDINATOR_EPOCH + 1;
        self.coordinator = Coordinator::restore(Limits::default(), epoch, stored.clone(), self.now);
        assert_eq!(self.stored(), stored);
    }
}

/// A producer with an open transaction on one partition.
fn open() -> (World, Producer) {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    world.add(one, &[partition(0)]).answer.unwrap();
    (world, one)
}
