//! The one request of the protocol: a member says that it lives, what it wants and what it has, and hears what it
//! is to have.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_env::MonoTime;

use super::classic::ClassicPart;
use super::member::{Member, MemberState};
use super::{ConsumerGroup, Topics};
use crate::GroupError;
use crate::assign::{Assignor, Partitions};

/// The epoch of a member that joins.
const JOINS: i32 = 0;
/// The epoch of a member that leaves.
const LEAVES: i32 = -1;
/// The epoch of a static member that leaves and will come back.
const GOES_AWAY: i32 = -2;

/// A heartbeat. What is `None` has not changed.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The member.
    pub member_id: String,
    /// 0 to join, -1 to leave, -2 to leave for a while, else the member's epoch.
    pub epoch: i32,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// How long it may take to let go of partitions.
    pub rebalance: Option<Duration>,
    /// The topics that it wants, by name.
    pub topics: Option<Vec<String>>,
    /// The topics that it wants, by a pattern; empty for none.
    pub pattern: Option<String>,
    /// The assignor that it likes.
    pub assignor: Option<Assignor>,
    /// What it has.
    pub owned: Option<Partitions>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// The member.
    pub member_id: String,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When to say that it lives again.
    pub heartbeat: Duration,
    /// What it may have from now on; `None` if it is what it was.
    pub assignment: Option<Partitions>,
    /// The group has changed in a way that must be durable before this answer is given.
    pub store: bool,
}

impl ConsumerGroup {
    /// Takes a heartbeat. One that is refused changes nothing.
    pub fn heartbeat(
        &mut self,
        beat: &Beat,
        topics: &dyn Topics,
        now: MonoTime,
    ) -> Result<Beaten, GroupError> {
        if beat.epoch == LEAVES || beat.epoch == GOES_AWAY {
            return self.leave(beat, now);
        }
        self.heartbeat_as(beat, None, topics, now)
    }

    /// The same of one that does not leave, and may speak the classic protocol.
    pub(super) fn heartbeat_as(
        &mut self,
        beat: &Beat,
        classic: Option<ClassicPart>,
        topics: &dyn Topics,
        now: MonoTime,
    ) -> Result<Beaten, GroupError> {
        let found = self.find(beat)?;
        let epoch = self.epoch;
        // Who joins by the classic protocol has nothing but what it says.
        let joins = beat.epoch == JOINS || classic.is_some();
        let mut store = self.enter(beat, found, now);
        store |= self.speaks(&beat.member_id, classic);
        let id = &beat.member_id;
        store |= self.subscribe(beat);
        self.look_at_topics(topics);
        if self.epoch != epoch {
            // However much a heartbeat changes, it is one change.
            self.epoch = epoch.saturating_add(1);
            store = true;
        }
        if self.epoch > self.target_epoch {
            self.assign(topics);
            store = true;
        }
        let progress = self.reconcile(id, beat.owned.as_ref(), joins, now);
        store |= progress.changed;
        let member = self.members.get_mut(id).ok_or(GroupError::UnknownMember)?;
        let session = member.session(self.settings.session);
        member.session_until = now + session;
        let is_full = beat.rebalance.is_some()
            && (beat.topics.is_some() || beat.pattern.is_some())
            && beat.owned.is_some();
        let is_told = beat.epoch == JOINS || is_full || progress.reassigned;
        let beaten = Beaten {
            member_id: id.clone(),
            epoch: member.epoch,
            heartbeat: self.settings.heartbeat,
            assignment: is_told.then(|| member.assigned.clone()),
            store,
        };
        self.wake_at(now + session);
        Ok(beaten)
    }

    /// Whose place the member takes: its own, nobody's, or that of the static member before.
    fn find(&self, beat: &Beat) -> Result<Place, GroupError> {
        let holder = beat.instance.as_ref().and_then(|id| self.instances.get(id));
        if let Some(holder) = holder.filter(|holder| **holder != beat.member_id) {
            if beat.epoch != JOINS {
                return Err(GroupError::FencedInstance);
            }
            let member = self.members.get(holder);
            if member.is_some_and(|member| !member.is_away) {
                return Err(GroupError::UnreleasedInstance);
            }
            return Ok(Place::Of(holder.clone()));
        }
        let Some(member) = self.members.get(&beat.member_id) else {
            if beat.epoch != JOINS {
                return Err(GroupError::UnknownMember);
            }
            if self.members.len() >= self.settings.members_max {
                return Err(GroupError::GroupFull);
            }
            return Ok(Place::New);
        };
        if beat.epoch != JOINS && !is_epoch_of(member, beat) {
            return Err(GroupError::FencedEpoch);
        }
        // Else whoever has the instance id could not be told from who comes back.
        if beat.epoch == JOINS && beat.instance != member.instance {
            return Err(GroupError::InstanceChanged);
        }
        Ok(Place::Own)
    }

    /// Puts the member in its place. Returns whether that is to be stored.
    fn enter(&mut self, beat: &Beat, place: Place, now: MonoTime) -> bool {
        let id = beat.member_id.clone();
        match place {
            Place::Own => {
                let member = self.members.get_mut(&id);
                return member.is_some_and(|member| std::mem::take(&mut member.is_away));
            }
            Place::New => {
                self.members
                    .insert(id.clone(), new_member(beat, now + self.settings.session));
                self.next_epoch();
                self.topics_version = None;
            }
            // What the one before was to have is the new one's; what it held is free.
            Place::Of(before) => {
                let mut member = new_member(beat, now + self.settings.session);
                if let Some(known) = self.members.remove(&before) {
                    self.release(&before, &known);
                    member.topics = known.topics;
                    member.pattern = known.pattern;
                    member.assignor = known.assignor;
                    member.rebalance = known.rebalance;
                    member.rack = known.rack;
                }
                if let Some(target) = self.target.remove(&before) {
                    self.target.insert(id.clone(), target);
                }
                self.members.insert(id.clone(), member);
            }
        }
        if let Some(instance) = &beat.instance {
            self.instances.insert(instance.clone(), id);
        }
        true
    }

    /// Takes note of which protocol the member speaks now. Returns whether that is to be stored.
    fn speaks(&mut self, member_id: &str, classic: Option<ClassicPart>) -> bool {
        let Some(member) = self.members.get_mut(member_id) else {
            return false;
        };
        let is_other = member.classic != classic;
        member.classic = classic;
        is_other
    }

    /// Takes over what the member wants. Returns whether it is something else than before.
    fn subscribe(&mut self, beat: &Beat) -> bool {
        let Some(member) = self.members.get_mut(&beat.member_id) else {
            return false;
        };
        let mut changed = false;
        let mut set = |differs: bool| changed |= differs;
        if let Some(rebalance) = beat.rebalance {
            member.rebalance = rebalance;
        }
        member.client_id.clone_from(&beat.client_id);
        member.client_host.clone_from(&beat.client_host);
        if beat.rack.is_some() && beat.rack != member.rack {
            member.rack.clone_from(&beat.rack);
            set(true);
        }
        if let Some(topics) = &beat.topics {
            let topics: BTreeSet<String> = topics.iter().cloned().collect();
            set(topics != member.topics);
            member.topics = topics;
        }
        if let Some(pattern) = &beat.pattern {
            let pattern = Some(pattern.clone()).filter(|pattern| !pattern.is_empty());
            set(pattern != member.pattern);
            member.pattern = pattern;
        }
        if beat.assignor.is_some() && beat.assignor != member.assignor {
            member.assignor = beat.assignor;
            set(true);
        }
        if changed {
            self.next_epoch();
            self.topics_version = None;
        }
        changed
    }

    /// A member leaves, or goes away for a while.
    fn leave(&mut self, beat: &Beat, now: MonoTime) -> Result<Beaten, GroupError> {
        let id = match &beat.instance {
            Some(instance) => {
                let holder = self.instances.get(instance);
                let holder = holder.ok_or(GroupError::UnknownMember)?;
                if *holder != beat.member_id {
                    return Err(GroupError::FencedInstance);
                }
                holder.clone()
            }
            None => beat.member_id.clone(),
        };
        let session = self.settings.session;
        let member = self.members.get_mut(&id).ok_or(GroupError::UnknownMember)?;
        if beat.epoch == GOES_AWAY && beat.instance.is_some() {
            member.is_away = true;
            member.release_until = None;
            member.session_until = now + session;
        } else {
            self.remove(&id);
        }
        self.set_wake();
        Ok(Beaten {
            member_id: id,
            epoch: beat.epoch,
            heartbeat: self.settings.heartbeat,
            assignment: None,
            store: true,
        })
    }
}

/// Whose place a member takes.
enum Place {
    Own,
    New,
    Of(String),
}

/// Whether a member speaks of the epoch that it has, or of the one before because it has not heard of the next.
fn is_epoch_of(member: &Member, beat: &Beat) -> bool {
    let owned = beat.owned.as_ref();
    beat.epoch == member.epoch
        || (beat.epoch == member.previous_epoch
            && owned.is_some_and(|owned| owned.is_subset(&member.assigned)))
}

fn new_member(beat: &Beat, session_until: MonoTime) -> Member {
    Member {
        instance: beat.instance.clone(),
        rack: beat.rack.clone(),
        client_id: beat.client_id.clone(),
        client_host: beat.client_host.clone(),
        rebalance: beat.rebalance.unwrap_or_default(),
        topics: BTreeSet::new(),
        pattern: None,
        assignor: None,
        epoch: 0,
        previous_epoch: 0,
        state: MemberState::Stable,
        assigned: Partitions::new(),
        revoking: Partitions::new(),
        is_away: false,
        session_until,
        release_until: None,
        classic: None,
    }
}
