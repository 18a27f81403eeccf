//! What is shown of transactions (KIP-664, KIP-994).

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_types::{ProducerId, Timestamp};

use crate::{Decision, Participant, Phase, Producer, StoredTransaction};

/// How far a transaction is, in the words of Kafka's tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// There was none since the producer began.
    Empty,
    /// It is open.
    Ongoing,
    /// It will be committed, and not everybody is told.
    PrepareCommit,
    /// It will be aborted, and not everybody is told.
    PrepareAbort,
    /// It is committed.
    CompleteCommit,
    /// It is aborted.
    CompleteAbort,
}

impl TransactionState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

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
    pub const fn shown_producer(&self) -> Producer {
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
}

/// Which transactions are listed: those to which everything applies that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// In one of these states; all, if there are none.
    pub states: Vec<TransactionState>,
    /// Of one of these producers; of all, if there are none.
    pub producers: Vec<ProducerId>,
    /// Begun longer ago than this. As in Kafka, one that has ended counts too, and so does what never began.
    pub longer_than: Option<Duration>,
}

impl ListFilter {
    /// Whether a transaction is listed.
    pub fn lists(&self, transaction: &StoredTransaction, wall: Timestamp) -> bool {
        let producer = transaction.shown_producer().id;
        let age = wall
            .as_millis()
            .saturating_sub(transaction.started_at.as_millis());
        let is_longer = |than: Duration| {
            i128::from(age) > i128::try_from(than.as_millis()).unwrap_or(i128::MAX)
        };
        (self.states.is_empty() || self.states.contains(&transaction.state()))
            && (self.producers.is_empty() || self.producers.contains(&producer))
            && self.longer_than.is_none_or(is_longer)
    }
}
