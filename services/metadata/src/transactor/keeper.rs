//! A transactional id in memory: the state machine, who waits for it, and what of it is on its way.

use tidelog_env::{CancellationToken, MonoTime};
use tidelog_metadata_api::{
    Participant, TransactionDescription, TransactionalId, TransactionsError,
};
use tidelog_transactions::{Coordinator, Effects, Markers, Phase};
use tidelog_types::Timestamp;

use super::handle::PARTICIPANT_BYTES;
use super::metrics::TransactorMetrics;
use crate::driver::{Answers, Hold};

/// Bytes of memory of an id beside those that take part in its transaction.
const KEEPER_BYTES: usize = 1_000;

/// A transactional id in memory.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) id: TransactionalId,
    /// Tells this one from others of the same id, before and after.
    pub(super) instance: u64,
    pub(super) machine: Coordinator,
    pub(super) answers: Answers<TransactionsError>,
    pub(super) last_used: MonoTime,
    /// When it is to be looked at again, as the actor has noted it.
    pub(super) wake: Option<MonoTime>,
    /// What follows from what happens now.
    turn: Effects,
    /// The decision that is on its way to the store, and the write that it is in.
    decided: Option<(u64, Markers)>,
    /// The write with which the id goes.
    going: Option<u64>,
    /// The decision that is being told.
    telling: Option<Telling>,
    memory: Hold,
}

/// Ends, when it is dropped, what tells of a decision.
#[derive(Debug)]
pub(super) struct Telling {
    stop: CancellationToken,
    metrics: TransactorMetrics,
}

impl Telling {
    pub(super) fn new(metrics: TransactorMetrics) -> Self {
        metrics.ending.inc();
        Self {
            stop: CancellationToken::new(),
            metrics,
        }
    }

    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.metrics.ending.dec();
        self.stop.cancel();
    }
}

impl Keeper {
    pub(super) fn new(
        id: TransactionalId,
        instance: u64,
        machine: Coordinator,
        memory: Hold,
        now: MonoTime,
    ) -> Self {
        Self {
            id,
            instance,
            machine,
            answers: Answers::default(),
            last_used: now,
            wake: None,
            turn: Effects::default(),
            decided: None,
            going: None,
            telling: None,
            memory,
        }
    }

    /// Takes what follows from an event.
    pub(super) fn take(&mut self, effects: Effects) {
        self.turn.store |= effects.store;
        self.turn.forget |= effects.forget;
        if effects.markers.is_some() {
            self.turn.markers = effects.markers;
        }
    }

    /// What follows from this turn, which has come to its end.
    pub(super) fn end_turn(&mut self) -> Effects {
        self.weigh();
        std::mem::take(&mut self.turn)
    }

    /// What the turn says is on its way with this write, if something is.
    pub(super) fn begin_write(&mut self, write: Option<u64>, effects: Effects) {
        self.answers.end_turn(write);
        if let Some(write) = write {
            if let Some(markers) = effects.markers {
                self.decided = Some((write, markers));
            }
            if effects.forget {
                self.going = Some(write);
            }
        }
    }

    /// A write is durable. Gives the decision that is to be told now, if it was in it.
    pub(super) fn end_write(&mut self, write: u64) -> Option<Markers> {
        self.answers.written(write);
        let (in_write, _) = self.decided.as_ref()?;
        if *in_write > write {
            return None;
        }
        self.decided.take().map(|(_, markers)| markers)
    }

    /// Whether nothing is stored of the id any more.
    pub(super) fn has_gone(&self) -> bool {
        self.going.is_some() && !self.answers.is_writing()
    }

    pub(super) fn begin_telling(&mut self, telling: Telling) {
        self.telling = Some(telling);
    }

    pub(super) fn end_telling(&mut self) {
        self.telling = None;
    }

    /// Whether nothing is to be done for the id: it can leave memory and be read again without a loss.
    pub(super) fn is_idle(&self) -> bool {
        let has_none = self
            .machine
            .stored()
            .is_none_or(|stored| matches!(stored.phase, Phase::Empty | Phase::Ended { .. }));
        has_none && !self.answers.is_writing() && self.telling.is_none()
    }

    /// Counts the memory anew that the id takes.
    fn weigh(&mut self) {
        let stored = self.machine.stored();
        let participants = stored.map_or(0, |stored| stored.participants().len());
        self.memory
            .resize(KEEPER_BYTES + self.id.as_str().len() + participants * PARTICIPANT_BYTES);
    }

    /// The id as it is shown.
    pub(super) fn describe(&self) -> Option<TransactionDescription> {
        let stored = self.machine.stored()?;
        let participants: std::collections::BTreeSet<Participant> = stored.participants().clone();
        Some(TransactionDescription {
            state: stored.state(),
            timeout: stored.timeout,
            started_at: (stored.started_at != Timestamp::NONE).then_some(stored.started_at),
            producer: stored.shown_producer(),
            participants,
        })
    }

    /// What the id says may not be so: nobody hears it, and it is to be read again.
    pub(super) fn fail(self, error: &TransactionsError) {
        // What was on its way may be stored all the same.
        let unknown = match error {
            TransactionsError::NotCoordinator => TransactionsError::NotCoordinator,
            _ => TransactionsError::Unknown,
        };
        self.answers.fail(error, &unknown);
    }
}
