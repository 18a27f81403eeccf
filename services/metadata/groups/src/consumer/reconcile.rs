//! One member's next step towards what it is to have.

use tidelog_env::MonoTime;

use super::ConsumerGroup;
use super::member::{Member, MemberState};
use crate::assign::Partitions;

/// What a step has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Something that is to be stored.
    pub(super) changed: bool,
    /// What the member may have.
    pub(super) reassigned: bool,
}

impl ConsumerGroup {
    /// Takes the member a step further, as far as what it says it owns allows.
    ///
    /// What a member was told to take and does not say it owns, it may be about to take. So it has let go of
    /// something only if it says so after it was told to, or if it joins with nothing.
    pub(super) fn reconcile(
        &mut self,
        member_id: &str,
        owned: Option<&Partitions>,
        joins: bool,
        now: MonoTime,
    ) -> Progress {
        let Some(mut member) = self.members.remove(member_id) else {
            return Progress::default();
        };
        let next = match member.state {
            MemberState::Stable if member.epoch == self.target_epoch => None,
            MemberState::Stable | MemberState::Unreleased => Some(member.epoch),
            MemberState::Unrevoked if still_owns(owned, &member.revoking) => None,
            // It has let go of all it had to: that is an epoch of its own.
            MemberState::Unrevoked => Some(member.epoch.saturating_add(1).min(self.target_epoch)),
        };
        let mut progress = Progress::default();
        if let Some(epoch) = next {
            let before = member.clone();
            self.step(member_id, &mut member, epoch, owned.filter(|_| joins));
            progress = Progress {
                changed: !member.stands_as(&before),
                reassigned: member.assigned != before.assigned,
            };
            if progress.changed {
                self.release(member_id, &before);
                self.hold(member_id, &member);
            }
        }
        match member.state {
            MemberState::Unrevoked => {
                let until = now + member.rebalance;
                // A second wish to let go does not give the first one more time.
                let until = member
                    .release_until
                    .map_or(until, |earlier| earlier.min(until));
                member.release_until = Some(until);
                self.wake_at(until);
            }
            MemberState::Stable | MemberState::Unreleased => member.release_until = None,
        }
        self.members.insert(member_id.to_owned(), member);
        progress
    }

    /// What the member has from now on, and what it has to let go of.
    fn step(&self, id: &str, member: &mut Member, epoch: i32, owned: Option<&Partitions>) {
        let none = Partitions::new();
        let target = self.target.get(id).unwrap_or(&none);
        let kept: Partitions = member.assigned.intersection(target).copied().collect();
        let revoking: Partitions = member.assigned.difference(target).copied().collect();
        if still_owns(owned, &revoking) {
            member.state = MemberState::Unrevoked;
            member.assigned = kept;
            member.revoking = revoking;
            move_to(member, epoch);
            return;
        }
        let (mut assigned, mut unreleased) = (kept, false);
        for one in target.difference(&member.assigned) {
            // What is its own is what it has been told to let go of just now.
            match self.holders.get(one) {
                Some(holder) if holder != id => unreleased = true,
                Some(_) | None => {
                    assigned.insert(*one);
                }
            }
        }
        member.assigned = assigned;
        member.revoking = Partitions::new();
        member.state = if unreleased {
            MemberState::Unreleased
        } else {
            MemberState::Stable
        };
        move_to(member, self.target_epoch);
    }

    /// Takes note of what a member has now.
    pub(super) fn hold(&mut self, id: &str, member: &Member) {
        for one in member.assigned.iter().chain(&member.revoking) {
            self.holders.insert(*one, id.to_owned());
        }
    }

    /// What a member had is nobody's.
    pub(super) fn release(&mut self, id: &str, member: &Member) {
        for one in member.assigned.iter().chain(&member.revoking) {
            if self.holders.get(one).is_some_and(|holder| holder == id) {
                self.holders.remove(one);
            }
        }
    }
}

/// Whether the member may still read any of these. One that does not say what it has may have all.
fn still_owns(owned: Option<&Partitions>, these: &Partitions) -> bool {
    let is_owned = |one| owned.is_none_or(|owned| owned.contains(one));
    these.iter().any(is_owned)
}

fn move_to(member: &mut Member, epoch: i32) {
    if member.epoch != epoch {
        member.previous_epoch = member.epoch;
        member.epoch = epoch;
    }
}
