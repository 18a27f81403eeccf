//! Timers of groups: each says when it wants to be looked at.

use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::GroupName;

use super::actor::{Actor, Slot};

/// Timers that are later than this mean that the process was not running: nobody's silence counts.
const LATE: Duration = Duration::from_secs(2);
/// How long timers wait for a store that does not answer.
const TOUCH_WAIT: Duration = Duration::from_secs(1);

impl Actor {
    pub(super) fn next_wake(&self) -> Option<MonoTime> {
        let group = self.wakes.first().map(|(wake, _)| *wake);
        group.into_iter().chain(self.sweep.next()).min()
    }

    /// Time has come for the next group, or for the next sweep.
    pub(super) fn woken(&mut self) {
        let now = self.parts.env.clock.now();
        if self.sweep.next().is_some_and(|next| next <= now) {
            self.begin_sweep();
        }
        let Some((due, _)) = self.wakes.first() else {
            return;
        };
        let due = *due;
        if due > now {
            return;
        }
        let is_lost = self.parts.touch.is_lost();
        if is_lost || self.was_out_of_touch || now - due > LATE {
            // While nobody could be heard, nobody was silent.
            self.was_out_of_touch = is_lost;
            self.forgive(now, is_lost);
        }
        if is_lost {
            return;
        }
        while let Some((due, name)) = self.wakes.first().cloned() {
            if due > now {
                return;
            }
            self.wakes.pop_first();
            self.tick(&name, now);
        }
    }

    fn tick(&mut self, name: &GroupName, now: MonoTime) {
        let Some(mut group) = self.take_here(name) else {
            return;
        };
        group.wake = None;
        if group.is_idle() && group.last_used + self.parts.settings.idle <= now {
            return;
        }
        let effects = group.machine.tick(now);
        group.take(effects);
        self.end_turn(group);
    }

    /// Gives all members a whole session; while the store is out of reach, timers are put off.
    fn forgive(&mut self, now: MonoTime, is_lost: bool) {
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(mut group) = self.take_here(&name) else {
                continue;
            };
            group.machine.forgive(now);
            self.put_back(group);
        }
        if is_lost {
            // A phase of a group may be over meanwhile; it goes on when the store is back.
            let over: Vec<_> = self
                .wakes
                .iter()
                .take_while(|(wake, _)| *wake <= now)
                .cloned()
                .collect();
            for (wake, name) in over {
                if let Some(Slot::Here(group)) = self.groups.get_mut(&name) {
                    self.wakes.remove(&(wake, name.clone()));
                    let later = now + TOUCH_WAIT;
                    group.wake = Some(later);
                    self.wakes.insert((later, name));
                }
            }
        }
    }
}
