//! A producer ends its transaction.

use tidelog_metadata_api::{
    Decision, EndTransaction, ProducerIdentity, TransactionError, TransactionVersion,
};
use tidelog_types::ProducerId;

use super::{Coordinator, Standing};
use crate::producer::Epochs as _;
use crate::{Cause, Ending, Now, Outcome, Phase, StoredTransaction};

impl Coordinator {
    /// A producer ends its transaction; the answer is who it is for its next one. Asked for the same end again it
    /// gets the same answer, asked for the other one it does not. `spare` is a new producer id, if one is at hand; it
    /// is used up if the answer names it.
    pub fn end(
        &mut self,
        request: &EndTransaction,
        spare: Option<ProducerId>,
        now: Now,
    ) -> Outcome<ProducerIdentity> {
        let state = match self.known() {
            Ok(state) => state,
            Err(error) => return Outcome::of(Err(error)),
        };
        let standing = state.standing(request.producer);
        match (request.version, standing) {
            (_, Standing::Stranger(error)) => Outcome::of(Err(error)),
            (TransactionVersion::One, Standing::Previous) => {
                Outcome::of(Err(TransactionError::Fenced))
            }
            (TransactionVersion::One, Standing::Current) => {
                self.end_keeping_epoch(request.decision, now)
            }
            (TransactionVersion::Two, Standing::Previous) => {
                self.end_again(request.decision, spare, now)
            }
            (TransactionVersion::Two, Standing::Current) => {
                self.end_with_epoch(request.decision, spare, now)
            }
        }
    }

    /// The first protocol: the epoch stays, so only the state tells whether the producer asks again.
    fn end_keeping_epoch(&mut self, decision: Decision, now: Now) -> Outcome<ProducerIdentity> {
        let state = match self.known() {
            Ok(state) => state,
            Err(error) => return Outcome::of(Err(error)),
        };
        let producer = state.producer;
        match &state.phase {
            Phase::Ongoing { .. } => {
                let cause = Cause::Producer;
                let markers = self.decide(Ending { decision, cause }, (producer, producer), now);
                Outcome::stored(Ok(producer), markers)
            }
            Phase::Ending { ending, .. } | Phase::Ended { ending }
                if ending.decision == decision =>
            {
                Outcome::of(Ok(producer))
            }
            Phase::Empty | Phase::Ending { .. } | Phase::Ended { .. } => {
                Outcome::of(Err(TransactionError::InvalidState))
            }
        }
    }

    /// The second protocol: the markers have the epoch after the transaction's, and so has the producer.
    fn end_with_epoch(
        &mut self,
        decision: Decision,
        spare: Option<ProducerId>,
        now: Now,
    ) -> Outcome<ProducerIdentity> {
        let state = match self.known() {
            Ok(state) => state,
            Err(error) => return Outcome::of(Err(error)),
        };
        let has_one = match &state.phase {
            // The one before: this one has nothing in it, and can be ended when that has.
            Phase::Ending { .. } => return Outcome::of(Err(TransactionError::Concurrent)),
            Phase::Ongoing { .. } => true,
            Phase::Empty | Phase::Ended { .. } => false,
        };
        if !has_one && decision == Decision::Commit {
            return Outcome::of(Err(TransactionError::InvalidState));
        }
        let next = match state.next(spare) {
            Ok(next) => next,
            Err(error) => return Outcome::of(Err(error)),
        };
        state.previous = Some(state.producer);
        let marker = state.producer.fencing();
        let cause = Cause::Producer;
        let ending = Ending { decision, cause };
        let markers = if has_one {
            self.decide(ending, (marker, next), now)
        } else {
            // Something may have been sent of which nobody knows: the epoch fences it, and there is nobody to tell.
            state.producer = next;
            state.started_at = now.wall;
            state.changed_at = now.wall;
            state.phase = Phase::Ended { ending };
            self.set_wake(now);
            None
        };
        Outcome::stored(Ok(next), markers)
    }

    /// The second protocol, by the producer that the transaction had: it did not hear of the end.
    fn end_again(
        &mut self,
        decision: Decision,
        spare: Option<ProducerId>,
        now: Now,
    ) -> Outcome<ProducerIdentity> {
        let state = match self.known() {
            Ok(state) => state,
            Err(error) => return Outcome::of(Err(error)),
        };
        if let Err(error) = state.had_this_end(decision) {
            return Outcome::of(Err(error));
        }
        let before = state.producer;
        match before.given(spare) {
            Ok(given) if given == before => Outcome::of(Ok(given)),
            Ok(given) => {
                state.producer = given;
                state.changed_at = now.wall;
                self.set_wake(now);
                Outcome::stored(Ok(given), None)
            }
            Err(error) => Outcome::of(Err(error)),
        }
    }
}

impl StoredTransaction {
    /// Whether the last transaction has ended as its producer says.
    fn had_this_end(&self, decision: Decision) -> Result<(), TransactionError> {
        let ending = match &self.phase {
            Phase::Ending { ending, .. } | Phase::Ended { ending } => ending,
            Phase::Empty | Phase::Ongoing { .. } => return Err(TransactionError::Fenced),
        };
        match ending.cause {
            _ if ending.decision == decision => Ok(()),
            Cause::Producer => Err(TransactionError::InvalidState),
            // It was aborted under the producer's feet, which has done nothing wrong.
            Cause::Init | Cause::Timeout => Err(TransactionError::Fenced),
        }
    }
}
