//! Which records a reader sees.

use tidelog_metadata_api::PartitionBounds;
use tidelog_types::Offset;

/// Which records a reader sees of transactions.
///
/// ```text
///   log start          last stable      high watermark
///       v                   v                 v
///  -----#####################:::::::::::::::::|
///       |<--- committed --->|
///       |<------------ uncommitted --------->|
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// All that is durable, whatever becomes of its transaction.
    Uncommitted,
    /// Only what lies before the first transaction that is open. Batches of aborted transactions are among it;
    /// [`FetchedPartition::aborted`](super::FetchedPartition::aborted) says whose they are.
    Committed,
}

impl Isolation {
    /// Where reading ends.
    pub const fn end(self, bounds: &PartitionBounds) -> Offset {
        match self {
            Self::Uncommitted => bounds.high_watermark,
            Self::Committed => bounds.last_stable,
        }
    }
}
