//! The log as whoever compacts it needs it.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tidelog_metadata_api::{AbortedTransaction, Extent, Log, LogError, LookupRequest};
use tidelog_types::{Offset, OffsetRange, TopicPartition};

/// What is where in the log of a partition: this part of a [`Log`].
#[async_trait]
pub trait History: Debug + Send + Sync + 'static {
    /// Where the log starts.
    async fn log_start(&self, partition: TopicPartition) -> Result<Offset, LogError>;

    /// Extents from the one on that has an offset: enough for about so many bytes, and no more than so many.
    async fn extents(
        &self,
        partition: TopicPartition,
        offset: Offset,
        bytes_max: u64,
        extents_max: usize,
    ) -> Result<Vec<Extent>, LogError>;

    /// The aborted transactions with records in a range below the last stable offset.
    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError>;
}

#[async_trait]
impl History for Arc<dyn Log> {
    async fn log_start(&self, partition: TopicPartition) -> Result<Offset, LogError> {
        Ok(self.bounds(partition).await?.log_start)
    }

    async fn extents(
        &self,
        partition: TopicPartition,
        offset: Offset,
        bytes_max: u64,
        extents_max: usize,
    ) -> Result<Vec<Extent>, LogError> {
        let request = LookupRequest {
            partition,
            offset,
            bytes_max,
            extents_max,
        };
        Ok(self.lookup(request).await?.extents)
    }

    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        self.as_ref().aborted(partition, offsets).await
    }
}
