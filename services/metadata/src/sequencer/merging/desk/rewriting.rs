//! What is left of sparse segments: janitors say what these have, and make of it what is planned then.
//!
//! ```text
//!   noted --> a janitor reads their indexes --> what pages still name --> tasks as of other merges
//! ```

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::{DESCRIBED_SLICES_MAX, IndexedSlice, MergeError, MergeId};
use tidelog_store::KeyRange;
use tidelog_types::{BucketId, SegmentName, Timestamp};

use super::super::super::error::SequencerError;
use super::super::plan::{Planned, Planning, SEGMENTS_MAX};
use super::super::plan_sparse::{Left, Rewrites};
use super::super::windows::{Due, MergeSettings};
use super::{Desk, Lending, NextMerge, State, malformed};

/// How often some live bytes are looked at, after a takeover.
const SEEN_EVERY: Duration = Duration::from_secs(1);

/// Sparse segments that are written anew.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    /// The live bytes that are yet to be looked at, once.
    unseen: Option<KeyRange>,
    /// The task of whoever looks into some of them.
    looking: Vec<Lending>,
    /// What was found.
    left: Left,
    tasks: Vec<Lending>,
}

impl Rewriting {
    /// Of an owner that has just come.
    pub(super) fn new(planning: &Planning, settings: &MergeSettings) -> Self {
        Self {
            unseen: settings.rewrites().then(|| planning.live_bytes()),
            ..Self::default()
        }
    }

    /// All that is lent.
    pub(super) fn tasks(&mut self) -> impl Iterator<Item = &mut Lending> {
        self.looking.iter_mut().chain(&mut self.tasks)
    }
}

/// Segments that are not noted any more, and wait anew if nobody sees to them, as when who asks goes away.
struct Taken<'a> {
    desk: &'a Desk,
    segments: Vec<SegmentName>,
}

impl Taken<'_> {
    fn are_seen_to(mut self) {
        self.segments.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.desk.put_off(&self.segments);
    }
}

impl Desk {
    /// What is left of sparse segments, or such segments to look into.
    pub(super) async fn next_rewrite(
        &self,
        state: &mut State,
    ) -> Result<NextMerge, SequencerError> {
        loop {
            if let Some(next) = self.lend(&mut state.rewriting.tasks) {
                return Ok(next);
            }
            state.rewriting.tasks.clear();
            if let Some(next) = self.lend(&mut state.rewriting.looking) {
                return Ok(next);
            }
            if let Some(looked) = state.rewriting.looking.pop() {
                let taken = self.taken(&looked.task.sparse);
                self.plan_rewrites(state).await?;
                taken.are_seen_to();
                continue;
            }
            if self.sparse.take_missed() {
                state.rewriting.unseen = Some(self.planning.live_bytes());
            }
            if let Some(range) = state.rewriting.unseen.clone() {
                self.see_live_bytes(state, range).await?;
                if state.rewriting.unseen.is_some() {
                    return Ok(NextMerge::Wait(Some(SEEN_EVERY)));
                }
            }
            let now = self.clock.now();
            match self.sparse.due(&self.settings, now) {
                Due::Now => self.look_into_some(state, now).await?,
                Due::In(left) => return Ok(NextMerge::Wait(Some(left))),
                Due::Never => return Ok(NextMerge::Wait(None)),
            }
        }
    }

    /// Looks at some live bytes for segments that were sparse before this owner came.
    async fn see_live_bytes(
        &self,
        state: &mut State,
        range: KeyRange,
    ) -> Result<(), SequencerError> {
        let rows = self.planning.live_rows(range).await?;
        state.rewriting.unseen = rows.rest;
        let now = self.clock.now();
        for (segment, live) in rows.found {
            self.sparse
                .note(&self.settings.rewrite, segment, &live, now);
        }
        Ok(())
    }

    /// Makes up the task of whoever is to say what some sparse segments have.
    async fn look_into_some(&self, state: &mut State, now: MonoTime) -> Result<(), SequencerError> {
        let bytes_max = self.settings.bytes.saturating_mul(SEGMENTS_MAX);
        let taken = self.sparse.take(&self.settings, bytes_max, now);
        let taken = self.taken(&taken);
        // One that was put off may have died since it was looked into.
        let alive = self.planning.alive(&taken.segments).await?.into_iter();
        taken.are_seen_to();
        let alive = alive.filter(|(_, live)| self.settings.rewrite.are_for(live));
        let sparse: Vec<SegmentName> = alive.map(|(segment, _)| segment).collect();
        if sparse.is_empty() {
            return Ok(());
        }
        let nothing = Planned {
            bucket: BucketId::new(0),
            bytes: 0,
            runs: Vec::new(),
        };
        let mut looking = self.lendings(&mut state.number, vec![nothing], Timestamp::NONE);
        for task in &mut looking {
            Arc::make_mut(&mut task.task).sparse.clone_from(&sparse);
        }
        state.rewriting.left = Left::default();
        state.rewriting.looking = looking;
        Ok(())
    }

    /// Makes tasks of what was found in sparse segments.
    async fn plan_rewrites(&self, state: &mut State) -> Result<(), SequencerError> {
        let left = std::mem::take(&mut state.rewriting.left);
        let age = i64::try_from(self.settings.rewrite.age.as_millis()).unwrap_or(i64::MAX);
        let today = self.clock.wall();
        let before = Timestamp::from_millis(today.as_millis().saturating_add(age));
        let Rewrites {
            segments,
            committed_at,
            put_off,
            resting,
        } = self.planning.rewrites(left, today, before).await?;
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        self.metrics.rewritten_bytes.inc_by(bytes);
        let now = self.clock.now();
        for (segment, live) in put_off {
            self.sparse.put_off(segment, live, now);
        }
        for (segment, live) in resting {
            self.sparse.rest(segment, live, now);
        }
        state.rewriting.tasks = self.lendings(&mut state.number, segments, committed_at);
        Ok(())
    }

    fn taken(&self, segments: &[SegmentName]) -> Taken<'_> {
        Taken {
            desk: self,
            segments: segments.to_vec(),
        }
    }

    /// Segments wait anew.
    fn put_off(&self, segments: &[SegmentName]) {
        let now = self.clock.now();
        for segment in segments {
            self.sparse.put_off(*segment, 0, now);
        }
    }

    /// Takes note of what the index of a sparse segment says.
    pub(crate) async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        if slices.len() > DESCRIBED_SLICES_MAX {
            return Err(malformed("there are too many slices"));
        }
        let is_full = {
            let mut state = self.state.lock().await;
            let is_full = state.rewriting.left.is_full();
            let task = state.task(id).filter(|task| !task.is_finished);
            let task = task.ok_or(MergeError::Gone)?;
            if !task.task.sparse.contains(&segment) {
                return Err(malformed("nobody asked for that segment"));
            }
            task.lent_until = Some(self.clock.now() + self.settings.lent_for);
            is_full
        };
        if is_full {
            // It is planned without it.
            self.put_off(&[segment]);
            return Ok(());
        }
        let left = self.planning.left_of(segment, &slices).await;
        let left = left.map_err(|error| MergeError::Unavailable {
            reason: error.to_string(),
        })?;
        let mut state = self.state.lock().await;
        let rewriting = &mut state.rewriting;
        let is_it = rewriting.looking.iter().any(|task| task.task.id == id);
        if !is_it {
            return Err(MergeError::Gone);
        }
        rewriting.left.take(left);
        Ok(())
    }
}
