//! Members go: they say so, or are not heard of any more.

use tidelog_env::MonoTime;

use super::{ClassicGroup, State};
use crate::{Effects, GroupError};

/// Who leaves.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// The member; may be empty if the instance is named, as an operator does who removes a static member.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
}

impl ClassicGroup {
    /// Members leave; each has its own outcome.
    pub fn leave(
        &mut self,
        leavers: &[Leaver],
        now: MonoTime,
    ) -> (Vec<Result<(), GroupError>>, Effects) {
        let mut effects = Effects::default();
        let outcomes = leavers.iter();
        let outcomes = outcomes.map(|leaver| self.leave_one(leaver, now, &mut effects));
        let outcomes = outcomes.collect();
        self.try_complete_join(now, &mut effects);
        (outcomes, effects)
    }

    fn leave_one(
        &mut self,
        leaver: &Leaver,
        now: MonoTime,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
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
        if self.pending.remove(&id).is_some() {
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(GroupError::UnknownMember);
        }
        self.remove(&id, now, effects);
        Ok(())
    }

    /// Takes a member out and asks the others to join again.
    fn remove(&mut self, member_id: &str, now: MonoTime, effects: &mut Effects) {
        self.forget(member_id, effects);
        match self.state {
            State::Stable | State::Completing => self.prepare_rebalance(now, effects),
            State::Empty | State::Preparing(_) => {}
        }
    }

    /// Takes a member out.
    pub(super) fn forget(&mut self, member_id: &str, effects: &mut Effects) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if let Some((_, unsynced)) = &mut self.unsynced {
            unsynced.remove(member_id);
        }
        if let Some(ticket) = member.joining {
            effects.join(ticket, Err(GroupError::UnknownMember));
        }
        if let Some(ticket) = member.syncing {
            effects.sync(ticket, Err(GroupError::UnknownMember));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Takes out who was not heard of in its session; one who waits for the group has nothing to say.
    pub(super) fn end_sessions(&mut self, now: MonoTime, effects: &mut Effects) {
        let members = self.members.iter();
        let silent = members.filter(|(_, member)| !member.waits() && member.session_until <= now);
        let silent: Vec<String> = silent.map(|(id, _)| id.clone()).collect();
        for id in silent {
            self.remove(&id, now, effects);
        }
    }

    /// Takes out who has joined the generation and has not asked what to do.
    pub(super) fn end_waiting_for_sync(&mut self, now: MonoTime, effects: &mut Effects) {
        if self.unsynced.as_ref().is_none_or(|(until, _)| *until > now) {
            return;
        }
        let unsynced = self.unsynced.take();
        for id in unsynced.into_iter().flat_map(|(_, members)| members) {
            self.remove(&id, now, effects);
        }
    }
}
