//! What happens when nothing does: transactions that are open for too long, ids that nobody uses, owners that come
//! after others.

use tidelog_env::MonoTime;

use super::Coordinator;
use crate::{Cause, Effects, Limits, Now, Phase, StoredTransaction};

impl Coordinator {
    /// The id as a new owner finds it. Markers that are missing are its to write:
    /// [`missing_markers`](Self::missing_markers). What has passed of a timeout has passed, as far as the wall clock
    /// tells.
    pub fn restore(limits: Limits, owner_epoch: i32, stored: StoredTransaction, now: Now) -> Self {
        let mut coordinator = Self::new(limits, owner_epoch);
        coordinator.state = Some(stored);
        coordinator.set_wake(now);
        // Nobody is left who could be told.
        let done = coordinator.missing_markers();
        if done.is_some_and(|markers| markers.participants.is_empty()) {
            coordinator.wake = Some(now.mono);
        }
        coordinator
    }

    /// When [`tick`](Self::tick) wants to be called, if nothing else happens.
    pub const fn wake(&self) -> Option<MonoTime> {
        self.wake
    }

    /// Aborts a transaction that is open for too long, and forgets an id that nobody uses.
    pub fn tick(&mut self, now: Now) -> Effects {
        if self.wake.is_none_or(|wake| wake > now.mono) {
            return Effects::default();
        }
        self.wake = None;
        let Some(state) = &mut self.state else {
            return Effects::default();
        };
        match &state.phase {
            Phase::Ongoing { .. } => {
                // The producer may be alive and slow: it can abort what is aborted, or begin again, and goes on.
                state.previous = Some(state.producer);
                let markers = self.abort(Cause::Timeout, now);
                Effects {
                    store: true,
                    markers,
                    forget: false,
                }
            }
            Phase::Empty | Phase::Ended { .. } => {
                self.is_forgotten = true;
                Effects {
                    forget: true,
                    ..Effects::default()
                }
            }
            Phase::Ending { .. } => {
                let nobody = self.missing_markers();
                nobody.map_or_else(Effects::default, |nobody| self.marked(&nobody, now))
            }
        }
    }

    /// Sets the timer anew, for the phase that the id is in.
    pub(super) fn set_wake(&mut self, now: Now) {
        self.wake = self.state.as_ref().and_then(|state| match &state.phase {
            Phase::Ongoing { .. } => Some(now.over(state.started_at, state.timeout)),
            Phase::Empty | Phase::Ended { .. } => {
                Some(now.over(state.changed_at, self.limits.expiry))
            }
            Phase::Ending { .. } => None,
        });
    }
}
