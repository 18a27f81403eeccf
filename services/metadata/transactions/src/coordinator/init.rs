//! A producer begins: with an id that nobody has used, in place of another producer, or in its own place after an
//! error (KIP-360).

use std::time::Duration;

use tidelog_metadata_api::{InitTransactions, ProducerIdentity, TransactionError};
use tidelog_types::{ProducerId, Timestamp};

use super::{Coordinator, Standing};
use crate::producer::Epochs as _;
use crate::{Cause, Now, Outcome, Phase, StoredTransaction};

impl Coordinator {
    /// A producer begins; the answer is who it is. Whoever was before is fenced, and a transaction that it has open
    /// is aborted first: until everybody is told, the answer is to try again. `spare` is a new producer id, if one is
    /// at hand; it is used up if the answer names it.
    pub fn init(
        &mut self,
        request: &InitTransactions,
        spare: Option<ProducerId>,
        now: Now,
    ) -> Outcome<ProducerIdentity> {
        let timeout = request.timeout;
        if timeout.is_zero() || timeout > self.limits.timeout_max {
            return Outcome::of(Err(TransactionError::InvalidTimeout));
        }
        let state = match self.known() {
            Ok(state) => state,
            Err(TransactionError::UnknownProducer) => return self.init_new(request, spare, now),
            Err(error) => return Outcome::of(Err(error)),
        };
        let standing = request.expected.map(|expected| state.standing(expected));
        if let Some(Standing::Stranger(_)) = standing {
            return Outcome::of(Err(TransactionError::Fenced));
        }
        match &state.phase {
            Phase::Ending { .. } => Outcome::of(Err(TransactionError::Concurrent)),
            Phase::Ongoing { .. } => {
                // Whoever asks will ask again: as the one it was, or as nobody.
                state.previous = standing.map(|_| state.producer);
                let markers = self.abort(Cause::Init, now);
                Outcome::stored(Err(TransactionError::Concurrent), markers)
            }
            Phase::Empty | Phase::Ended { .. } => {
                let given = match standing {
                    // The answer to an earlier request was lost.
                    Some(Standing::Previous) => state.producer.given(spare),
                    Some(_) | None => state.next(spare),
                };
                match given {
                    Ok(producer) => self.begin(producer, standing, timeout, now),
                    Err(error) => Outcome::of(Err(error)),
                }
            }
        }
    }

    /// The id is with `producer` from now on.
    fn begin(
        &mut self,
        producer: ProducerIdentity,
        standing: Option<Standing>,
        timeout: Duration,
        now: Now,
    ) -> Outcome<ProducerIdentity> {
        if let Some(state) = &mut self.state {
            state.previous = match standing {
                // Nobody who was before may hear of it.
                None => None,
                Some(Standing::Previous) => state.previous,
                Some(_) => Some(state.producer),
            };
            state.producer = producer;
            state.timeout = timeout;
            state.started_at = Timestamp::NONE;
            state.changed_at = now.wall;
            state.phase = Phase::Empty;
        }
        self.set_wake(now);
        Outcome::stored(Ok(producer), None)
    }

    /// The id was never used, or was forgotten. A producer that believes it has it goes on with another producer id.
    fn init_new(
        &mut self,
        request: &InitTransactions,
        spare: Option<ProducerId>,
        now: Now,
    ) -> Outcome<ProducerIdentity> {
        let Some(id) = spare else {
            return Outcome::of(Err(TransactionError::ProducerIdNeeded));
        };
        let producer = ProducerIdentity::first(id);
        self.state = Some(StoredTransaction {
            producer,
            previous: request.expected,
            timeout: request.timeout,
            number: 0,
            started_at: Timestamp::NONE,
            changed_at: now.wall,
            phase: Phase::Empty,
        });
        self.set_wake(now);
        Outcome::stored(Ok(producer), None)
    }
}
