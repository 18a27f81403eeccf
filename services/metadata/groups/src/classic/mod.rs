//! Groups of Kafka's classic protocol: members join, one of them assigns, all hear of it.
//!
//! ```text
//!            join                  all have joined, or time is up
//!   Empty ---------> Preparing ----------------------------------> Completing
//!     ^                 ^  ^                                            |
//!     | the last one    |  | join, leave, or death of a member          | the leader's
//!     | has gone        |  +--------------------------------------------+ assignment
//!     +-----------------+                                               v
//!                       +-------------------------------------------- Stable
//!                              join, leave, or death of a member
//! ```
//!
//! The rules are those of Kafka's group coordinator: its protocol guide, KIP-62 (rebalance timeout), KIP-134
//! (initial delay), KIP-345 (static members), KIP-394 (member ids come first), KIP-559 (protocol names in
//! answers), KIP-800 (reasons) and KIP-814 (a static leader need not assign again).

mod join;
mod leave;
mod member;
mod moves;
mod rebalance;
mod stored;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;

pub use self::join::{Join, Joined, JoinedMember};
pub use self::leave::Leaver;
use self::member::Member;
pub use self::member::Protocol;
pub use self::moves::CONSUMER_TYPE;
pub use self::stored::{StoredGroup, StoredMember};
pub use self::sync::{Sync, Synced};
use crate::{Effects, GroupError};

/// Limits of groups.
#[derive(Clone, Copy, Debug)]
pub struct ClassicSettings {
    /// The shortest session that a member may ask for.
    pub session_min: Duration,
    /// The longest session that a member may ask for.
    pub session_max: Duration,
    /// How long the first generation of a group waits for more members.
    pub initial_delay: Duration,
    /// Members of a group, at most.
    pub members_max: usize,
}

impl Default for ClassicSettings {
    /// As in Kafka, but for the initial delay, which makes each first consumer wait.
    fn default() -> Self {
        Self {
            session_min: Duration::from_secs(6),
            session_max: Duration::from_mins(30),
            initial_delay: Duration::from_millis(300),
            members_max: 10_000,
        }
    }
}

/// Where a group stands, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClassicState {
    /// No members; there may be offsets.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// All have their assignment.
    Stable,
}

/// The state with what only it has.
#[derive(Clone, Debug)]
enum State {
    Empty,
    Preparing(Preparing),
    Completing,
    Stable,
}

/// Members are waited for.
#[derive(Clone, Copy, Debug)]
struct Preparing {
    /// Until then.
    until: MonoTime,
    /// The group had no members before: how long it may still be put off, if one more has come meanwhile.
    initial: Option<Initial>,
}

#[derive(Clone, Copy, Debug)]
struct Initial {
    remaining: Duration,
    one_more: bool,
}

/// A group of the classic protocol.
#[derive(Clone, Debug)]
pub struct ClassicGroup {
    settings: ClassicSettings,
    state: State,
    generation: i32,
    /// Such as `consumer` or `connect`; none before the first member.
    protocol_type: Option<String>,
    /// The protocol that was chosen for this generation.
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Members by their instance ids.
    instances: BTreeMap<String, String>,
    /// Member ids that were given out and have not joined yet, and how long they are waited for.
    pending: BTreeMap<String, MonoTime>,
    /// Members that have to ask for their assignment, and until when.
    unsynced: Option<(MonoTime, BTreeSet<String>)>,
    /// Its members come from a group of the consumer protocol and have not joined yet.
    is_provisional: bool,
    /// The epochs that they had there, which they take for their generation until there is one.
    epochs: BTreeMap<String, i32>,
    wake: Option<MonoTime>,
}

impl ClassicGroup {
    /// A group that nobody has joined yet.
    pub const fn new(settings: ClassicSettings) -> Self {
        Self {
            settings,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: None,
            is_provisional: false,
            epochs: BTreeMap::new(),
            wake: None,
        }
    }

    /// Where the group stands.
    pub const fn state(&self) -> ClassicState {
        match self.state {
            State::Empty => ClassicState::Empty,
            State::Preparing(_) => ClassicState::PreparingRebalance,
            State::Completing => ClassicState::CompletingRebalance,
            State::Stable => ClassicState::Stable,
        }
    }

    /// The generation; it goes up with each rebalance.
    pub const fn generation(&self) -> i32 {
        self.generation
    }

    /// When [`tick`](Self::tick) wants to be called, if nothing else happens. It may come too early, never too
    /// late.
    pub const fn wake(&self) -> Option<MonoTime> {
        self.wake
    }

    /// Whether nothing would be lost if the group were forgotten: no members, and nobody who is about to join.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Empty) && self.pending.is_empty()
    }

    /// Whether a member may do what only members of this generation may.
    fn check(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        self.check_member(member_id, instance)?;
        if generation != self.generation && self.epochs.get(member_id) != Some(&generation) {
            return Err(GroupError::IllegalGeneration);
        }
        Ok(())
    }

    /// Whether there is such a member, and it is the one that has its instance id now.
    fn check_member(&self, member_id: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(holder) if holder != member_id => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if !self.members.contains_key(member_id) {
            return Err(GroupError::UnknownMember);
        }
        Ok(())
    }

    /// Whether a member, or somebody who is none, may commit offsets now; a member has shown that it lives.
    ///
    /// A negative generation is that of one who assigns partitions to itself: the group must have no members then.
    pub fn check_commit(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now: MonoTime,
    ) -> Result<(), GroupError> {
        if generation < 0 && member_id.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        self.check(member_id, instance, generation)?;
        match self.state {
            State::Empty => Err(GroupError::UnknownMember),
            // The offsets would be those of the generation before.
            State::Completing => Err(GroupError::RebalanceInProgress),
            State::Preparing(_) | State::Stable => {
                self.renew(member_id, now);
                Ok(())
            }
        }
    }

    /// The same for offsets that wait for the end of a transaction. They are the producer's, who may not know whose
    /// member it works for, and they stand between two generations too: whoever reads next waits for them.
    pub fn check_pending(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if generation < 0 && member_id.is_empty() && instance.is_none() {
            return Ok(());
        }
        self.check(member_id, instance, generation)
    }

    /// A member says that it lives. It hears when it has to join again.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now: MonoTime,
    ) -> Result<(), GroupError> {
        self.check(member_id, instance, generation)?;
        self.renew(member_id, now);
        match self.state {
            State::Empty => Err(GroupError::UnknownMember),
            State::Preparing(_) => Err(GroupError::RebalanceInProgress),
            State::Completing | State::Stable => Ok(()),
        }
    }

    /// Starts a member's session anew.
    fn renew(&mut self, member_id: &str, now: MonoTime) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_until = now + member.session;
            let until = member.session_until;
            self.wake_at(until);
        }
    }

    /// Wants to be called at `time` at the latest.
    fn wake_at(&mut self, time: MonoTime) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    /// Looks at all times there are: who has been silent for too long, and whether a phase has lasted long
    /// enough. Doing it too early does nothing.
    pub fn tick(&mut self, now: MonoTime) -> Effects {
        let mut effects = Effects::default();
        self.pending.retain(|_, until| *until > now);
        self.end_sessions(now, &mut effects);
        self.end_waiting_for_sync(now, &mut effects);
        self.end_preparing(now, &mut effects);
        self.try_complete_join(now, &mut effects);
        self.set_wake();
        effects
    }

    /// The earliest of all times.
    fn set_wake(&mut self) {
        let sessions = self.members.values();
        let sessions = sessions.filter(|member| !member.waits());
        let phase = match self.state {
            State::Preparing(preparing) => Some(preparing.until),
            State::Empty | State::Completing | State::Stable => None,
        };
        self.wake = sessions
            .map(|member| member.session_until)
            .chain(self.pending.values().copied())
            .chain(self.unsynced.as_ref().map(|(until, _)| *until))
            .chain(phase)
            .min();
    }

    /// The longest time that a member wants to have for joining again.
    fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance);
        timeouts.max().unwrap_or_default()
    }

    /// What a member has to do, as the leader has said.
    fn assignment(&self, member_id: &str) -> Bytes {
        let member = self.members.get(member_id);
        member.map_or_else(Bytes::new, |member| member.assignment.clone())
    }
}
