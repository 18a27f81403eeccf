//! The aborted transactions in what is read.

use std::sync::Arc;

use moka::sync::Cache;
use tidelog_metadata_api::{AbortedTransaction, Log, LogError};
use tidelog_types::{Offset, OffsetRange, TopicPartition};

use super::{FetchedPartition, Isolation};

/// About what an answer takes in the cache besides its transactions.
const ENTRY_BYTES: usize = 128;

/// Aborted transactions of one partition, in the order of their markers. Cheap to clone.
pub(super) type Found = Arc<[AbortedTransaction]>;

/// Finds aborted transactions. What was once said of a range below the last stable offset holds for ever, so it is
/// kept for those who read the same. Clones share the cache.
#[derive(Clone, Debug)]
pub(super) struct Aborted {
    log: Arc<dyn Log>,
    cache: Cache<(TopicPartition, Offset, Offset), Found>,
}

impl Aborted {
    /// Keeps about so many bytes of answers.
    pub(super) fn new(log: Arc<dyn Log>, bytes: u64) -> Self {
        let weigh = |_: &_, found: &Found| {
            let bytes = ENTRY_BYTES + size_of_val::<[AbortedTransaction]>(found);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Self { log, cache }
    }

    /// Those that have a record in a range, which ends at the last stable offset or before.
    async fn find(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Found, LogError> {
        let key = (partition, offsets.base, offsets.next);
        if let Some(found) = self.cache.get(&key) {
            return Ok(found);
        }
        let found: Found = self.log.aborted(partition, offsets).await?.into();
        self.cache.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// Says of what was read from an offset on which transactions in it were aborted. Nobody is asked where there
    /// can be none.
    pub(super) async fn name(
        &self,
        mut read: FetchedPartition,
        from: Offset,
        isolation: Isolation,
    ) -> Result<FetchedPartition, LogError> {
        let may_have_some = isolation == Isolation::Committed
            && read.is_transactional
            && read.bounds.aborted_below > from;
        if may_have_some {
            let offsets = OffsetRange {
                base: from,
                next: read.next_offset,
            };
            read.aborted = self.find(read.partition, offsets).await?;
        }
        Ok(read)
    }
}
