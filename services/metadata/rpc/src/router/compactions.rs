//! What is to be compacted, of the shards of this process: others compact theirs themselves.

use std::sync::Arc;

use async_trait::async_trait;
use tidelog_metadata_api::{
    Compacted, CompactionTask, Compactions, Extent, MergeError, MergeId, SwapOutcome,
};
use tidelog_types::SegmentName;

use super::{LocalMember, Router};

#[async_trait]
impl Compactions for Router {
    async fn next_compaction(&self) -> Result<CompactionTask, MergeError> {
        let Some(mut local) = self.inner.local.clone() else {
            return std::future::pending().await;
        };
        loop {
            let parts = local.active().await;
            let asked = async {
                match parts.compactions {
                    Some(compactions) => compactions.next_compaction().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                task = asked => return task,
                () = local.changed() => {}
            }
        }
    }

    async fn replace(
        &self,
        id: MergeId,
        segment: SegmentName,
        old: Vec<Extent>,
        new: Vec<Extent>,
    ) -> Result<SwapOutcome, MergeError> {
        self.local_compactions()?
            .replace(id, segment, old, new)
            .await
    }

    async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError> {
        self.local_compactions()?
            .compacted(id, compacted, is_last)
            .await
    }

    async fn hold_compaction(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError> {
        self.local_compactions()?
            .hold_compaction(id, given_up)
            .await
    }
}

impl Router {
    fn local_compactions(&self) -> Result<Arc<dyn Compactions>, MergeError> {
        let local = self.inner.local.as_ref();
        let parts = local.and_then(LocalMember::parts);
        parts
            .and_then(|parts| parts.compactions)
            .ok_or(MergeError::Gone)
    }
}
