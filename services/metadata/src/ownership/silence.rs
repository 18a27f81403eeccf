//! What the task that shares shards makes of silence: of the store, which may have left this process alone,
//! and of other processes, which may be gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tidelog_env::MonoTime;

use super::events::Event;
use super::keeper::Keeper;
use crate::keyspace::MemberRow;

impl Keeper {
    /// How long a look may take: what it shows is of no use once others take this process for dead.
    pub(super) fn patience(&self) -> Duration {
        if self.touch.is_lost() {
            return self.settings.lease;
        }
        let left = (self.state.heard_at + self.settings.lease).saturating_since(self.now());
        // One that slept through its time may find that nobody has missed it.
        left.max(self.settings.beat)
    }

    /// The store has answered a look that began then.
    pub(super) fn on_heard(&mut self, begun: MonoTime) {
        let away = begun.saturating_since(self.state.heard_at);
        self.state.heard_at = begun;
        if self.touch.set(true) {
            tracing::info!(
                ?away,
                "the metadata store answers again; this process takes part again"
            );
            // What failed meanwhile failed for want of the store.
            self.state.failed.clear();
        }
    }

    /// The store has not answered, or has not taken the beat.
    pub(super) fn on_unheard(&mut self, error: &(dyn std::error::Error + 'static)) {
        let away = self.now().saturating_since(self.state.heard_at);
        if away < self.settings.lease {
            tracing::debug!(error, ?away, "a beat was not written");
        } else if self.touch.set(false) {
            self.parts.metrics.store_losses.inc();
            tracing::warn!(
                error,
                ?away,
                "the metadata store does not answer; until it does this process takes no part, and others \
                 may take its shards"
            );
        }
    }

    /// Has the network asked for the processes that have been silent for a moment. One whose address is that of
    /// another now, which beats, need not be asked for: it was an earlier run of that one. Whoever starts anew
    /// would else take it for alive for as long as a lease, since it has not seen it before.
    pub(super) fn ask_for_silent(&mut self) {
        let Some(observed) = &self.state.observed else {
            return;
        };
        let (lease, silence) = (self.settings.lease, self.settings.suspicion());
        let now = self.parts.env.clock.now();
        let (me, members) = (self.members.me(), &observed.members);
        self.state
            .probed
            .retain(|member, _| members.contains_key(member));
        let silent = self.state.lives.silent(lease, silence);
        let beats = |row: &&MemberRow| {
            let id = row.member.id;
            let is_silent = silent.iter().any(|silent| silent.member == id);
            id == me || (!is_silent && self.state.lives.lives(id, lease))
        };
        let beating: HashSet<&str> = members
            .values()
            .filter(beats)
            .map(|row| row.member.internal_address.as_str())
            .collect();
        for silent in silent.iter().copied().filter(|silent| silent.member != me) {
            let row = members.get(&silent.member);
            let address = row.map_or("", |row| row.member.internal_address.as_str());
            if address.is_empty() {
                continue;
            }
            if beating.contains(address) {
                tracing::info!(member = %silent.member, address, "a silent member was replaced");
                self.state.lives.refuse(silent);
                continue;
            }
            let Some(probe) = &self.probe else {
                continue;
            };
            let again_at = self.state.probed.entry(silent.member).or_default();
            if now < *again_at {
                continue;
            }
            *again_at = now + self.settings.beat;
            let (probe, address) = (Arc::clone(probe), address.to_owned());
            let asking = async move { Event::Probed(silent, probe.is_refused(&address).await) };
            self.state.events.push(asking.boxed());
        }
    }
}
