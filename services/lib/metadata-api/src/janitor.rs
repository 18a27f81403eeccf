//! What the janitor is given to do.

use std::fmt::Debug;

use async_trait::async_trait;
use tidelog_types::{Incarnation, SegmentName, SegmentSequence, Timestamp};

use crate::LogError;

/// Most segments, and most names of one writer, that are handed out at once.
pub const DELETIONS_MAX: usize = 1_000;

/// A segment that nothing names any more, and that nobody will ever name again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadSegment {
    /// Which one.
    pub segment: SegmentName,
    /// When that was first seen. A backup that was begun later does not need it.
    pub dead_since: Timestamp,
    /// The bytes of record batches that were committed in it, as far as they are known.
    pub bytes: u64,
    /// Whether it lies in the metadata store: then no object is to be deleted, and only a backup that is being taken may
    /// need it.
    pub in_store: bool,
}

/// Names of a writer under which segments may lie that were put and never committed, and never can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanSearch {
    /// The writer.
    pub writer: Incarnation,
    /// Sequences that were not committed, in order.
    pub sequences: Vec<SegmentSequence>,
    /// All names below it are done with once these are.
    pub below: SegmentSequence,
    /// The writer has ended, and nothing is known of what it has put from `below` on: those names are looked at one by
    /// one, until no more is found.
    pub is_last: bool,
    /// When it was first seen that they cannot be committed any more. A backup that was begun later does not need them.
    pub since: Timestamp,
}

/// What may be deleted from the bucket now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Segments.
    pub dead: Vec<DeadSegment>,
    /// Orphans.
    pub orphans: Vec<OrphanSearch>,
}

impl Deletions {
    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.orphans.is_empty()
    }
}

/// The part of the metadata service that knows what there is to do in the bucket.
///
/// - What is handed out may be deleted: nothing names it, nothing ever will, and its grace period is over. Backups are
///   not asked: that is up to whoever deletes.
/// - It is handed out again, some minutes later and to anybody, until it is told that it was done. So two janitors do no
///   harm, and one that died is made up for.
#[async_trait]
pub trait JanitorWork: Debug + Send + Sync + 'static {
    /// Ends when there may be something to do, at once if there is already. It may end for nothing. Where nothing is
    /// ever due, nothing is read for it (invariant I8). Cancel-safe.
    async fn due(&self);

    /// Hands out something to delete; nothing if there is nothing now.
    async fn deletions(&self) -> Result<Deletions, LogError>;

    /// Takes note that these are deleted, which the caller knows to be durable. What was left out is handed out again
    /// later; `pinned` says that backups need some of it, so that it is not tried soon.
    async fn deleted(&self, done: Deletions, pinned: bool) -> Result<(), LogError>;
}
