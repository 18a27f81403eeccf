//! Groups of the consumer protocol (KIP-848): the coordinator assigns, and each member moves towards what it is
//! to have at its own pace.
//!
//! ```text
//!   subscriptions, topics --> group epoch --> target assignment --> each member: current assignment
//!        (change: +1)                          (of that epoch)        gives up first, then takes what is free
//! ```
//!
//! A partition is never with two members: one that moves is given to the next only when the one before has said
//! that it has let go. A member that does not let go in its rebalance timeout, or is silent for a session, is out.

mod classic;
mod heartbeat;
mod member;
mod moves;
mod reconcile;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::{TopicNumber, TopicPartition};

pub use self::classic::{ClassicPart, Told};
pub use self::heartbeat::{Beat, Beaten};
use self::member::Member;
pub use self::member::MemberState;
pub use self::stored::{StoredGroup, StoredMember};
use crate::GroupError;
use crate::assign::{Assignor, Partitions, Question, Wanted};

/// Limits of groups.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSettings {
    /// After so long without a heartbeat a member is taken for dead.
    pub session: Duration,
    /// How often members are told to say that they live.
    pub heartbeat: Duration,
    /// Members of a group, at most.
    pub members_max: usize,
}

impl Default for ConsumerSettings {
    /// As in Kafka.
    fn default() -> Self {
        Self {
            session: Duration::from_secs(45),
            heartbeat: Duration::from_secs(5),
            members_max: 10_000,
        }
    }
}

/// A topic, as far as a group cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// The topic. One that is deleted and made again under the same name has another number.
    pub number: TopicNumber,
    /// How many partitions it has.
    pub partitions: u32,
}

/// The topics there are, for the one who may read them.
pub trait Topics {
    /// Goes up whenever any answer of the others may be another one.
    fn version(&self) -> u64;

    /// The topic of this name.
    fn find(&self, name: &str) -> Option<TopicShape>;

    /// The names that a pattern matches, in the regular language of RE2.
    fn matching(&self, pattern: &str) -> Vec<String>;
}

/// Where a group stands, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsumerState {
    /// No members; there may be offsets.
    Empty,
    /// Something has changed, and the assignment is not made yet.
    Assigning,
    /// Some member does not have what it is to have.
    Reconciling,
    /// All members have what they are to have.
    Stable,
}

/// A group of the consumer protocol.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    settings: ConsumerSettings,
    /// Goes up with each change of members, subscriptions or topics.
    epoch: i32,
    /// The epoch that `target` was made for.
    target_epoch: i32,
    target: BTreeMap<String, Partitions>,
    members: BTreeMap<String, Member>,
    /// Members by their instance ids.
    instances: BTreeMap<String, String>,
    /// Who has a partition, or is to let go of it.
    holders: BTreeMap<TopicPartition, String>,
    /// The topics that somebody wants, by name.
    wanted: BTreeMap<String, TopicShape>,
    /// What `wanted` is, in short: a new owner knows by it whether topics have changed meanwhile.
    wanted_hash: u64,
    /// The version of the topics that `wanted` was made from.
    topics_version: Option<u64>,
    wake: Option<MonoTime>,
}

impl ConsumerGroup {
    /// A group that nobody has joined yet.
    pub fn new(settings: ConsumerSettings) -> Self {
        Self {
            settings,
            epoch: 0,
            target_epoch: 0,
            target: BTreeMap::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            holders: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_hash: hash_of(&BTreeMap::new()),
            topics_version: None,
            wake: None,
        }
    }

    /// Where the group stands.
    pub fn state(&self) -> ConsumerState {
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch > self.target_epoch {
            ConsumerState::Assigning
        } else if self
            .members
            .values()
            .any(|member| !self.has_arrived(member))
        {
            ConsumerState::Reconciling
        } else {
            ConsumerState::Stable
        }
    }

    fn has_arrived(&self, member: &Member) -> bool {
        member.state == MemberState::Stable && member.epoch == self.target_epoch
    }

    /// The group's epoch.
    pub const fn epoch(&self) -> i32 {
        self.epoch
    }

    /// When [`tick`](Self::tick) wants to be called, if nothing else happens. It may come too early, never too
    /// late.
    pub const fn wake(&self) -> Option<MonoTime> {
        self.wake
    }

    /// Whether a member, or somebody who is none, may commit offsets now.
    ///
    /// A negative epoch is that of one who assigns partitions to itself: the group must have no members then.
    pub fn check_commit(
        &self,
        member_id: &str,
        instance: Option<&str>,
        epoch: i32,
    ) -> Result<(), GroupError> {
        if epoch < 0 && member_id.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        if let Some(holder) = instance.and_then(|instance| self.instances.get(instance))
            && holder != member_id
        {
            return Err(GroupError::FencedInstance);
        }
        let member = self.members.get(member_id);
        let member = member.ok_or(GroupError::UnknownMember)?;
        if epoch != member.epoch {
            return Err(if member.classic.is_some() {
                GroupError::IllegalGeneration
            } else {
                GroupError::StaleEpoch
            });
        }
        Ok(())
    }

    /// Takes out who was silent for a session, and who has not let go in time. Returns whether the group has
    /// changed and is to be stored.
    pub fn tick(&mut self, now: MonoTime) -> bool {
        let is_over = |time: Option<MonoTime>| time.is_some_and(|time| time <= now);
        let members = self.members.iter();
        let over = members
            .filter(|(_, member)| member.session_until <= now || is_over(member.release_until));
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        for id in &over {
            self.remove(id);
        }
        self.set_wake();
        !over.is_empty()
    }

    /// The earliest of all times.
    fn set_wake(&mut self) {
        let members = self.members.values();
        let times = members.flat_map(|member| {
            let release = member.release_until;
            std::iter::once(member.session_until).chain(release)
        });
        self.wake = times.min();
    }

    /// Wants to be called at `time` at the latest.
    fn wake_at(&mut self, time: MonoTime) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    fn next_epoch(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Takes a member out; what it has is free.
    fn remove(&mut self, member_id: &str) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        self.release(member_id, &member);
        self.target.remove(member_id);
        self.next_epoch();
        self.topics_version = None;
    }

    /// Looks again which topics are wanted, if members or topics have changed since; a difference is a new epoch.
    fn look_at_topics(&mut self, topics: &dyn Topics) {
        if self.topics_version == Some(topics.version()) {
            return;
        }
        self.topics_version = Some(topics.version());
        let names: BTreeSet<String> = self
            .members
            .values()
            .flat_map(|member| member.wants(topics))
            .collect();
        let wanted = names.into_iter();
        let wanted: BTreeMap<String, TopicShape> = wanted
            .filter_map(|name| topics.find(&name).map(|shape| (name, shape)))
            .collect();
        let hash = hash_of(&wanted);
        self.wanted = wanted;
        if hash != self.wanted_hash {
            self.wanted_hash = hash;
            self.next_epoch();
        }
    }

    /// Makes the assignment of this epoch.
    fn assign(&mut self, topics: &dyn Topics) {
        let members = self.members.iter().map(|(id, member)| {
            let names = member.wants(topics).into_iter();
            let wanted = Wanted {
                instance: member.instance.as_deref(),
                topics: names
                    .filter_map(|name| self.wanted.get(&name).map(|shape| shape.number))
                    .collect(),
                before: self.target.get(id),
            };
            (id.as_str(), wanted)
        });
        let question = Question {
            members: members.collect(),
            topics: self
                .wanted
                .values()
                .map(|shape| (shape.number, shape.partitions))
                .collect(),
        };
        let target = self.assignor().assign(&question);
        self.target = target;
        self.target_epoch = self.epoch;
    }

    /// The assignor that most members ask for.
    fn assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            let members = self.members.values();
            members
                .filter(|member| member.assignor == Some(assignor))
                .count()
        };
        // Of those with as many votes the last is taken, which is the default.
        let known = Assignor::ALL.into_iter().rev();
        known
            .max_by_key(|assignor| votes(*assignor))
            .unwrap_or_default()
    }
}

/// FNV-1a of topics: the same in every process and version.
fn hash_of(topics: &BTreeMap<String, TopicShape>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, shape) in topics {
        // No name has a zero byte in it.
        add(name.as_bytes());
        add(&[0]);
        add(&shape.number.get().to_be_bytes());
        add(&shape.partitions.to_be_bytes());
    }
    hash
}
