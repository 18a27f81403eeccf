//! Telling everybody how a transaction has ended.

use super::Coordinator;
use crate::{Effects, Markers, Now, Phase};

impl Coordinator {
    /// The markers that are missing. A new owner begins with them.
    pub fn missing_markers(&self) -> Option<Markers> {
        let state = self.state.as_ref()?;
        let Phase::Ending {
            ending,
            marker,
            missing,
        } = &state.phase
        else {
            return None;
        };
        Some(Markers {
            number: state.number,
            producer: *marker,
            coordinator_epoch: self.owner_epoch,
            decision: ending.decision,
            participants: missing.clone(),
        })
    }

    /// Markers are written: of those that were asked for, the ones of these participants are durable, were so
    /// already, or the participants are gone for ever. What is said of another transaction than the one that is
    /// being ended, however late, is not heard.
    pub fn marked(&mut self, written: &Markers, now: Now) -> Effects {
        let Some(state) = &mut self.state else {
            return Effects::default();
        };
        let Phase::Ending {
            ending,
            marker,
            missing,
        } = &mut state.phase
        else {
            return Effects::default();
        };
        // An id that was forgotten counts from the beginning, but with other producers.
        if written.number != state.number || written.producer != *marker {
            return Effects::default();
        }
        missing.retain(|participant| !written.participants.contains(participant));
        if !missing.is_empty() {
            return Effects::default();
        }
        state.phase = Phase::Ended { ending: *ending };
        state.changed_at = now.wall;
        self.set_wake(now);
        Effects {
            store: true,
            ..Effects::default()
        }
    }
}
