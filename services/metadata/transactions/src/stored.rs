//! What of a transactional id outlives its owner, which is all that a coordinator knows but for its timer.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_metadata_api::{Decision, Participant, ProducerIdentity};
use tidelog_types::Timestamp;

/// Why a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its producer asked for it.
    Producer,
    /// A producer began anew while it was open.
    Init,
    /// It was open for too long.
    Timeout,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ending {
    /// How.
    pub decision: Decision,
    /// Why.
    pub cause: Cause,
}

/// How far the id's transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There was none since the producer began.
    Empty,
    /// It is open.
    Ongoing {
        /// Where it has left something, or may be about to; never empty.
        participants: BTreeSet<Participant>,
    },
    /// How it ends is decided, and is being told.
    Ending {
        /// How it ends.
        ending: Ending,
        /// The producer that the markers name.
        marker: ProducerIdentity,
        /// Who has not been told, as far as is stored; never empty. Who was told since is told again by a new
        /// owner.
        missing: BTreeSet<Participant>,
    },
    /// It has ended, and everybody is told.
    Ended {
        /// How it has ended.
        ending: Ending,
    },
}

/// What of a transactional id outlives its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransaction {
    /// The producer that the id is with. It may be one that nobody has been given yet.
    pub producer: ProducerIdentity,
    /// The producer before, if the same process had it that is to have [`producer`](Self::producer), and may not
    /// have heard of it. It takes its place when it asks again.
    pub previous: Option<ProducerIdentity>,
    /// How long a transaction may be open.
    pub timeout: Duration,
    /// Counts the transactions of the id. It never goes back, and no two have the same.
    pub number: u64,
    /// When the last transaction began; [`Timestamp::NONE`] if there was none since the producer began.
    pub started_at: Timestamp,
    /// When anything changed last. The id expires from then on.
    pub changed_at: Timestamp,
    /// How far the transaction is.
    pub phase: Phase,
}
