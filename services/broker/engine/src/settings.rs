//! Settings of the engine. Sizes and times; what they mean to an operator stands in the reference.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::memory::MemoryShare;
use tidelog_env::BackoffPolicy;
use tidelog_types::BucketId;
use tidelog_types::limits::{MANIFEST_BYTES_MAX, SEGMENT_BYTES_TARGET, SEGMENT_SLICES_MAX};

/// How appends become segments.
#[derive(Clone, Copy, Debug)]
pub struct AppendSettings {
    /// A segment closes at this size.
    pub segment_bytes: u32,
    /// A segment closes at this many slices.
    pub segment_slices: u32,
    /// A segment closes when its manifest for one shard reaches this size.
    pub manifest_bytes: u32,
    /// A segment closes this long after its first byte.
    pub linger: Duration,
    /// How often a second a segment may close at once since nothing is being uploaded.
    pub flush_rate: NonZeroU32,
    /// How many such closes may come together after a pause.
    pub flush_burst: NonZeroU32,
    /// Segments that are uploaded at the same time.
    pub uploads_max: usize,
    /// Segments that are closed and not yet answered: uploading, waiting for an earlier one, committing.
    pub unanswered_max: usize,
    /// An upload that takes longer is started a second time, under the next sequence.
    pub hedge_after: Duration,
    /// Bytes of batches that are taken and not yet answered.
    pub memory_bytes: u64,
    /// Waits between attempts of a commit that the metadata service has not answered.
    pub commit_retry: BackoffPolicy,
}

impl Default for AppendSettings {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_TARGET,
            segment_slices: SEGMENT_SLICES_MAX,
            manifest_bytes: MANIFEST_BYTES_MAX,
            linger: Duration::from_millis(250),
            flush_rate: NonZeroU32::MIN.saturating_add(3),
            flush_burst: NonZeroU32::MIN.saturating_add(3),
            uploads_max: 8,
            unanswered_max: 64,
            hedge_after: Duration::from_secs(2),
            memory_bytes: 128 * 1024 * 1024,
            // A dead owner is replaced within a second or so: longer waits would add to that.
            commit_retry: BackoffPolicy::new(
                Duration::from_millis(20),
                Duration::from_millis(250),
                u32::MAX,
            ),
        }
    }
}

/// How segments of the topics of one storage class are filled. In all else they are as [`AppendSettings`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClass {
    /// What topics call it.
    pub name: String,
    /// A segment closes this long after its first byte.
    pub linger: Duration,
    /// A segment closes at this size.
    pub segment_bytes: u32,
    /// Segments of up to so many bytes are committed together with their bytes, and are not put into the bucket; 0: none
    /// are. No more than [`INLINE_SEGMENT_BYTES_MAX`](tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX).
    pub express_bytes: u32,
    /// Where segments lie.
    pub bucket: BucketId,
}

/// How reads are served.
#[derive(Clone, Copy, Debug)]
pub struct FetchSettings {
    /// Most bytes of one answer, whatever the caller asks for.
    pub answer_bytes_max: u64,
    /// Longest wait for new records, whatever the caller asks for.
    pub wait_max: Duration,
    /// Extents that one fetch reads of one partition.
    pub extents_max: usize,
    /// Reads of the bucket that one fetch has in flight.
    pub reads_in_flight: usize,
    /// Bytes of answers that are copies of what they are made from.
    pub memory_bytes: u64,
    /// Bytes of pages that are on their way from the bucket, and of those that answers are parts of: half
    /// each.
    pub pages_bytes: u64,
    /// Bytes of records that are being taken apart or put together, in the engine and its front ends.
    pub decode_bytes: u64,
    /// Extents kept in memory.
    pub cached_extents: u64,
    /// Bytes of lists of aborted transactions kept in memory.
    pub aborted_bytes: u64,
}

impl FetchSettings {
    /// Pages that answers are parts of.
    pub(crate) fn pages_kept(&self) -> MemoryShare {
        MemoryShare::new(self.pages_bytes / 2)
    }

    /// Pages on their way from the bucket.
    pub(crate) fn pages_in_flight(&self) -> MemoryShare {
        MemoryShare::new(self.pages_bytes / 2)
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            answer_bytes_max: 16 * 1024 * 1024,
            wait_max: Duration::from_secs(30),
            extents_max: 256,
            reads_in_flight: 8,
            memory_bytes: 32 * 1024 * 1024,
            pages_bytes: 64 * 1024 * 1024,
            decode_bytes: 64 * 1024 * 1024,
            cached_extents: 200_000,
            aborted_bytes: 4 * 1024 * 1024,
        }
    }
}

/// All settings of the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineSettings {
    /// The write path.
    pub append: AppendSettings,
    /// The read path.
    pub fetch: FetchSettings,
}
