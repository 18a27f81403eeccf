//! Why a store is not rebuilt.

use thiserror::Error;
use tidelog_blob::object_store;
use tidelog_store::StoreError;
use tidelog_types::{Incarnation, OffsetRange, SegmentName, TopicName, TopicPartition};

use crate::OpenError;
use crate::backup::{ObjectError, RestoreError};
use crate::keyspace::RowError;

/// Why a store is not rebuilt. Until it is, or is restored, nobody opens it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The backup cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The backup cannot be read.
    #[error("the backup cannot be read")]
    Backup(#[from] ObjectError),
    /// The store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[from] StoreError),
    /// The bucket cannot be read.
    #[error("the bucket cannot be read")]
    Bucket(#[from] object_store::Error),
    /// A row is damaged.
    #[error("stored metadata is damaged")]
    Row(#[from] RowError),
    /// What was restored cannot be opened.
    #[error("what was restored cannot be opened")]
    Open(#[from] OpenError),
    /// Segments are of a generation of the cluster that began after the backup was taken.
    #[error(
        "segment `{segment}` is of writer `{}`, which a later generation of the cluster had: rebuild from a backup \
         that was taken after the last restore", .segment.incarnation
    )]
    Generation {
        /// One of them.
        segment: SegmentName,
    },
    /// There is no backup, and more than one generation of the cluster has left segments.
    #[error(
        "segments `{first}` and `{last}` are of two generations of the cluster: without a backup nobody knows which part of \
         the first one the other goes on with"
    )]
    Generations {
        /// One of the first generation.
        first: SegmentName,
        /// One of the last.
        last: SegmentName,
    },
    /// There is no backup, and no number of shards explains where partitions are.
    #[error("no number of shards up to {0} puts partitions into the shards that segments name")]
    Shards(u32),
    /// Logs go on after a gap, and nobody said what is to become of them.
    #[error(
        "partition {} of topic `{topic}` ends at offset {}, and merged segments have offsets from {} on: \
         say with `--gaps` which part is kept", .partition.partition, .gap.base, .gap.next
    )]
    Gap {
        /// The topic.
        topic: TopicName,
        /// One of them.
        partition: TopicPartition,
        /// The offsets that are missing.
        gap: OffsetRange,
    },
    /// Two merged segments have other bytes at the same offsets.
    #[error(
        "segments `{first}` and `{second}` have other bytes at offsets {} to {} of partition `{partition}`: move one \
         of them elsewhere", .offsets.base, .offsets.next
    )]
    Conflict {
        /// The partition.
        partition: TopicPartition,
        /// The offsets.
        offsets: OffsetRange,
        /// One of them.
        first: SegmentName,
        /// The other one.
        second: SegmentName,
    },
    /// A segment tells other things of a topic than the backup.
    #[error("segment `{segment}` has another {what} of topic `{topic}` than the backup")]
    Topic {
        /// The segment.
        segment: SegmentName,
        /// The topic's name.
        topic: TopicName,
        /// What is another one.
        what: &'static str,
    },
    /// Bytes that would become part of the log are not those that were written.
    #[error("segment `{segment}` is damaged at offset {} of partition `{partition}`: {fault}", .offsets.base)]
    Damaged {
        /// The segment.
        segment: SegmentName,
        /// The partition.
        partition: TopicPartition,
        /// The offsets of the extent.
        offsets: OffsetRange,
        /// What is wrong.
        fault: String,
    },
    /// Numbers of writers are at their end.
    #[error("writer `{0}` has the last number that there is")]
    Exhausted(Incarnation),
}
