//! What is to be merged, from all owners of shards.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::FutureExt as _;
use tidelog_metadata_api::{
    IndexedSlice, Log, MergeError, MergeId, MergeTask, MergedRun, Merges, SwapOutcome,
};
use tidelog_types::SegmentName;

use super::Router;

#[async_trait]
impl Merges for Router {
    async fn next(&self) -> Result<MergeTask, MergeError> {
        let lent = &self.inner.merging;
        self.next_lent(lent, |parts| {
            async move { parts.merges.next().await }.boxed()
        })
        .await
    }

    async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        self.owner_of_merge(id)?.keep(id).await
    }

    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        let owner = self.owner_of_merge(id)?;
        owner.swap(id, segment, runs).await
    }

    async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        let owner = self.owner_of_merge(id)?;
        owner.describe(id, segment, slices).await
    }

    async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        let owner = self.owner_of_merge(id)?;
        owner.finish(id).await
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, MergeError> {
        let read = Log::inline_segment(self, segment).await;
        read.map_err(|error| MergeError::Unavailable {
            reason: error.to_string(),
        })
    }
}

impl Router {
    fn owner_of_merge(&self, id: MergeId) -> Result<Arc<dyn Merges>, MergeError> {
        Ok(self.lender(id)?.merges)
    }
}
