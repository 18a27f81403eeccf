//! What others than members ask of a group: an operator who takes members out, what it reads, how large it is.

use std::collections::BTreeSet;

use tidelog_env::MonoTime;

use super::{ConsumerGroup, ConsumerSettings, Topics};
use crate::GroupError;
use crate::classic::Leaver;

/// Bytes of memory of a member beside what it brings along.
const MEMBER_BYTES: usize = 700;
/// Bytes of memory of a partition that somebody has: in the member, the target and the map of holders.
const PARTITION_BYTES: usize = 160;

impl ConsumerGroup {
    /// A group without members that goes on from an epoch, or from a generation of the classic protocol.
    pub fn after(settings: ConsumerSettings, epoch: i32) -> Self {
        Self {
            epoch,
            target_epoch: epoch,
            ..Self::new(settings)
        }
    }

    /// Whether it has members.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// The name of the assignor in use.
    pub fn assignor_name(&self) -> &'static str {
        self.assignor().name()
    }

    /// An operator takes members out, by their ids or their instance ids; each has its own outcome.
    pub fn evict(&mut self, leavers: &[Leaver]) -> Vec<Result<(), GroupError>> {
        let outcomes = leavers.iter().map(|leaver| {
            let id = match &leaver.instance {
                Some(instance) => {
                    let holder = self.instances.get(instance);
                    let holder = holder.ok_or(GroupError::UnknownMember)?;
                    if !leaver.member_id.is_empty() && leaver.member_id != *holder {
                        return Err(GroupError::FencedInstance);
                    }
                    holder.clone()
                }
                None => leaver.member_id.clone(),
            };
            if !self.members.contains_key(&id) {
                return Err(GroupError::UnknownMember);
            }
            self.remove(&id);
            Ok(())
        });
        let outcomes = outcomes.collect();
        self.set_wake();
        outcomes
    }

    /// Whether a member may ask for offsets under this epoch.
    pub fn check_fetch(&self, member_id: &str, epoch: i32) -> Result<(), GroupError> {
        let member = self.members.get(member_id);
        let member = member.ok_or(GroupError::UnknownMember)?;
        if member.epoch == epoch {
            Ok(())
        } else {
            Err(GroupError::StaleEpoch)
        }
    }

    /// The names of the topics that members read.
    pub fn subscribed_topics(&self, topics: &dyn Topics) -> BTreeSet<String> {
        let members = self.members.values();
        members.flat_map(|member| member.wants(topics)).collect()
    }

    /// About how many bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let members = self.members.values().map(|member| {
            let topics = member.topics.iter().map(|topic| topic.len() + 48);
            let protocols = member.classic.iter().flat_map(|part| &part.protocols);
            let protocols = protocols.map(|it| it.name.len() + it.metadata.len() + 64);
            MEMBER_BYTES + topics.sum::<usize>() + protocols.sum::<usize>()
        });
        members.sum::<usize>() + self.holders.len() * PARTITION_BYTES + self.wanted.len() * 100
    }

    /// Nobody could be heard of for a while, and it was not the members' fault: all have a whole session again.
    pub fn forgive(&mut self, now: MonoTime) {
        for member in self.members.values_mut() {
            let session = member.session(self.settings.session);
            member.session_until = member.session_until.max(now + session);
            if let Some(until) = &mut member.release_until {
                *until = (*until).max(now + member.rebalance);
            }
        }
        self.set_wake();
    }
}
