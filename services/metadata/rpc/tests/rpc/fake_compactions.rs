//! Owners that have to compact what a test says.

use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidelog_metadata_api::*;
use tidelog_types::SegmentName;
use tokio::sync::watch;

use crate::fake::Fake;

/// A call of `replace`.
pub(crate) type Replaced = (MergeId, SegmentName, Vec<Extent>, Vec<Extent>);

/// What a test sees and says of compactions.
#[derive(Debug, Default)]
pub(crate) struct Compacting {
    tasks: Mutex<VecDeque<CompactionTask>>,
    given: watch::Sender<usize>,
    pub(crate) replaced: Mutex<Vec<Replaced>>,
    pub(crate) compacted: Mutex<Vec<(MergeId, Compacted, bool)>>,
    pub(crate) held: Mutex<Vec<(MergeId, Option<String>)>>,
    /// What is answered from now on, in place of what was asked for.
    pub(crate) error: Mutex<Option<MergeError>>,
}

impl Compacting {
    pub(crate) fn give(&self, task: CompactionTask) {
        self.tasks.lock().push_back(task);
        self.given.send_modify(|given| *given += 1);
    }

    fn check(&self) -> Result<(), MergeError> {
        self.error.lock().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Compactions for Fake {
    async fn next_compaction(&self) -> Result<CompactionTask, MergeError> {
        self.compacting.check()?;
        let mut given = self.compacting.given.subscribe();
        loop {
            given.borrow_and_update();
            if let Some(task) = self.compacting.tasks.lock().pop_front() {
                return Ok(task);
            }
            given.changed().await.expect("the sender is here");
        }
    }

    async fn replace(
        &self,
        id: MergeId,
        segment: SegmentName,
        old: Vec<Extent>,
        new: Vec<Extent>,
    ) -> Result<SwapOutcome, MergeError> {
        self.compacting.check()?;
        let outcome = if new.len() < old.len() {
            SwapOutcome::Swapped
        } else {
            SwapOutcome::Changed
        };
        self.compacting
            .replaced
            .lock()
            .push((id, segment, old, new));
        Ok(outcome)
    }

    async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError> {
        self.compacting.check()?;
        self.compacting
            .compacted
            .lock()
            .push((id, compacted, is_last));
        Ok(())
    }

    async fn hold_compaction(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError> {
        self.compacting.check()?;
        self.compacting.held.lock().push((id, given_up));
        Ok(())
    }
}
