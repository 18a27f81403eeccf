//! What of a group outlives its owner, and what is shown of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_env::MonoTime;

use super::classic::ClassicPart;
use super::member::{Member, MemberState};
use super::{ConsumerGroup, ConsumerSettings};
use crate::assign::{Assignor, Partitions};

/// What of a group outlives its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredGroup {
    /// The group's epoch.
    pub epoch: i32,
    /// The epoch that the members' targets were made for.
    pub target_epoch: i32,
    /// A hash of the topics that the epoch is about.
    pub topics_hash: u64,
    /// The members, by id.
    pub members: Vec<StoredMember>,
}

/// A member of a [`StoredGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// How long it may take to let go of partitions.
    pub rebalance: Duration,
    /// The topics that it wants, by name.
    pub topics: BTreeSet<String>,
    /// The topics that it wants, by a pattern.
    pub pattern: Option<String>,
    /// The assignor that it likes.
    pub assignor: Option<Assignor>,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch before.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it may read.
    pub assigned: Partitions,
    /// What it has to let go of.
    pub revoking: Partitions,
    /// What it is to have.
    pub target: Partitions,
    /// A static member that has left and may come back.
    pub is_away: bool,
    /// What it has if it speaks the classic protocol.
    pub classic: Option<ClassicPart>,
}

impl ConsumerGroup {
    /// What is to be stored, when an answer says so; and what can be shown at any time.
    pub fn stored(&self) -> StoredGroup {
        let members = self.members.iter().map(|(id, member)| StoredMember {
            member_id: id.clone(),
            instance: member.instance.clone(),
            rack: member.rack.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance: member.rebalance,
            topics: member.topics.clone(),
            pattern: member.pattern.clone(),
            assignor: member.assignor,
            epoch: member.epoch,
            previous_epoch: member.previous_epoch,
            state: member.state,
            assigned: member.assigned.clone(),
            revoking: member.revoking.clone(),
            target: self.target.get(id).cloned().unwrap_or_default(),
            is_away: member.is_away,
            classic: member.classic.clone(),
        });
        StoredGroup {
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            topics_hash: self.wanted_hash,
            members: members.collect(),
        }
    }

    /// The group as a new owner finds it: all members have a whole session to be heard of, and all their time to let
    /// go.
    pub fn restore(settings: ConsumerSettings, stored: StoredGroup, now: MonoTime) -> Self {
        let mut group = Self::new(settings);
        group.epoch = stored.epoch;
        group.target_epoch = stored.target_epoch;
        group.wanted_hash = stored.topics_hash;
        for member in stored.members {
            let id = member.member_id;
            if let Some(instance) = &member.instance {
                group.instances.insert(instance.clone(), id.clone());
            }
            group.target.insert(id.clone(), member.target);
            let is_letting_go = member.state == MemberState::Unrevoked && !member.is_away;
            let restored = Member {
                instance: member.instance,
                rack: member.rack,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance: member.rebalance,
                topics: member.topics,
                pattern: member.pattern,
                assignor: member.assignor,
                epoch: member.epoch,
                previous_epoch: member.previous_epoch,
                state: member.state,
                assigned: member.assigned,
                revoking: member.revoking,
                is_away: member.is_away,
                session_until: now,
                release_until: is_letting_go.then(|| now + member.rebalance),
                classic: member.classic,
            };
            let session_until = now + restored.session(settings.session);
            let restored = Member {
                session_until,
                ..restored
            };
            group.hold(&id, &restored);
            group.members.insert(id, restored);
        }
        group.set_wake();
        group
    }
}
