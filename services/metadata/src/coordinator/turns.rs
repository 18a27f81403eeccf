//! What follows from what a group was asked: rows on their way to the store, and answers that wait for them.

use tidelog_metadata_api::GroupName;

use super::actor::{Actor, Slot};
use super::group::Group;

impl Actor {
    /// Sends what a group has to store and answers who can be answered; the group goes back to its place.
    pub(super) fn end_turn(&mut self, mut group: Box<Group>) {
        let wall = self.parts.env.clock.wall();
        let now = self.parts.env.clock.now();
        if group.machine.settle(&self.parts.settings, now) {
            group.store();
        }
        let messages = group.end_turn(wall);
        let write = self.write(&group, messages);
        group.begin_write(write);
        self.note_expiry(&group, wall);
        self.put_back(group);
    }

    /// Takes a group out of its place. One that is being read stays there with those who wait for it.
    pub(super) fn take_here(&mut self, name: &GroupName) -> Option<Box<Group>> {
        match self.groups.remove(name) {
            Some(Slot::Here(group)) => Some(group),
            other => {
                self.groups.extend(other.map(|slot| (name.clone(), slot)));
                None
            }
        }
    }

    pub(super) fn put_back(&mut self, group: Box<Group>) {
        if group.is_idle() && !group.exists() {
            self.forget(&group);
        } else {
            self.keep(group);
        }
    }

    /// Puts a group in its place, and its timer on.
    pub(super) fn keep(&mut self, mut group: Box<Group>) {
        let mut wake = group.machine.wake();
        if group.is_idle() {
            wake = Some(group.last_used + self.parts.settings.idle);
        }
        if group.wake != wake {
            let name = &group.place.name;
            if let Some(before) = group.wake {
                self.wakes.remove(&(before, name.clone()));
            }
            self.wakes.extend(wake.map(|wake| (wake, name.clone())));
            group.wake = wake;
        }
        self.groups
            .insert(group.place.name.clone(), Slot::Here(group));
    }

    /// Forgets all groups that can be read again when they are asked for.
    pub(super) fn evict_idle(&mut self) {
        let idle = self.groups.iter().filter_map(|(name, slot)| match slot {
            Slot::Here(group) if group.is_idle() => Some(name.clone()),
            Slot::Here(_) | Slot::Loading(..) => None,
        });
        let idle: Vec<GroupName> = idle.collect();
        for name in idle {
            if let Some(Slot::Here(group)) = self.groups.remove(&name) {
                self.forget(&group);
            }
        }
    }

    /// Takes note that a group is not here any more.
    pub(super) fn forget(&mut self, group: &Group) {
        if let Some(wake) = group.wake {
            self.wakes.remove(&(wake, group.place.name.clone()));
        }
    }
}
