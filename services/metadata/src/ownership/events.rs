//! What the task that shares shards waits for: shards that have come or gone, and the next look.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tidelog_env::{Backoff, BackoffPolicy, CancellationToken, MonoTime};
use tidelog_metadata_api::Notice;
use tidelog_types::{MemberId, ShardId};
use tokio::task::JoinHandle;

use super::keeper::Keeper;
use super::lives::Silent;
use crate::sequencer::{End, Sequencer, SequencerError};

/// Looks are frequent for at most this long: where a shard has not come to rest by then, something is
/// wrong that looking does not mend.
const HURRY_MAX: Duration = Duration::from_secs(10);
/// Waits before a shard is taken again that could not be.
const TAKE_AGAIN: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(200),
    Duration::from_secs(10),
    u32::MAX,
);

/// A sequencer that was started, and its task.
type Started = (Sequencer, JoinHandle<Option<End>>);

/// What happened to a shard of this process.
pub(super) enum Event {
    /// An attempt to take it has ended.
    Taken(ShardId, Result<Started, SequencerError>),
    /// Its sequencer has ended; not at all if it panicked.
    Ended(ShardId, Option<End>),
    /// The lease of an earlier run was given up, or not.
    Cleared(ShardId),
    /// A silent process was asked for: whether nobody listens where it did.
    Probed(Silent, bool),
}

/// A shard that could not be taken.
#[derive(Debug)]
pub(super) struct Failed {
    backoff: Backoff,
    pub(super) again_at: MonoTime,
}

impl Keeper {
    /// Waits until there may be something to do.
    pub(super) async fn wait(&mut self, drained: &CancellationToken) {
        let until = self.parts.env.clock.sleep_until(self.next_look());
        let event = tokio::select! {
            biased;
            () = drained.cancelled() => None,
            Some(event) = self.state.events.next() => Some(event),
            () = self.members.poked() => None,
            () = until => None,
        };
        let mut next = event;
        let mut has_moved = false;
        while let Some(event) = next {
            has_moved |= self.on_event(event);
            next = self.state.events.next().now_or_never().flatten();
        }
        if has_moved {
            // What was committed elsewhere before a shard came, and is committed elsewhere after it has
            // gone, is no news of this process. Nobody may be listening, which is no error.
            let _ = self.parts.notices.send(Notice::Shards);
        }
        self.report();
    }

    /// When to look again, if nothing happens before.
    fn next_look(&self) -> MonoTime {
        let now = self.now();
        if self.state.observed.is_none() || self.state.failed_looks > 0 {
            return now + self.settings.beat;
        }
        let mut next = self.state.beat_due;
        let hurry = self.state.in_hurry_since;
        let is_new = !self.is_shown(self.me());
        if is_new || self.me().is_leaving || hurry.is_some_and(|since| now < since + HURRY_MAX) {
            next = next.min(now + self.settings.beat_fast);
        }
        let leases = self.state.observed.iter().flat_map(|seen| &seen.leases);
        let owners: Vec<_> = leases.filter_map(|lease| lease.owner).collect();
        let me = self.members.me();
        let asked = |member: MemberId| member != me && owners.contains(&member);
        let lives = &self.state.lives;
        let death = lives.next_death(self.settings.lease, asked);
        let silence = lives.next_silence(self.settings.suspicion(), |member| member != me);
        let again = self.state.failed.values().map(|failed| failed.again_at);
        let again = again.filter(|at| *at > now).min();
        let next = [death, silence, again]
            .into_iter()
            .flatten()
            .fold(next, MonoTime::min);
        // Never at once again, whatever the clock says.
        next.max(now + Duration::from_millis(1))
    }

    /// Takes note of what happened to a shard; tells whether it has come or gone.
    fn on_event(&mut self, event: Event) -> bool {
        match event {
            Event::Taken(shard, Ok((sequencer, task))) => {
                self.state.takes -= 1;
                self.state.failed.remove(&shard);
                self.parts.metrics.shards_taken.inc();
                self.shards.insert(shard, sequencer);
                let end = async move { Event::Ended(shard, task.await.ok().flatten()) };
                self.state.events.push(end.boxed());
                true
            }
            Event::Taken(shard, Err(error)) => {
                self.state.takes -= 1;
                self.shards.remove(shard);
                if matches!(error, SequencerError::LeaseLost) {
                    tracing::info!(shard = shard.get(), "another member took the shard first");
                } else {
                    self.try_later(shard, &error);
                }
                false
            }
            Event::Ended(shard, end) => {
                self.on_end(shard, end);
                true
            }
            Event::Cleared(shard) => {
                self.shards.remove(shard);
                false
            }
            Event::Probed(silent, is_refused) => {
                if is_refused {
                    tracing::info!(member = %silent.member, "a silent member is gone");
                    self.state.lives.refuse(silent);
                }
                false
            }
        }
    }

    fn on_end(&mut self, shard: ShardId, end: Option<End>) {
        self.shards.remove(shard);
        self.parts.metrics.forget(shard);
        match end {
            Some(End::Released) => {
                self.parts.metrics.shards_released.inc();
                tracing::info!(shard = shard.get(), "gave shard back");
            }
            Some(End::Lost) => {
                self.parts.metrics.shards_lost.inc();
                tracing::warn!(
                    shard = shard.get(),
                    "lost shard: another member took it, since this process was silent for too long"
                );
            }
            Some(End::Broken) => {
                self.parts.metrics.shards_lost.inc();
                self.wait_for(shard);
            }
            Some(End::Drained) | None => {}
        }
    }

    fn try_later(&mut self, shard: ShardId, error: &SequencerError) {
        let wait = self.wait_for(shard);
        tracing::error!(
            shard = shard.get(),
            error = error as &dyn std::error::Error,
            again_in = ?wait,
            "shard cannot be taken over"
        );
    }

    /// A shard that cannot be served is not taken again at once.
    fn wait_for(&mut self, shard: ShardId) -> Duration {
        let now = self.now();
        let start = || Failed {
            backoff: TAKE_AGAIN.start(),
            again_at: now,
        };
        let failed = self.state.failed.entry(shard).or_insert_with(start);
        let wait = failed.backoff.next_wait(self.parts.env.rng.as_ref());
        let wait = wait.unwrap_or(TAKE_AGAIN.max);
        failed.again_at = now + wait;
        wait
    }
}
