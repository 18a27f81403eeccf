//! A group, topics, and members that do as they are told.

mod cases;
mod random;

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::{PartitionIndex, TopicNumber, TopicPartition};

use super::{Beat, Beaten, ConsumerGroup, ConsumerSettings, ConsumerState, TopicShape, Topics};
use crate::GroupError;
use crate::assign::Partitions;

pub(super) const REBALANCE: Duration = Duration::from_mins(2);

/// Topics by name; the number of one is its place.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    version: u64,
    topics: BTreeMap<String, TopicShape>,
}

impl Shapes {
    pub(super) fn set(&mut self, name: &str, number: u64, partitions: u32) {
        self.version += 1;
        let number = TopicNumber::new(number);
        self.topics
            .insert(name.to_owned(), TopicShape { number, partitions });
    }
}

impl Topics for Shapes {
    fn version(&self) -> u64 {
        self.version
    }

    fn find(&self, name: &str) -> Option<TopicShape> {
        self.topics.get(name).copied()
    }

    /// A beginning of a name stands for a pattern here.
    fn matching(&self, pattern: &str) -> Vec<String> {
        let names = self.topics.keys();
        names
            .filter(|name| name.starts_with(pattern))
            .cloned()
            .collect()
    }
}

/// A consumer: what it knows and has.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) epoch: i32,
    pub(super) topics: Vec<String>,
    pub(super) owned: Partitions,
    /// What it was told to have; it lets go at its own time.
    pub(super) told: Partitions,
    /// It has not heard an answer and says everything again, as clients do.
    pub(super) is_unsure: bool,
}

impl Consumer {
    pub(super) fn new(id: &str, topics: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            instance: None,
            epoch: 0,
            topics: topics.iter().map(|name| (*name).to_owned()).collect(),
            owned: Partitions::new(),
            told: Partitions::new(),
            is_unsure: false,
        }
    }

    pub(super) fn beat(&self) -> Beat {
        let is_full = self.epoch == 0 || self.is_unsure;
        Beat {
            member_id: self.id.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rack: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance: is_full.then_some(REBALANCE),
            topics: is_full.then(|| self.topics.clone()),
            pattern: None,
            assignor: None,
            owned: Some(self.owned.clone()),
        }
    }

    /// Does what it was told: lets go of what it must not have, takes what it may. One that is unsure takes nothing
    /// before it has heard again.
    pub(super) fn obey(&mut self) {
        if !self.is_unsure {
            self.owned = self.told.clone();
        }
    }

    /// Joins with nothing, as one that was thrown out.
    pub(super) fn start_over(&mut self) {
        self.epoch = 0;
        self.owned = Partitions::new();
        self.told = Partitions::new();
        self.is_unsure = false;
    }
}

pub(super) struct World {
    pub(super) group: ConsumerGroup,
    pub(super) topics: Shapes,
    pub(super) now: MonoTime,
}

impl World {
    pub(super) fn new() -> Self {
        let mut topics = Shapes::default();
        topics.set("a", 1, 6);
        Self {
            group: ConsumerGroup::new(ConsumerSettings::default()),
            topics,
            now: MonoTime::START,
        }
    }

    /// A heartbeat whose answer arrives.
    pub(super) fn beat(&mut self, consumer: &mut Consumer) -> Result<Beaten, GroupError> {
        let beaten = self.beat_in_vain(consumer)?;
        consumer.epoch = beaten.epoch;
        consumer.is_unsure = false;
        if let Some(assignment) = &beaten.assignment {
            consumer.told = assignment.clone();
        }
        Ok(beaten)
    }

    /// A heartbeat whose answer is lost.
    pub(super) fn beat_in_vain(&mut self, consumer: &mut Consumer) -> Result<Beaten, GroupError> {
        let beat = consumer.beat();
        consumer.is_unsure = true;
        self.group.heartbeat(&beat, &self.topics, self.now)
    }

    /// All beat and obey until nothing changes any more.
    pub(super) fn settle(&mut self, consumers: &mut [&mut Consumer]) {
        for _ in 0..20 {
            for consumer in consumers.iter_mut() {
                self.beat(consumer).unwrap();
                consumer.obey();
            }
        }
        assert_eq!(self.group.state(), ConsumerState::Stable);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.group.wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.group.tick(self.now);
        }
        self.now = end;
    }
}

pub(super) fn of(topic: u64, partitions: std::ops::Range<u32>) -> Partitions {
    let at = |index| TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(index));
    partitions.map(at).collect()
}
