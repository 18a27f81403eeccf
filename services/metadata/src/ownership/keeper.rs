//! The task that takes part in the sharing of shards: it beats, looks, takes what it shall have and gives
//! back what others shall have.
//!
//! ```text
//!   look (and beat) --> who lives --> plan --> take in tasks of their own, release, let go
//!        ^                                         |
//!        +-- soon while shards move, else at the next beat, or when something happens
//! ```
//!
//! Safety does not rest on any of it: a look may be old, a process may be slow, two may want one shard.
//! Each transaction of a sequencer proves that it owns its shard (rule C1).

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tidelog_env::MonoTime;
use tidelog_env::clock::timeout;
use tidelog_metadata_api::{MemberState, ShardOwner};
use tidelog_types::{MemberId, ShardId};

use super::events::{Event, Failed};
use super::lives::Lives;
use super::look::{LeaseSeen, LookError, Looker, Observed, OwnRow};
use super::plan::{Me, Plan, plan};
use super::settings::{ClusterSettings, PeerProbe};
use super::shards::Shards;
use super::touch::Touch;
use crate::members::SharedMembers;
use crate::sequencer::{Claim, Sequencer, SequencerError, SequencerParts, give_up_lease};

/// The state of the task.
pub(crate) struct Keeper {
    pub(crate) parts: SequencerParts,
    pub(crate) settings: ClusterSettings,
    pub(crate) looker: Looker,
    pub(crate) shards: Arc<Shards>,
    pub(crate) members: Arc<SharedMembers>,
    pub(crate) touch: Touch,
    pub(crate) probe: Option<Arc<dyn PeerProbe>>,
    pub(super) state: State,
}

/// What the task remembers from look to look.
#[derive(Default)]
pub(super) struct State {
    pub(super) lives: Lives,
    pub(super) observed: Option<Observed>,
    beat: u64,
    pub(super) beat_due: MonoTime,
    /// Before the last look that the store answered in full, with the beat if there was one.
    pub(super) heard_at: MonoTime,
    pub(super) failed_looks: u32,
    pub(super) in_hurry_since: Option<MonoTime>,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    pub(super) takes: usize,
    pub(super) failed: HashMap<ShardId, Failed>,
    /// Silent members that were asked for, and when they may be again.
    pub(super) probed: HashMap<MemberId, MonoTime>,
}

impl Keeper {
    pub(crate) fn new(
        parts: SequencerParts,
        settings: ClusterSettings,
        looker: Looker,
        shards: Arc<Shards>,
        members: Arc<SharedMembers>,
        touch: Touch,
        probe: Option<Arc<dyn PeerProbe>>,
    ) -> Self {
        let state = State {
            heard_at: parts.env.clock.now(),
            ..State::default()
        };
        Self {
            parts,
            settings,
            looker,
            shards,
            members,
            touch,
            probe,
            state,
        }
    }

    pub(super) fn me(&self) -> Me {
        Me {
            id: self.members.me(),
            is_leaving: self.members.is_leaving(),
        }
    }

    pub(super) fn now(&self) -> MonoTime {
        self.parts.env.clock.now()
    }

    /// Works until the process ends, has left the cluster, or is of a generation that has ended.
    pub(crate) async fn run(mut self) {
        let drained = self.parts.env.supervisor.token();
        let members = Arc::clone(&self.members);
        let _left = members.has_left().drop_guard();
        let mut leaving_since = None;
        while !drained.is_cancelled() {
            self.look().await;
            if self.parts.generation.has_ended() {
                self.let_go();
                return;
            }
            let plan = self.act();
            if self.me().is_leaving {
                let since = *leaving_since.get_or_insert_with(|| self.now());
                if self.has_left(plan.as_ref(), since) {
                    self.members.delete_own().await;
                    return;
                }
            }
            self.wait(&drained).await;
        }
    }

    // ----- looking --------------------------------------------------------------------------------

    /// Looks at the cluster, with a beat when one is due, and shows what was seen.
    async fn look(&mut self) {
        let (now, me) = (self.now(), self.me());
        let is_due = now >= self.state.beat_due || !self.is_shown(me);
        let own = is_due.then(|| self.own_row(me));
        // A beat that is given up here may still be written, which does no harm.
        let looking = self.looker.look(own.as_ref());
        let looked = timeout(self.parts.env.clock.as_ref(), self.patience(), looking).await;
        match looked.unwrap_or_else(|elapsed| Err(LookError::Late(elapsed))) {
            Ok((observed, written)) => {
                let begun = observed.at.begun;
                self.saw(observed);
                match written {
                    Ok(()) => {
                        if is_due {
                            self.state.beat_due = now + self.settings.beat;
                        }
                        self.on_heard(begun);
                    }
                    Err(error) => {
                        // The next one comes soon, and nothing of this one can do harm.
                        self.state.beat_due = now + self.settings.beat_fast;
                        self.on_unheard(&error);
                    }
                }
            }
            // It was said when it was found out, and whoever asks shall hear it rather than of the store.
            Err(LookError::Ended(_)) => {
                self.touch.set(true);
            }
            Err(error) => {
                self.state.failed_looks += 1;
                if matches!(error, LookError::Row(_)) && self.state.failed_looks.is_power_of_two() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        failures = self.state.failed_looks,
                        "members and owners of shards cannot be read; what this process owns it keeps"
                    );
                }
                match error {
                    // The store answers, with rows that are damaged for everybody.
                    LookError::Row(_) => self.on_heard(now),
                    error => self.on_unheard(&error),
                }
            }
        }
    }

    /// Whether the own row was there at the last look and says what it shall.
    pub(super) fn is_shown(&self, me: Me) -> bool {
        let rows = self.state.observed.as_ref().map(|seen| &seen.members);
        let Some(row) = rows.and_then(|rows| rows.get(&me.id)) else {
            return false;
        };
        let mut member = self.members.own();
        // Others may change the state.
        member.state = row.member.state;
        row.session == self.members.session()
            && row.member == member
            && (!me.is_leaving || member.state == MemberState::Draining)
    }

    fn own_row(&mut self, me: Me) -> OwnRow {
        self.state.beat += 1;
        OwnRow {
            member: self.members.own(),
            session: self.members.session(),
            beat: self.state.beat,
            is_leaving: me.is_leaving,
        }
    }

    fn saw(&mut self, observed: Observed) {
        self.state.failed_looks = 0;
        let rows = observed.members.values().filter(|row| row.has_beat());
        let beats = rows.map(|row| (row.member.id, row.session, row.beat));
        self.state
            .lives
            .read(observed.at, self.settings.lease, beats);
        let (lives, lease, me) = (&self.state.lives, self.settings.lease, self.me());
        let is_alive = |member: MemberId| member == me.id || lives.lives(member, lease);
        let leases = observed.leases();
        let owners = leases.map(|(shard, lease)| ShardOwner {
            shard,
            owner: lease.owner.filter(|owner| is_alive(*owner)),
            epoch: lease.epoch,
        });
        self.members
            .show(&observed.members, owners.collect(), is_alive);
        let before = self.state.observed.as_ref().map(|seen| &seen.leases);
        if before != Some(&observed.leases) {
            // Things move, so that it pays to look.
            self.state.in_hurry_since = None;
        }
        self.state.observed = Some(observed);
        self.ask_for_silent();
    }

    // ----- acting ---------------------------------------------------------------------------------

    /// Does what follows from the last look and from what is here now.
    fn act(&mut self) -> Option<Plan> {
        let (me, lease, now) = (self.me(), self.settings.lease, self.now());
        let observed = self.state.observed.as_ref()?;
        let plan = plan(
            me,
            observed,
            |member| self.state.lives.lives(member, lease),
            |shard| self.shards.here(shard),
        );
        for shard in &plan.release {
            self.release(*shard, "another member shall have it");
        }
        for shard in &plan.lost {
            // Its next transaction would show it as well, but there may be none.
            self.release(*shard, "another member has taken it");
        }
        for (shard, lease) in &plan.take {
            let is_early = self
                .state
                .failed
                .get(shard)
                .is_some_and(|failed| now < failed.again_at);
            if self.state.takes < self.settings.takes_at_once && !is_early {
                self.take(*shard, *lease);
            }
        }
        for (shard, lease) in &plan.clear {
            self.clear(*shard, *lease);
        }
        if plan.is_settled {
            self.state.in_hurry_since = None;
        } else {
            self.state.in_hurry_since.get_or_insert(now);
        }
        self.report();
        Some(plan)
    }

    fn release(&self, shard: ShardId, why: &'static str) {
        if let Ok(sequencer) = self.shards.get(shard) {
            tracing::info!(
                shard = shard.get(),
                epoch = sequencer.epoch(),
                why,
                "giving shard up"
            );
            sequencer.release();
        }
    }

    fn take(&mut self, shard: ShardId, lease: LeaseSeen) {
        let from = lease.owner.map(|owner| owner.to_string());
        tracing::info!(
            shard = shard.get(),
            epoch = lease.epoch,
            from,
            "taking shard over"
        );
        self.shards.taking(shard);
        self.state.takes += 1;
        let parts = self.parts.clone();
        let take = async move { Sequencer::start(parts, shard, Claim::Epoch(lease.epoch)).await };
        // In a task of its own, since it may take long and beats must go on.
        let take = self.parts.env.supervisor.spawn("shard takeover", take);
        let done = async move {
            match take.await {
                Ok(Some(taken)) => Event::Taken(shard, taken),
                // It has panicked, which ends the process.
                Ok(None) | Err(_) => Event::Taken(shard, Err(SequencerError::LeaseLost)),
            }
        };
        self.state.events.push(done.boxed());
    }

    /// Gives up what an earlier run of this process has left in the lease row.
    fn clear(&mut self, shard: ShardId, lease: LeaseSeen) {
        self.shards.taking(shard);
        let parts = self.parts.clone();
        let clear = async move {
            if let Err(error) = give_up_lease(&parts, shard, lease.epoch).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(shard = shard.get(), error, "shard was not given back");
            }
            Event::Cleared(shard)
        };
        self.state.events.push(clear.boxed());
    }

    pub(super) fn report(&self) {
        let count = i64::try_from(self.shards.all().len()).unwrap_or(i64::MAX);
        self.parts.metrics.shards_owned.set(count);
    }

    /// Nothing that is here is of the store any more.
    fn let_go(&self) {
        for (shard, sequencer) in self.shards.all() {
            sequencer.release();
            self.shards.remove(shard);
        }
        self.report();
    }

    // ----- leaving --------------------------------------------------------------------------------

    /// Whether the process may go: it has no shard any more, and those that shall have them do, or time is
    /// up.
    fn has_left(&self, plan: Option<&Plan>, since: MonoTime) -> bool {
        if self.now() >= since + self.settings.leave_wait {
            return true;
        }
        self.shards.is_empty() && plan.is_some_and(|plan| plan.is_idle() && !plan.has_heirs)
    }
}

impl Plan {
    fn is_idle(&self) -> bool {
        self.take.is_empty() && self.release.is_empty() && self.clear.is_empty()
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let beat = self.state.beat;
        f.debug_struct("Keeper")
            .field("beat", &beat)
            .finish_non_exhaustive()
    }
}
