//! Takes care of what members leave behind who cannot do so themselves: rows that nobody keeps any more,
//! and incarnations that nobody is. The owner of shard 0 does it for the whole cluster; two at once do no
//! harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Env, MonoTime};
use tidelog_types::{Incarnation, MemberId, ShardId};
use tokio::sync::watch;

use super::shared::SharedMembers;
use super::writers::{Living, Missing, Writers};
use crate::keyspace::MemberRow;
use crate::ownership::{ClusterSettings, Shards};

/// The owner of this shard does it.
const SHARD: ShardId = ShardId::new(0);
/// Writers are looked at this many times within the time after which one ends.
const WRITER_LOOKS: u32 = 10;

/// What there may be to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    /// The incarnations that members are, also such that were lost.
    pub(crate) writers: BTreeSet<Incarnation>,
    /// Members that nobody keeps.
    pub(crate) gone: BTreeMap<MemberId, Gone>,
    /// Counts writers that have registered here.
    pub(crate) registered: u64,
}

/// A row as it was when it was found to be nobody's: session and beat, and those of whoever should keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    own: (u64, u64),
    keeper: Option<(u64, u64)>,
}

impl Gone {
    pub(crate) fn of(row: &MemberRow, keeper: Option<&MemberRow>) -> Self {
        Self {
            own: (row.session, row.beat),
            keeper: keeper.map(|row| (row.session, row.beat)),
        }
    }
}

/// Where the shards of the cluster may be.
#[derive(Debug)]
pub(crate) enum Sweep {
    /// All here, and members in memory.
    Alone,
    /// Here or elsewhere, and members in rows.
    Shared {
        shards: Arc<Shards>,
        members: Arc<SharedMembers>,
    },
}

#[derive(Debug)]
struct Sweeper {
    sweep: Sweep,
    env: Env,
    settings: ClusterSettings,
    writers: Writers,
    missing: Missing,
    gone: BTreeMap<MemberId, (Gone, MonoTime)>,
    look_at: MonoTime,
    /// Whether there is no writer to wait for.
    is_settled: bool,
}

impl Sweep {
    /// Sweeps until the process ends.
    pub(crate) async fn run(
        self,
        writers: Writers,
        settings: ClusterSettings,
        mut roster: watch::Receiver<Arc<Roster>>,
    ) {
        let env = writers.env.clone();
        let drained = env.supervisor.token();
        let mut sweeper = Sweeper {
            sweep: self,
            look_at: env.clock.now(),
            env,
            settings,
            writers,
            missing: Missing::default(),
            gone: BTreeMap::new(),
            is_settled: false,
        };
        loop {
            roster.mark_unchanged();
            sweeper.round(&roster).await;
            tokio::select! {
                () = drained.cancelled() => return,
                changed = roster.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sweeper.is_settled = false;
                }
                () = sweeper.due() => {}
            }
        }
    }
}

impl Sweeper {
    /// Whether this process is the one that sweeps.
    fn is_ours(&self) -> bool {
        match &self.sweep {
            Sweep::Alone => true,
            Sweep::Shared { shards, .. } => shards.get(SHARD).is_ok(),
        }
    }

    fn look_every(&self) -> Duration {
        self.settings.writer_grace / WRITER_LOOKS
    }

    /// Ends when a round is due. Where all is known here and nobody is missing, there is none (invariant
    /// I8).
    async fn due(&self) {
        let is_idle = self.is_settled && matches!(self.sweep, Sweep::Alone);
        let look = Some(self.look_at).filter(|_| !is_idle);
        let grace = self.settings.member_grace;
        let deletes = self.gone.values().map(|(_, since)| *since + grace);
        match look.into_iter().chain(deletes).min() {
            // Never at once again: what could not be done is tried later.
            Some(at) => {
                let soonest = self.env.clock.now() + self.settings.beat;
                self.env.clock.sleep_until(at.max(soonest)).await;
            }
            None => std::future::pending().await,
        }
    }

    async fn round(&mut self, roster: &watch::Receiver<Arc<Roster>>) {
        let now = self.env.clock.now();
        let seen = Arc::clone(&roster.borrow());
        let gone = seen.gone.iter().map(|(id, gone)| {
            let before = self.gone.get(id).filter(|(before, _)| before == gone);
            (*id, (*gone, before.map_or(now, |(_, since)| *since)))
        });
        self.gone = gone.collect();
        if !self.is_ours() {
            // The next one who does it counts anew.
            self.missing = Missing::default();
            return;
        }
        self.delete_gone(now).await;
        if now >= self.look_at {
            self.look_at = now + self.look_every();
            self.look(roster).await;
        }
    }

    async fn delete_gone(&mut self, now: MonoTime) {
        let Sweep::Shared { members, .. } = &self.sweep else {
            return;
        };
        for (id, (gone, since)) in &self.gone {
            if now.saturating_since(*since) < self.settings.member_grace {
                continue;
            }
            match members.delete_gone(*id, *gone).await {
                Ok(true) => tracing::info!(member = %id, "member has gone, and nobody kept it"),
                Ok(false) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(member = %id, error, "member was not taken off the list");
                }
            }
        }
    }

    async fn look(&mut self, roster: &watch::Receiver<Arc<Roster>>) {
        let grace = self.settings.writer_grace;
        let members = match &self.sweep {
            Sweep::Alone => Living::InMemory(roster),
            Sweep::Shared { .. } => Living::InRows,
        };
        let looked = self.writers.look(&mut self.missing, members, grace);
        match looked.await {
            Ok(is_settled) => self.is_settled = is_settled,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "it is not known which writers have ended");
            }
        }
    }
}
