//! What is shown of transactions (KIP-664, KIP-994).

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_metadata_api::{
    Decision, Participant, ProducerIdentity, TransactionFilter, TransactionState,
};
use tidelog_types::Timestamp;

use crate::{Phase, StoredTransaction};

static NONE: BTreeSet<Participant> = BTreeSet::new();

impl StoredTransaction {
    /// How far the transaction is.
    pub const fn state(&self) -> TransactionState {
        match &self.phase {
            Phase::Empty => TransactionState::Empty,
            Phase::Ongoing { .. } => TransactionState::Ongoing,
            Phase::Ending { ending, .. } => match ending.decision {
                Decision::Commit => TransactionState::PrepareCommit,
                Decision::Abort => TransactionState::PrepareAbort,
            },
            Phase::Ended { ending } => match ending.decision {
                Decision::Commit => TransactionState::CompleteCommit,
                Decision::Abort => TransactionState::CompleteAbort,
            },
        }
    }

    /// The producer that is shown: while a transaction is being ended, the one that its markers name.
    pub const fn shown_producer(&self) -> ProducerIdentity {
        match &self.phase {
            Phase::Ending { marker, .. } => *marker,
            Phase::Empty | Phase::Ongoing { .. } | Phase::Ended { .. } => self.producer,
        }
    }

    /// Who takes part in the transaction and has not been told of its end.
    pub fn participants(&self) -> &BTreeSet<Participant> {
        match &self.phase {
            Phase::Ongoing { participants } => participants,
            Phase::Ending { missing, .. } => missing,
            Phase::Empty | Phase::Ended { .. } => &NONE,
        }
    }

    /// Whether the transaction is listed.
    pub fn is_listed(&self, filter: &TransactionFilter, wall: Timestamp) -> bool {
        let producer = self.shown_producer().id;
        let age = wall.as_millis().saturating_sub(self.started_at.as_millis());
        let is_longer = |than: Duration| {
            i128::from(age) > i128::try_from(than.as_millis()).unwrap_or(i128::MAX)
        };
        (filter.states.is_empty() || filter.states.contains(&self.state()))
            && (filter.producers.is_empty() || filter.producers.contains(&producer))
            && filter.longer_than.is_none_or(is_longer)
    }
}
