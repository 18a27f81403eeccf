//! What the service offers to janitors that compact.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tidelog_env::error_chain;
use tidelog_metadata_api::{
    Compacted, CompactionTask, Compactions, Extent, MergeError, MergeId, SwapOutcome,
};
use tidelog_types::SegmentName;

use super::MetadataService;
use crate::sequencer::NextCompaction;

#[async_trait]
impl Compactions for MetadataService {
    async fn next_compaction(&self) -> Result<CompactionTask, MergeError> {
        let mut news = self.inner.merge_news.subscribe();
        let mut topics = self.inner.catalogue.listen();
        loop {
            news.borrow_and_update();
            let mut wait: Option<Duration> = None;
            let mut failed = None;
            let mut shards = self.inner.shards.all();
            // None is first each time, so that one with much to do leaves room for the others.
            let turn = self.inner.compaction_turn.fetch_add(1, Ordering::Relaxed);
            let first = turn.checked_rem(shards.len()).unwrap_or_default();
            shards.rotate_left(first);
            for (shard, sequencer) in shards {
                match sequencer.compactions().next().await {
                    Ok(NextCompaction::Task(task)) => return Ok(task),
                    Ok(NextCompaction::Wait(time)) => {
                        wait = [wait, time].into_iter().flatten().min();
                    }
                    // The others have their turn all the same.
                    Err(error) => failed = Some((shard, error)),
                }
            }
            if let Some((shard, error)) = failed {
                return Err(MergeError::Unavailable {
                    reason: format!("shard {}: {}", shard.get(), error_chain(&error)),
                });
            }
            let clock = &self.inner.env.clock;
            tokio::select! {
                // The senders live as long as the service. Who has missed news looks as well.
                _ = news.changed() => {}
                _ = topics.recv() => {}
                () = async {
                    match wait {
                        // The wall clock may jump.
                        Some(wait) => clock.sleep(wait.min(SLEEP_MAX)).await,
                        None => std::future::pending().await,
                    }
                } => {}
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
        let sequencer = self.inner.merging(id)?;
        sequencer.compactions().replace(id, segment, old, new).await
    }

    async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError> {
        let sequencer = self.inner.merging(id)?;
        sequencer
            .compactions()
            .compacted(id, compacted, is_last)
            .await
    }

    async fn hold_compaction(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError> {
        self.inner
            .merging(id)?
            .compactions()
            .hold(id, given_up)
            .await
    }
}

/// Nobody sleeps longer without a look at the wall clock.
const SLEEP_MAX: Duration = Duration::from_hours(1);
