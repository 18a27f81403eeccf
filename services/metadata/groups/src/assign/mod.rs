//! Which member reads which partition, as the coordinator decides it (KIP-848).

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use tidelog_types::{PartitionIndex, TopicNumber, TopicPartition};

/// Partitions.
pub type Partitions = BTreeSet<TopicPartition>;

/// A way to spread partitions over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignor {
    /// As even as the subscriptions allow, and with as few moves as that takes.
    #[default]
    Uniform,
    /// A range of each topic's partitions to each member, so that topics with as many partitions and the same
    /// subscribers are read side by side.
    Range,
}

impl Assignor {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// The name by which members ask for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// What each member is to have. Every partition of a topic that somebody wants goes to exactly one of those
    /// who want it; the same question has the same answer everywhere.
    pub fn assign(self, question: &Question<'_>) -> BTreeMap<String, Partitions> {
        match self {
            Self::Uniform => uniform::assign(question),
            Self::Range => range::assign(question),
        }
    }
}

/// What an assignor has to know.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// The members, by id.
    pub members: BTreeMap<&'a str, Wanted<'a>>,
    /// How many partitions each topic has that somebody wants.
    pub topics: BTreeMap<TopicNumber, u32>,
}

/// What a member wants, and what it is to have so far.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The name that a static member keeps when it comes back under another id.
    pub instance: Option<&'a str>,
    /// The topics.
    pub topics: BTreeSet<TopicNumber>,
    /// What it was to have before.
    pub before: Option<&'a Partitions>,
}

impl<'a> Question<'a> {
    /// The members that want a topic.
    fn subscribers(&self, topic: TopicNumber) -> Vec<&'a str> {
        let members = self.members.iter();
        let members = members.filter(|(_, wanted)| wanted.topics.contains(&topic));
        members.map(|(id, _)| *id).collect()
    }
}

/// The partitions of a topic.
fn partitions(topic: TopicNumber, count: u32) -> impl Iterator<Item = TopicPartition> {
    (0..count).map(move |index| TopicPartition::new(topic, PartitionIndex::new(index)))
}
