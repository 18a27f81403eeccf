//! Groups that nobody asks for: those whose members may have died with the owner before, and those whose offsets have
//! expired. Also deletion, which has to find a group's offsets too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tidelog_metadata_api::{GroupName, GroupsError};
use tidelog_store::{ScanOptions, Store};
use tidelog_types::Timestamp;

use super::actor::{Actor, Done, Slot};
use super::ask::{Ask, Asked, Reply};
use super::errors::{of_row, of_store};
use super::group::Group;
use super::machine::Machine;
use super::rows::{About, Place};
use super::transactions::ENDED_KEPT;
use crate::driver::{SWEEP_PAGE, SWEEP_RETRY};
use crate::keyspace::{GroupOffsetRow, GroupRow, Keyspace, RowError};

/// Offsets that are looked at together.
const OFFSETS_MAX: usize = 50_000;

/// A page of groups.
pub(super) type Page = (Vec<(GroupName, GroupRow)>, bool);
/// What a look at some groups has come to.
#[derive(Debug)]
pub(super) struct Swept(Result<Page, GroupsError>);

/// Why the offsets of a group were looked for.
#[derive(Debug)]
enum Purpose {
    Expire,
    Delete(Reply<()>),
}

/// The offsets of a group, as they were found.
#[derive(Debug)]
pub(super) struct Found {
    name: GroupName,
    instance: u64,
    changes: u64,
    purpose: Purpose,
    rows: Result<Offsets, GroupsError>,
}

/// Keys of offsets and when each was committed, and whether these are all.
type Offsets = (Vec<(Bytes, Timestamp)>, bool);

impl Actor {
    /// Looks at all groups of the shard, some at a time.
    pub(super) fn begin_sweep(&mut self) {
        self.sweep.begin();
        self.go_on_sweeping();
    }

    /// Reads the next groups, unless enough are being read.
    pub(super) fn go_on_sweeping(&mut self) {
        let Some(rest) = self.sweep.read_on(self.loading) else {
            return;
        };
        let store = Arc::clone(&self.parts.store);
        let (keys, shard) = (self.parts.keys, self.shard);
        let reading = async move {
            let range = keys.groups_after(shard, rest.after());
            let page = read_heads(store.as_ref(), range, SWEEP_PAGE);
            Done::Swept(Swept(page.await))
        };
        self.jobs.push(reading.boxed());
    }

    pub(super) fn swept(&mut self, swept: Swept) {
        let now = self.parts.env.clock.now();
        let (heads, more) = match swept.0 {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(
                    shard = self.shard.get(),
                    error = &error as &dyn std::error::Error,
                    "groups could not be looked through"
                );
                self.sweep.has_failed(now);
                return;
            }
        };
        let last = heads.last().filter(|_| more);
        self.sweep.has_read(last.map(|(name, _)| name.clone()));
        for (name, row) in heads {
            self.look_at(name, &row);
        }
        self.go_on_sweeping();
        self.sweep.end(now, self.parts.settings.sweep_interval);
    }

    /// Decides what a group needs by its row.
    fn look_at(&mut self, name: GroupName, row: &GroupRow) {
        let is_here = self.groups.contains_key(&name);
        if row.members > 0 {
            // Its members may be gone: only somebody who waits for them finds out.
            if row.has_transactions {
                self.ask_to_expire(name, is_here);
            } else if !is_here && !self.begin_load(name, Vec::new()) {
                self.note_retry();
            }
            return;
        }
        let wall = self.parts.env.clock.wall();
        let keep = self.kept(row.has_offsets, row.has_transactions);
        let due = until(row.empty_since, keep, wall);
        if due.is_zero() {
            self.ask_to_expire(name, is_here);
        } else {
            self.note_due(due);
        }
    }

    fn ask_to_expire(&mut self, name: GroupName, is_here: bool) {
        let ask = Ask::Expire(name.clone());
        let asked = Asked { ask, hold: None };
        if is_here {
            self.asked(asked);
        } else if !self.begin_load(name, vec![asked]) {
            self.note_retry();
        }
    }

    /// How long a group without members is kept before it is looked at.
    fn kept(&self, has_offsets: bool, has_transactions: bool) -> Duration {
        let settings = &self.parts.settings;
        if has_offsets {
            settings.offsets_retention
        } else if has_transactions {
            ENDED_KEPT
        } else {
            settings.sweep_interval
        }
    }

    /// Something was not to be had: there may be memory for it later, or a store that answers.
    pub(super) fn note_retry(&mut self) {
        self.note_due(SWEEP_RETRY);
    }

    fn note_due(&mut self, due: Duration) {
        let now = self.parts.env.clock.now();
        let interval = self.parts.settings.sweep_interval;
        self.sweep.note(now, due, interval);
    }

    /// Takes note of when the offsets of a group without members expire, and what is known of transactions.
    pub(super) fn note_expiry(&mut self, group: &Group, wall: Timestamp) {
        if let Some(oldest) = group.transactions.oldest() {
            self.note_due(until(oldest, ENDED_KEPT, wall));
        }
        if group.mirror.exists() && !group.machine.has_members() {
            let keep = self.kept(group.about.has_offsets, group.about.has_transactions);
            let due = until(group.about.empty_since, keep, wall);
            self.note_due(due);
        }
    }

    // ----- offsets of one group -------------------------------------------------------------------

    pub(super) fn begin_expiry(&mut self, group: &mut Group) {
        let wall = self.parts.env.clock.wall();
        let rows = group.transactions.expire(&group.place, wall);
        group.put_rows(rows);
        if group.about.has_transactions && group.transactions.is_empty() {
            group.about.has_transactions = false;
            group.store_about();
        }
        if group.mirror.exists() && group.machine.is_idle() && !group.is_writing() {
            self.find_offsets(group, Purpose::Expire);
        }
    }

    pub(super) fn begin_delete(&mut self, group: &mut Group, reply: Reply<()>) {
        if !group.exists() {
            group.answer(reply, Err(GroupsError::GroupNotFound));
        } else if group.machine.is_idle() {
            self.find_offsets(group, Purpose::Delete(reply));
        } else {
            group.answer(reply, Err(GroupsError::NotEmpty));
        }
    }

    fn find_offsets(&mut self, group: &Group, purpose: Purpose) {
        let store = Arc::clone(&self.parts.store);
        let place = group.place.clone();
        let (instance, changes) = (group.instance, group.changes);
        let finding = async move {
            // Nothing of the group is on its way, so that what is there is all.
            let rows = read_offsets(store.as_ref(), &place).await;
            Done::Found(Box::new(Found {
                name: place.name,
                instance,
                changes,
                purpose,
                rows,
            }))
        };
        self.jobs.push(finding.boxed());
    }

    pub(super) fn found(&mut self, found: Found) {
        let Found {
            name,
            instance,
            changes,
            purpose,
            rows,
        } = found;
        let slot = self.groups.remove(&name);
        let mut group = match slot {
            Some(Slot::Here(group)) if group.instance == instance => group,
            other => {
                self.groups.extend(other.map(|slot| (name, slot)));
                refuse(purpose, changed());
                return;
            }
        };
        let has_moved = group.changes != changes || !group.machine.is_idle();
        match rows {
            Err(error) => refuse(purpose, error),
            Ok(_) if has_moved => refuse(purpose, changed()),
            Ok((rows, is_all)) => match purpose {
                Purpose::Expire => self.expire(&mut group, rows, is_all),
                Purpose::Delete(reply) => self.delete(&mut group, rows, is_all, reply),
            },
        }
        self.end_turn(group);
    }

    fn expire(&mut self, group: &mut Group, rows: Vec<(Bytes, Timestamp)>, is_all: bool) {
        let wall = self.parts.env.clock.wall();
        let had_members = group.machine.had_members();
        let retention = self.parts.settings.offsets_retention;
        let mut first = None::<Duration>;
        let mut expired = Vec::new();
        for (key, committed_at) in rows {
            let at = Keyspace::offset_partition(&key);
            if at.is_some_and(|at| group.transactions.waits(at)) {
                continue;
            }
            let since = if had_members {
                committed_at.max(group.about.empty_since)
            } else {
                committed_at
            };
            let due = until(since, retention, wall);
            if due.is_zero() {
                expired.push((key, None));
            } else {
                first = Some(first.map_or(due, |first| first.min(due)));
            }
        }
        let count = expired.len();
        let metric = &self.parts.metrics.offsets_expired;
        metric.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        group.put_rows(expired);
        match first {
            Some(due) => self.note_due(due),
            None if is_all && !group.transactions.has_open() => self.remove(group),
            None => self.note_due(Duration::ZERO),
        }
        tracing::info!(
            shard = self.shard.get(),
            group = group.place.name.as_str(),
            offsets = count,
            "offsets of a group have expired"
        );
    }

    fn delete(
        &mut self,
        group: &mut Group,
        rows: Vec<(Bytes, Timestamp)>,
        is_all: bool,
        reply: Reply<()>,
    ) {
        group.changes += 1;
        group.put_rows(rows.into_iter().map(|(key, _)| (key, None)).collect());
        if is_all {
            let waited = group.transactions.drop_pending(&group.place);
            group.put_rows(waited);
            self.remove(group);
            group.answer(reply, Ok(()));
        } else {
            let reason = "the group has many offsets, of which some are deleted".to_owned();
            group.answer(reply, Err(GroupsError::Unavailable { reason }));
        }
    }

    /// Deletes the group itself. What is known of transactions stays for its time: something of them may come too
    /// late, and must not wait for an end that nobody will tell of.
    fn remove(&self, group: &mut Group) {
        let mut rows = group.mirror.delete(&group.place);
        group.machine = Machine::new(&self.parts.settings);
        group.about = About {
            has_transactions: !group.transactions.is_empty(),
            ..About::new(self.parts.env.clock.wall())
        };
        if group.about.has_transactions {
            rows.pop();
            group.store_about();
        }
        group.put_rows(rows);
    }
}

fn changed() -> GroupsError {
    GroupsError::Unavailable {
        reason: "the group has changed meanwhile".to_owned(),
    }
}

fn refuse(purpose: Purpose, error: GroupsError) {
    if let Purpose::Delete(reply) = purpose {
        // Who does not wait any more does not matter.
        drop(reply.send(Err(error)));
    }
}

/// How long it is until something that is kept for a time from a moment on goes.
fn until(since: Timestamp, keep: Duration, now: Timestamp) -> Duration {
    let age = now.as_millis().saturating_sub(since.as_millis());
    let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
    keep.saturating_sub(age)
}

/// Reads groups of a shard, and whether there may be more.
pub(super) async fn read_heads(
    store: &dyn Store,
    range: tidelog_store::KeyRange,
    count: usize,
) -> Result<Page, GroupsError> {
    let mut transaction = store.begin().await.map_err(of_store)?;
    let options = ScanOptions::limit(count).snapshot();
    let page = transaction.scan(range, options).await.map_err(of_store)?;
    let heads = page.rows.into_iter().map(|(key, value)| {
        let name = Keyspace::group_name(&key).ok_or(RowError {
            kind: "group",
            what: "its key has no name",
        });
        Ok((
            name.map_err(of_row)?,
            GroupRow::decode(value).map_err(of_row)?,
        ))
    });
    let heads: Result<_, GroupsError> = heads.collect();
    Ok((heads?, page.more))
}

async fn read_offsets(store: &dyn Store, place: &Place) -> Result<Offsets, GroupsError> {
    let mut rows = Vec::new();
    let mut rest = Some(place.keys.group_offsets(place.shard, &place.name));
    while let Some(range) = rest.take() {
        if rows.len() >= OFFSETS_MAX {
            return Ok((rows, false));
        }
        // Each page in a transaction of its own, so that none grows old.
        let mut transaction = store.begin().await.map_err(of_store)?;
        let options = ScanOptions::default().snapshot();
        let page = transaction.scan(range.clone(), options).await;
        let page = page.map_err(of_store)?;
        rest = page.next(&range, options.direction);
        for (key, value) in page.rows {
            let row = GroupOffsetRow::decode(value).map_err(of_row)?;
            rows.push((key, row.0.committed_at));
        }
    }
    Ok((rows, true))
}
