//! The part of the task that owns a shard that does what merging asks of it, between groups, in small steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::{Extent, MergeError, MergedRun, SwapOutcome};
use tidelog_store::{KeyRange, ScanOptions};
use tidelog_types::{GroupNumber, SegmentName, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::super::actor::{Actor, Ended};
use super::super::compaction::NoteCompacted;
use super::super::error::{Next, SequencerError};
use super::windows::Unmerged;
use crate::keyspace::{MergedRow, TailRow};

/// Entries of the tail that a step deletes at most.
const TRIMMED_ROWS: usize = 500;

/// What is asked of the task.
#[derive(Debug)]
pub(crate) enum MergeMessage {
    /// Swap runs.
    Swap {
        segment: SegmentName,
        /// Each with what it was made of.
        runs: Vec<(Arc<[Extent]>, MergedRun)>,
        reply: oneshot::Sender<Result<Vec<SwapOutcome>, MergeError>>,
    },
    /// Take note that all up to a group is merged.
    Finish {
        merged: MergedRow,
        /// How many manifests, and bytes of them, that were.
        counts: (u64, u64),
        reply: oneshot::Sender<Result<(), MergeError>>,
    },
    /// Take note of how far a partition is compacted.
    Compacted(NoteCompacted),
}

/// What the task has yet to do for merges.
#[derive(Debug)]
pub(crate) struct MergeQueue {
    /// Up to which groups the tail goes, and when.
    trims: VecDeque<(MonoTime, GroupNumber)>,
    /// Whether the last step between groups was one of a merge.
    has_stepped: bool,
}

impl MergeQueue {
    /// What was merged before by whoever owned the shard goes as late as what is merged now.
    pub(crate) fn new(merged: GroupNumber, kept: MonoTime) -> Self {
        let trims = (merged > GroupNumber::default()).then_some((kept, merged));
        Self {
            trims: trims.into_iter().collect(),
            has_stepped: false,
        }
    }

    /// What comes after a group, every other time.
    pub(crate) fn turn(
        &mut self,
        messages: &mut mpsc::Receiver<MergeMessage>,
    ) -> Option<MergeMessage> {
        self.has_stepped = !self.has_stepped;
        let message = self.has_stepped.then(|| messages.try_recv().ok());
        message.flatten()
    }

    fn due(&mut self, now: MonoTime) -> Option<GroupNumber> {
        let mut due = None;
        while let Some((_, group)) = self.trims.front().filter(|(at, _)| *at <= now) {
            due = Some(*group);
            self.trims.pop_front();
        }
        due
    }
}

impl Actor {
    /// Does what was asked, and answers.
    pub(crate) async fn merge_step(&mut self, message: MergeMessage) -> Result<(), Ended> {
        match message {
            MergeMessage::Swap {
                segment,
                runs,
                reply,
            } => {
                let swapped = self.swap_all(segment, &runs).await?;
                // Who does not wait for it any more asks again, or does without.
                let _ = reply.send(swapped);
            }
            MergeMessage::Finish {
                merged,
                counts,
                reply,
            } => {
                let finished = self.finish_merge(merged, counts).await?;
                let _ = reply.send(finished);
            }
            MergeMessage::Compacted(note) => self.note_compacted(note).await?,
        }
        Ok(())
    }

    /// Deletes entries of the tail that were merged long ago. It comes only after a group (invariant I8).
    pub(crate) async fn trim_step(&mut self) -> Result<bool, Ended> {
        let now = self.parts.env.clock.now();
        let Some(group) = self.merges.due(now) else {
            return Ok(false);
        };
        match self.try_trim(group).await {
            Ok(false) => {}
            Ok(true) => self.merges.trims.push_front((now, group)),
            Err(error) if error.next() == Next::Fenced => return Err(self.end(Vec::new(), &error)),
            Err(error) => {
                self.warn("merged entries of the tail were not deleted", &error);
                // What lands late is true all the same.
                let later = now + Duration::from_mins(1);
                self.merges.trims.push_front((later, group));
            }
        }
        Ok(true)
    }

    /// Deletes some entries, from the first on; returns whether there are more.
    async fn try_trim(&self, group: GroupNumber) -> Result<bool, SequencerError> {
        let (keys, shard) = (self.parts.keys, self.lease.shard);
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let start = keys.tail_of(shard).start;
        let range = KeyRange::new(start.clone(), keys.tail_after(shard, group).start);
        let options = ScanOptions::limit(TRIMMED_ROWS).snapshot();
        let found = transaction.scan(range, options).await?;
        let Some((last, _)) = found.rows.last() else {
            return Ok(false);
        };
        transaction.delete_range(KeyRange::new(start, KeyRange::successor(last)));
        transaction.commit().await?;
        Ok(found.more)
    }

    /// Tells janitors what there is to merge.
    pub(crate) fn publish_unmerged(&self) {
        let unmerged = Unmerged {
            checkpoint: self.state.checkpoint,
            merged: self.state.merged,
            since: self.state.tail_since,
            is_much_inline: self.inlined.is_much(self.parts.settings.inline_bytes_max),
            ..self.unmerged
        };
        self.unmerged_shown.send_replace(unmerged);
        self.parts.merge_news.send_replace(());
    }

    // ----- the end of a window ----------------------------------------------------------------------

    async fn finish_merge(
        &mut self,
        merged: MergedRow,
        (manifests, bytes): (u64, u64),
    ) -> Result<Result<(), MergeError>, Ended> {
        match self.try_finish(merged).await {
            Ok(tail_since) => {
                let clock = &self.parts.env.clock;
                let kept = clock.now() + self.parts.settings.tail_kept;
                self.merges.trims.push_back((kept, merged.group));
                self.state.merged = self.state.merged.max(merged.group);
                self.inlined.merged(self.state.merged);
                self.state.tail_since = tail_since;
                self.unmerged.merged(manifests, bytes, tail_since);
                self.publish_unmerged();
                Ok(Ok(()))
            }
            Err(error) => {
                self.parts.metrics.merging.failures.inc();
                self.warn("it was not noted what is merged", &error);
                if let Err(error) = self.recover_patiently().await {
                    return Err(self.end(Vec::new(), &error));
                }
                Ok(Err(MergeError::Unavailable {
                    reason: error.to_string(),
                }))
            }
        }
    }

    /// Writes how far it has come; returns the commit time of the first entry of the tail behind it.
    async fn try_finish(&self, merged: MergedRow) -> Result<Option<Timestamp>, SequencerError> {
        let (keys, shard) = (self.parts.keys, self.lease.shard);
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let rest = keys.tail_after(shard, merged.group);
        let first = transaction
            .scan(rest, ScanOptions::limit(1).snapshot())
            .await?;
        let first = first.rows.into_iter().next();
        let first = first.map(|(_, value)| TailRow::decode(value)).transpose()?;
        transaction.put(keys.merged(shard), merged.encode());
        transaction.commit().await?;
        Ok(first.map(|row| row.commit_time()))
    }
}
