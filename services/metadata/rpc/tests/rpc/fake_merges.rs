//! Owners that have to merge what a test says.

use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidelog_metadata_api::*;
use tidelog_types::SegmentName;
use tokio::sync::watch;

use crate::fake::Fake;

/// What a test sees and says of merges.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    tasks: Mutex<VecDeque<MergeTask>>,
    given: watch::Sender<usize>,
    /// How many wait for a task.
    pub(crate) waiting: watch::Sender<usize>,
    pub(crate) swaps: Mutex<Vec<(MergeId, SegmentName, Vec<MergedRun>)>>,
    pub(crate) kept: Mutex<Vec<MergeId>>,
    pub(crate) described: Mutex<Vec<(MergeId, SegmentName, Vec<IndexedSlice>)>>,
    pub(crate) finished: Mutex<Vec<MergeId>>,
    /// What is answered from now on, in place of what was asked for.
    pub(crate) error: Mutex<Option<MergeError>>,
}

impl Merging {
    pub(crate) fn give(&self, task: MergeTask) {
        self.tasks.lock().push_back(task);
        self.given.send_modify(|given| *given += 1);
    }

    fn check(&self) -> Result<(), MergeError> {
        self.error.lock().clone().map_or(Ok(()), Err)
    }
}

/// Counts one that waits.
struct Waits<'a>(&'a watch::Sender<usize>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[async_trait]
impl Merges for Fake {
    async fn next(&self) -> Result<MergeTask, MergeError> {
        self.merging.check()?;
        self.merging.waiting.send_modify(|waiting| *waiting += 1);
        let _waits = Waits(&self.merging.waiting);
        let mut given = self.merging.given.subscribe();
        loop {
            given.borrow_and_update();
            if let Some(task) = self.merging.tasks.lock().pop_front() {
                return Ok(task);
            }
            given.changed().await.expect("the sender is here");
        }
    }

    async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        self.merging.check()?;
        self.merging.kept.lock().push(id);
        Ok(())
    }

    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        self.merging.check()?;
        let outcomes = (0..runs.len()).map(|at| match at % 3 {
            1 => SwapOutcome::Changed,
            _ => SwapOutcome::Swapped,
        });
        let outcomes = outcomes.collect();
        self.merging.swaps.lock().push((id, segment, runs));
        Ok(outcomes)
    }

    async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        self.merging.check()?;
        self.merging.described.lock().push((id, segment, slices));
        Ok(())
    }

    async fn inline_segment(
        &self,
        _: tidelog_types::SegmentName,
    ) -> Result<Option<bytes::Bytes>, MergeError> {
        Ok(None)
    }

    async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        self.merging.check()?;
        self.merging.finished.lock().push(id);
        Ok(())
    }
}
