//! From one generation to the next.

use std::time::Duration;

use tidelog_env::MonoTime;

use super::{ClassicGroup, Initial, Preparing, State};
use crate::{Effects, GroupError};

/// A group whose members want no time at all to join still waits so long for those that are away.
const WAIT_MIN: Duration = Duration::from_secs(1);

impl ClassicGroup {
    /// Asks all members to join again; does nothing if they have been asked.
    pub(super) fn prepare_rebalance(&mut self, now: MonoTime, effects: &mut Effects) {
        let initial = match self.state {
            State::Preparing(_) => return,
            State::Empty => true,
            State::Completing => {
                for member in self.members.values_mut() {
                    if let Some(ticket) = member.syncing.take() {
                        member.session_until = now + member.session;
                        effects.sync(ticket, Err(GroupError::RebalanceInProgress));
                    }
                }
                false
            }
            State::Stable => false,
        };
        self.unsynced = None;
        let timeout = self.rebalance_timeout();
        let delay = self.settings.initial_delay;
        let preparing = if initial && !delay.is_zero() {
            Preparing {
                until: now + delay,
                initial: Some(Initial {
                    remaining: timeout.saturating_sub(delay),
                    one_more: false,
                }),
            }
        } else {
            Preparing {
                until: now + timeout.max(WAIT_MIN),
                initial: None,
            }
        };
        self.state = State::Preparing(preparing);
        // Those who are silent now have no session to renew while they wait: all times count again.
        self.set_wake();
    }

    /// Goes on when nobody is waited for any more.
    pub(super) fn try_complete_join(&mut self, now: MonoTime, effects: &mut Effects) {
        let State::Preparing(preparing) = self.state else {
            return;
        };
        let mut members = self.members.values();
        let all_here = self.pending.is_empty() && members.all(|member| member.joining.is_some());
        if self.members.is_empty() || (preparing.initial.is_none() && all_here) {
            self.complete_join(now, effects);
        }
    }

    /// Goes on when time is up. A new group is put off as long as more members come.
    pub(super) fn end_preparing(&mut self, now: MonoTime, effects: &mut Effects) {
        let State::Preparing(preparing) = &mut self.state else {
            return;
        };
        if preparing.until > now {
            return;
        }
        if let Some(initial) = &mut preparing.initial
            && initial.one_more
            && !initial.remaining.is_zero()
        {
            let delay = self.settings.initial_delay.min(initial.remaining);
            initial.one_more = false;
            initial.remaining = initial.remaining.saturating_sub(delay);
            preparing.until = now + delay;
            return;
        }
        self.complete_join(now, effects);
    }

    /// Begins the next generation with those who have joined; static members may be late.
    fn complete_join(&mut self, now: MonoTime, effects: &mut Effects) {
        let late = self.members.iter();
        let late = late.filter(|(_, member)| member.joining.is_none() && member.instance.is_none());
        let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.forget(&id, effects);
        }
        if self.members.is_empty() {
            self.become_empty(effects);
            return;
        }
        if !self.elect_leader() {
            // Only static members are left, and none of them is here.
            self.state = State::Preparing(Preparing {
                until: now + self.rebalance_timeout().max(WAIT_MIN),
                initial: None,
            });
            self.set_wake();
            return;
        }
        self.next_generation();
        self.protocol = self.choose_protocol();
        self.state = State::Completing;
        let until = now + self.rebalance_timeout().max(WAIT_MIN);
        self.unsynced = Some((until, self.members.keys().cloned().collect()));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            if let Some(ticket) = member.joining.take() {
                member.session_until = now + member.session;
                effects.join(ticket, Ok(self.joined(&id)));
            }
        }
        self.set_wake();
    }

    /// Whether there is a leader that has joined: the one before if it has, else another.
    fn elect_leader(&mut self) -> bool {
        let is_here = |id: &String| {
            let member = self.members.get(id);
            member.is_some_and(|member| member.joining.is_some())
        };
        if self.leader.as_ref().is_some_and(is_here) {
            return true;
        }
        let Some(next) = self.members.keys().find(|id| is_here(id)).cloned() else {
            return false;
        };
        self.leader = Some(next);
        true
    }

    fn next_generation(&mut self) {
        // A negative generation is that of no member at all.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.epochs.clear();
    }

    /// The last one has gone.
    pub(super) fn become_empty(&mut self, effects: &mut Effects) {
        self.next_generation();
        self.state = State::Empty;
        self.protocol = None;
        self.leader = None;
        self.unsynced = None;
        self.is_provisional = false;
        effects.store = true;
        self.set_wake();
    }
}
