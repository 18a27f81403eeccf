//! Transactions as operators see them (KIP-664, KIP-994).

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_types::{ProducerId, Timestamp};

use super::{Participant, TransactionalId};
use crate::ProducerIdentity;

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

/// Which transactions are listed: those to which everything applies that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// In one of these states; all, if there are none.
    pub states: Vec<TransactionState>,
    /// Of one of these producers; of all, if there are none.
    pub producers: Vec<ProducerId>,
    /// Begun longer ago than this. As in Kafka, one that has ended counts too, and so does what never began.
    pub longer_than: Option<Duration>,
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub id: TransactionalId,
    /// The producer that it is with.
    pub producer: ProducerId,
    /// How far its transaction is.
    pub state: TransactionState,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPage {
    /// What it has.
    pub transactions: Vec<TransactionListing>,
    /// Where the next page begins; empty at the end.
    pub next: Vec<u8>,
}

/// A transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// How far its transaction is.
    pub state: TransactionState,
    /// How long a transaction of it may be open.
    pub timeout: Duration,
    /// When the transaction has begun, if there was one.
    pub started_at: Option<Timestamp>,
    /// The producer that it is with; while a transaction is being ended, the one that its markers name.
    pub producer: ProducerIdentity,
    /// Who takes part in the transaction and has not been told of its end.
    pub participants: BTreeSet<Participant>,
}
