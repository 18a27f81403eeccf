//! What the service offers to janitors that merge.

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, select};
use tidelog_metadata_api::{
    IndexedSlice, MergeError, MergeId, MergeTask, MergedRun, Merges, SwapOutcome,
};
use tidelog_types::SegmentName;

use super::{Inner, MetadataService};
use crate::sequencer::{NextMerge, Sequencer};

#[async_trait]
impl Merges for MetadataService {
    async fn next(&self) -> Result<MergeTask, MergeError> {
        let mut news = self.inner.merge_news.subscribe();
        loop {
            news.borrow_and_update();
            let mut wait = None;
            let mut failed = None;
            for (_, sequencer) in self.inner.shards.all() {
                match sequencer.desk().next().await {
                    Ok(NextMerge::Task(task)) => return Ok(task),
                    Ok(NextMerge::Wait(None)) => {}
                    Ok(NextMerge::Wait(Some(time))) => {
                        wait = Some(wait.map_or(time, |wait: std::time::Duration| wait.min(time)));
                    }
                    // The other shards may have something.
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(MergeError::Unavailable {
                    reason: error.to_string(),
                });
            }
            let told = news.changed().boxed();
            let Some(wait) = wait else {
                // The sender lives as long as the service.
                drop(told.await);
                continue;
            };
            match select(told, self.inner.env.clock.sleep(wait)).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        self.inner.merging(id)?.desk().keep(id).await
    }

    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        let sequencer = self.inner.merging(id)?;
        sequencer.desk().swap(id, segment, runs).await
    }

    async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        let sequencer = self.inner.merging(id)?;
        sequencer.desk().describe(id, segment, slices).await
    }

    async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        self.inner.merging(id)?.desk().finish(id).await
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, MergeError> {
        let read = self.inner.touch.answer(self.inner.inline(segment)).await;
        read.map_err(|error| MergeError::Unavailable {
            reason: error.to_string(),
        })
    }
}

impl Inner {
    /// The owner that has made a merge up, if it is here.
    pub(super) fn merging(&self, id: MergeId) -> Result<std::sync::Arc<Sequencer>, MergeError> {
        let sequencer = self.shards.get(id.shard).map_err(|_| MergeError::Gone)?;
        if sequencer.epoch() == id.epoch {
            Ok(sequencer)
        } else {
            Err(MergeError::Gone)
        }
    }
}
