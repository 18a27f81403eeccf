//! What follows from an event.

use std::collections::BTreeSet;

use tidelog_metadata_api::{Decision, Participant, ProducerIdentity, TransactionError};

/// What follows from an event, beside the answer.
///
/// Nothing of it, no answer to this or a later event, and no marker may leave the process before all is durable
/// that this and earlier events say is to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// The state has changed and must be durable first.
    pub store: bool,
    /// Markers that are then to be written, and asked for again until they are: see
    /// [`Coordinator::marked`](crate::Coordinator::marked).
    pub markers: Option<Markers>,
    /// The id has expired: what is stored of it goes. When it has gone, so does the coordinator; until then it
    /// tells everybody to try again.
    pub forget: bool,
}

/// An answer, and what else follows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome<T> {
    /// The answer. One that says no may have effects too.
    pub answer: Result<T, TransactionError>,
    /// What else follows.
    pub effects: Effects,
}

impl<T> Outcome<T> {
    /// An answer from which nothing else follows.
    pub(crate) fn of(answer: Result<T, TransactionError>) -> Self {
        Self {
            answer,
            effects: Effects::default(),
        }
    }

    /// An answer to a change that is to be stored.
    pub(crate) fn stored(answer: Result<T, TransactionError>, markers: Option<Markers>) -> Self {
        let effects = Effects {
            store: true,
            markers,
            forget: false,
        };
        Self { answer, effects }
    }
}

/// Markers that say how a transaction has ended, one for each participant.
///
/// A marker may be asked for more than once, by one owner or by two, and late. The number tells: of one producer id
/// a participant takes a marker only if its number is above that of the last one it has taken. One that is not
/// above is there already, and is told to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Counts the transactions of the transactional id.
    pub number: u64,
    /// The producer that the markers name. From it on, everything of an older epoch is refused.
    pub producer: ProducerIdentity,
    /// The epoch of the coordinator that asks: its shard's lease. A participant that has seen a higher one refuses.
    pub coordinator_epoch: i32,
    /// How the transaction has ended.
    pub decision: Decision,
    /// Where markers are missing.
    pub participants: BTreeSet<Participant>,
}
