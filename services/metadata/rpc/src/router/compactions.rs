//! What is to be compacted, from all owners of shards.

use async_trait::async_trait;
use futures::future::FutureExt as _;
use tidelog_metadata_api::{
    Compacted, CompactionTask, Compactions, Extent, MergeError, MergeId, SwapOutcome,
};
use tidelog_types::SegmentName;

use super::Router;

#[async_trait]
impl Compactions for Router {
    async fn next_compaction(&self) -> Result<CompactionTask, MergeError> {
        let lent = &self.inner.compacting;
        self.next_lent(lent, |parts| {
            async move { parts.compactions.next_compaction().await }.boxed()
        })
        .await
    }

    async fn replace(
        &self,
        id: MergeId,
        segment: SegmentName,
        old: Vec<Extent>,
        new: Vec<Extent>,
    ) -> Result<SwapOutcome, MergeError> {
        let owner = self.lender(id)?.compactions;
        owner.replace(id, segment, old, new).await
    }

    async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError> {
        let owner = self.lender(id)?.compactions;
        owner.compacted(id, compacted, is_last).await
    }

    async fn hold_compaction(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError> {
        let owner = self.lender(id)?.compactions;
        owner.hold_compaction(id, given_up).await
    }
}
