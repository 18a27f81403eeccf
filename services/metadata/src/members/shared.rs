//! Members of a cluster whose metadata processes share a store: they are rows, which each of these
//! processes reads with its beat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::{BackoffPolicy, CancellationToken, Env, clock::timeout};
use tidelog_metadata_api::{
    ClusterError, ClusterView, Member, MemberState, Membership, ShardOwner,
};
use tidelog_store::{ReadMode, Store, TransactError, Transaction, transact};
use tidelog_types::MemberId;
use tokio::sync::{Notify, oneshot, watch};

use super::sweep::{Gone, Roster};
use super::writers::Writers;
use super::{check, cluster_error, damaged};
use crate::catalogue::RETRY;
use crate::generation::Generation;
use crate::keyspace::{FloorRow, Keyspace, MemberRow};
use crate::ownership::ClusterSettings;

/// Waits while the store does not take note that a member has gone.
const PATIENCE: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(200), Duration::from_secs(5), u32::MAX);

/// What members are kept with.
#[derive(Debug)]
pub(crate) struct SharedParts {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keyspace,
    pub(crate) generation: Generation,
    pub(crate) settings: ClusterSettings,
}

/// The members of the cluster as this process sees and keeps them.
#[derive(Debug)]
pub(crate) struct SharedMembers {
    parts: SharedParts,
    writers: Writers,
    me: MemberId,
    session: u64,
    own: Mutex<Member>,
    /// Counts joins of this process, so that an earlier end is not taken for a later one's.
    own_joins: AtomicU64,
    view: watch::Sender<Arc<ClusterView>>,
    roster: watch::Sender<Arc<Roster>>,
    poke: Notify,
    leaving: CancellationToken,
    left: CancellationToken,
}

impl SharedMembers {
    /// Begins with a view of nobody.
    pub(crate) fn new(
        parts: SharedParts,
        mut member: Member,
        writers: Writers,
        view: ClusterView,
    ) -> Arc<Self> {
        member.joined_at = parts.env.clock.wall();
        Arc::new(Self {
            me: member.id,
            session: parts.env.rng.next_u64(),
            own: Mutex::new(member),
            own_joins: AtomicU64::new(0),
            parts,
            writers,
            view: watch::Sender::new(Arc::new(view)),
            roster: watch::Sender::default(),
            poke: Notify::new(),
            leaving: CancellationToken::new(),
            left: CancellationToken::new(),
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.subscribe()
    }

    pub(crate) fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    // ----- for the task that shares the shards ----------------------------------------------------

    pub(crate) const fn me(&self) -> MemberId {
        self.me
    }

    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    /// What the own row says, but for the state.
    pub(crate) fn own(&self) -> Member {
        self.own.lock().clone()
    }

    /// Ends when there is something to look at.
    pub(crate) async fn poked(&self) {
        self.poke.notified().await;
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Cancelled by the task when this process has left.
    pub(crate) fn has_left(&self) -> CancellationToken {
        self.left.clone()
    }

    /// Shows what a look has seen.
    pub(crate) fn show(
        &self,
        rows: &BTreeMap<MemberId, MemberRow>,
        shards: Vec<ShardOwner>,
        is_alive: impl Fn(MemberId) -> bool,
    ) {
        if let Some(row) = rows.get(&self.me) {
            self.own.lock().state = row.member.state;
        }
        // One whose keeper has gone has time to find another before its row goes.
        let living = rows
            .values()
            .filter(|row| !row.has_beat() || is_alive(row.member.id));
        let members: Vec<_> = living.map(|row| row.member.clone()).collect();
        self.view.send_if_modified(|view| {
            let changes = view.members != members || view.shards != shards;
            if changes {
                let view = Arc::make_mut(view);
                view.members = members;
                view.shards = shards;
            }
            changes
        });
        let is_kept = |row: &&MemberRow| rows.contains_key(&row.via) && is_alive(row.via);
        let gone = rows.values().filter(|row| !is_kept(row));
        let gone = gone.map(|row| (row.member.id, Gone::of(row, rows.get(&row.via))));
        let roster = Roster {
            writers: rows
                .values()
                .flat_map(|row| row.member.writers())
                .collect::<BTreeSet<_>>(),
            gone: gone.collect(),
            registered: 0,
        };
        self.roster.send_if_modified(|before| {
            let changes = **before != roster;
            if changes {
                *before = Arc::new(roster);
            }
            changes
        });
    }

    /// Deletes the own row, as the last thing. Others find out anyway, later.
    pub(crate) async fn delete_own(&self) {
        if let Err(error) = self.delete(self.me, self.session, false).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "this process could not be taken off the list of members"
            );
        }
    }

    // ----- for callers ----------------------------------------------------------------------------

    /// Gives all shards to others and leaves.
    pub(crate) async fn leave(&self) {
        self.leaving.cancel();
        self.poke.notify_one();
        let wait = self.parts.settings.leave_wait * 2;
        let left = timeout(self.parts.env.clock.as_ref(), wait, self.left.cancelled()).await;
        if left.is_err() {
            tracing::warn!("others may wait for the shards of this process, which ends now");
        }
    }

    pub(crate) async fn join(self: &Arc<Self>, member: Member) -> Result<Membership, ClusterError> {
        check(&member)?;
        if self.is_leaving() {
            return Err(ClusterError::Unavailable {
                reason: "this process leaves the cluster".to_owned(),
            });
        }
        let id = member.id;
        tracing::info!(member = %id, name = member.name, roles = %member.roles, "member joins");
        let session = if id == self.me {
            let mut own = self.own.lock();
            *own = Member {
                state: own.state,
                joined_at: own.joined_at,
                ..member
            };
            // Its row has another, which is that of the run.
            self.own_joins.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            let session = self.parts.env.rng.next_u64();
            self.put(member, session).await?;
            session
        };
        self.poke.notify_one();
        let (membership, ended) = Membership::new();
        let kept = Arc::clone(self).keep(id, session, ended);
        drop(self.parts.env.supervisor.spawn("member", kept));
        Ok(membership)
    }

    /// Writes the row of a member that this process keeps. A second time does no harm, so that an unknown
    /// outcome is tried again.
    async fn put(&self, member: Member, session: u64) -> Result<(), ClusterError> {
        let now = self.parts.env.clock.wall();
        let key = self.parts.keys.member(member.id);
        self.transact(move |mut transaction| {
            let (key, mut member) = (key.clone(), member.clone());
            async move {
                let before = self.read(transaction.as_mut(), member.id).await?;
                let known = before.map(|row| (row.member.state, row.member.joined_at));
                (member.state, member.joined_at) = known.unwrap_or((member.state, now));
                let row = MemberRow {
                    via: self.me,
                    session,
                    beat: 0,
                    member,
                };
                transaction.put(key, row.encode());
                Ok((transaction, ()))
            }
        })
        .await
    }

    /// Waits for the end of a membership and draws the consequences.
    async fn keep(self: Arc<Self>, id: MemberId, session: u64, ended: oneshot::Receiver<()>) {
        let drained = self.parts.env.supervisor.token();
        let has_left = tokio::select! {
            ended = ended => ended.is_ok(),
            () = drained.cancelled() => return,
        };
        if id == self.me {
            if self.own_joins.load(Ordering::Relaxed) == session {
                self.on_own_end(has_left).await;
            }
            return;
        }
        if !has_left {
            let grace = self.parts.settings.member_grace;
            tracing::info!(member = %id, ?grace, "member was lost");
            tokio::select! {
                () = self.parts.env.clock.sleep(grace) => {}
                () = drained.cancelled() => return,
            }
        }
        tokio::select! {
            () = self.delete_patiently(id, session, has_left) => {}
            () = drained.cancelled() => {}
        }
        self.poke.notify_one();
    }

    /// Deletes the row of a member, again and again while the store is out of reach: nobody else would as long
    /// as this process lives.
    async fn delete_patiently(&self, id: MemberId, session: u64, has_left: bool) {
        let mut backoff = PATIENCE.start();
        loop {
            let error = match self.delete(id, session, has_left).await {
                Ok(is_gone) => {
                    if is_gone {
                        tracing::info!(member = %id, has_left, "member has gone");
                    }
                    return;
                }
                Err(error) => error,
            };
            let may_pass = matches!(error, ClusterError::Unavailable { .. });
            if backoff.retries() == 0 || !may_pass {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(member = %id, error, "member was not taken off the list");
            }
            let wait = backoff.next_wait(self.parts.env.rng.as_ref());
            let has_ended = self.parts.generation.has_ended();
            let Some(wait) = wait.filter(|_| may_pass && !has_ended) else {
                return;
            };
            self.parts.env.clock.sleep(wait).await;
        }
    }

    /// This process stays, though it may write no more.
    async fn on_own_end(&self, has_left: bool) {
        let writers = self.own.lock().take_writers();
        self.poke.notify_one();
        for incarnation in writers.filter(|_| has_left) {
            self.writers.end_patiently(incarnation).await;
        }
    }

    /// Deletes the row of a member unless it has joined again, here or elsewhere; and if it has left for
    /// good, ends its incarnation with that. Returns whether it was there.
    async fn delete(
        &self,
        id: MemberId,
        session: u64,
        has_left: bool,
    ) -> Result<bool, ClusterError> {
        let keys = self.parts.keys;
        self.transact(move |mut transaction| async move {
            let row = self.read(transaction.as_mut(), id).await?;
            let row = row.filter(|row| row.session == session);
            if let Some(row) = &row {
                transaction.delete(keys.member(id));
                for incarnation in row.member.writers().filter(|_| has_left) {
                    transaction.put(keys.floor(incarnation), FloorRow::ENDED.encode());
                }
            }
            Ok((transaction, row.is_some()))
        })
        .await
    }

    /// Deletes a row that nobody keeps any more, if it and that of its keeper are still as they were seen: a
    /// keeper that has beaten since was only slow, whatever this process believes.
    pub(crate) async fn delete_gone(&self, id: MemberId, gone: Gone) -> Result<bool, ClusterError> {
        let keys = self.parts.keys;
        self.transact(move |mut transaction| async move {
            let row = self.read(transaction.as_mut(), id).await?;
            let is_same = match row {
                Some(row) => {
                    let keeper = self.read(transaction.as_mut(), row.via).await?;
                    Gone::of(&row, keeper.as_ref()) == gone
                }
                None => false,
            };
            if is_same {
                transaction.delete(keys.member(id));
            }
            Ok((transaction, is_same))
        })
        .await
    }

    pub(crate) async fn set_draining(
        &self,
        id: MemberId,
        draining: bool,
    ) -> Result<(), ClusterError> {
        let keys = self.parts.keys;
        let state = if draining {
            MemberState::Draining
        } else {
            MemberState::Active
        };
        self.transact(move |mut transaction| async move {
            let row = self.read(transaction.as_mut(), id).await?;
            let unknown = || TransactError::Abort(ClusterError::UnknownMember(id));
            let mut row = row.ok_or_else(unknown)?;
            row.member.state = state;
            transaction.put(keys.member(id), row.encode());
            Ok((transaction, ()))
        })
        .await?;
        tracing::info!(member = %id, draining, "changed whether the member drains");
        self.poke.notify_one();
        Ok(())
    }

    /// Runs a change that may be made twice; an unknown outcome is tried again like a conflict.
    async fn transact<T, F, Fut>(&self, mut body: F) -> Result<T, ClusterError>
    where
        F: FnMut(Box<dyn Transaction>) -> Fut + Send,
        Fut: Future<Output = Result<(Box<dyn Transaction>, T), TransactError<ClusterError>>> + Send,
        T: Send,
    {
        let mut backoff = RETRY.start();
        loop {
            let store = self.parts.store.as_ref();
            let error = match transact(store, &self.parts.env, RETRY, &mut body).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = backoff.next_wait(self.parts.env.rng.as_ref());
            let Some(wait) = wait.filter(|_| error.may_have_happened()) else {
                return Err(cluster_error(error));
            };
            self.parts.env.clock.sleep(wait).await;
        }
    }

    /// A member's row, in a transaction that may change it: a later change of it, or a restore, makes the
    /// transaction conflict.
    async fn read(
        &self,
        transaction: &mut dyn Transaction,
        id: MemberId,
    ) -> Result<Option<MemberRow>, TransactError<ClusterError>> {
        self.parts.generation.check(transaction).await?;
        let key = self.parts.keys.member(id);
        let value = transaction.get(&key, ReadMode::Serializable).await?;
        let row = value.map(|value| MemberRow::decode(id, value));
        row.transpose().map_err(|error| damaged(&error))
    }
}
