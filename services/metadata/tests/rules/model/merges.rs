//! Merges among the random steps: a janitor that has no objects makes merged extents, some of them only half, and what
//! readers find is followed back to what it was made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelog_format::location::Location;
use tidelog_format::marker::MARKER_BATCH_BYTES;
use tidelog_metadata_api::{
    Extent, IndexedSlice, MergeError, MergeRun, MergeTask, MergedRun, Merges as _, SwapOutcome,
};
use tidelog_types::{
    BucketId, Incarnation, OffsetRange, SegmentName, SegmentSequence, Timestamp, TopicPartition,
};

use super::drive::Driver;
use crate::world::{PARTITIONS, Run, partition};

/// The first of the sequences that merged segments have.
pub(super) const MERGED: u64 = 1_000_000;
/// The writer of merged segments.
const JANITOR: Incarnation = Incarnation::new(77);

/// Every merged extent that was ever made, by its segment and partition: its offsets, and what it is made of.
pub(super) type Made = BTreeMap<(u64, TopicPartition), Vec<(OffsetRange, Vec<Run>)>>;

/// What runs of merged segments were made of, and the others as they are.
pub(super) fn followed(made: &Made, partition: TopicPartition, log: &[Run]) -> Vec<Run> {
    let mut all = Vec::new();
    for run in log {
        let Some(extents) = made.get(&(run.sequence, partition)) else {
            all.push(*run);
            continue;
        };
        let is_it = |(offsets, _): &&(OffsetRange, Vec<Run>)| {
            (offsets.base.get(), offsets.next.get()) == (run.base, run.next)
        };
        let found = extents.iter().find(is_it);
        let (_, from) = found.unwrap_or_else(|| panic!("{run:?} of {partition} was never made"));
        all.extend(from);
    }
    all
}

const fn bytes(extent: &Extent) -> u32 {
    match extent.location {
        Location::Segment { length, .. } => length,
        Location::Marker(_) => MARKER_BATCH_BYTES,
        Location::Inline { .. } => 0,
    }
}

impl Driver {
    /// A janitor asks for a merge, and perhaps dies in the middle of it.
    pub(super) async fn merge(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(10), self.process.next());
        let task = match next.await {
            Ok(Ok(task)) => task,
            Ok(Err(MergeError::Unavailable { .. })) | Err(_) => return,
            Ok(Err(error)) => panic!("seed {}: {error}", self.seed),
        };
        if !task.sparse.is_empty() {
            return self.describe(&task).await;
        }
        self.merges += 1;
        let sequence = SegmentSequence::new(MERGED + self.merges);
        let segment = SegmentName::new(JANITOR, sequence);
        let runs = self.made_of(segment, &task);
        for some in runs.chunks(1 + self.below(3)) {
            if self.chance(10) {
                return;
            }
            if self.chance(20) {
                self.fail_some();
            }
            match self.process.swap(task.id, segment, some.to_vec()).await {
                Ok(outcomes) => {
                    assert_eq!(outcomes.len(), some.len(), "seed {}", self.seed);
                    let swapped = |outcome: &&SwapOutcome| **outcome == SwapOutcome::Swapped;
                    let swapped = outcomes.iter().filter(swapped).count();
                    self.swapped += swapped;
                    let from = segments_of(&task);
                    if from.iter().any(|sequence| *sequence > MERGED) {
                        self.again += swapped;
                    }
                    if from.is_subset(&self.sparse) {
                        self.rewritten += swapped;
                    }
                }
                // Asked again it says the same of what was done, and does the rest.
                Err(MergeError::Unavailable { .. }) if self.chance(50) => {
                    drop(self.process.swap(task.id, segment, some.to_vec()).await);
                }
                Err(MergeError::Unavailable { .. } | MergeError::Gone) => return,
                Err(error) => panic!("seed {}: {error}", self.seed),
            }
        }
        match self.process.finish(task.id).await {
            Ok(()) | Err(MergeError::Unavailable { .. } | MergeError::Gone) => {}
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    /// Tells what sparse segments have, and perhaps dies in the middle of it.
    async fn describe(&mut self, task: &MergeTask) {
        for segment in &task.sparse {
            let slices = self.index_of(*segment);
            self.sparse.insert(segment.sequence.get());
            for some in slices.chunks(1 + self.below(3)) {
                if self.chance(5) {
                    return;
                }
                if self.chance(10) {
                    self.fail_some();
                }
                match self
                    .process
                    .describe(task.id, *segment, some.to_vec())
                    .await
                {
                    Ok(()) | Err(MergeError::Unavailable { .. }) => {}
                    Err(MergeError::Gone) => return,
                    Err(error) => panic!("seed {}: {error}", self.seed),
                }
            }
        }
        match self.process.finish(task.id).await {
            Ok(()) | Err(MergeError::Unavailable { .. } | MergeError::Gone) => {}
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    /// What the index of a segment would say; nothing of one that no janitor has made.
    fn index_of(&self, segment: SegmentName) -> Vec<IndexedSlice> {
        let made = self.made.borrow();
        let of = |at| (segment.sequence.get(), at);
        let all = (0..PARTITIONS).map(partition);
        let slices = all.filter_map(|at| {
            let extents = made.get(&of(at))?;
            let (first, last) = extents.first().zip(extents.last())?;
            Some(IndexedSlice {
                partition: at,
                offsets: OffsetRange {
                    base: first.0.base,
                    next: last.0.next,
                },
            })
        });
        slices.collect()
    }

    /// Joins some extents of each run, one behind the other in one segment.
    fn made_of(&mut self, segment: SegmentName, task: &MergeTask) -> Vec<MergedRun> {
        let mut position = 40;
        let runs = task.runs.iter();
        let runs = runs.map(|run| self.run_of((task.bucket, segment), run, &mut position));
        runs.collect::<Vec<_>>()
    }

    fn run_of(
        &self,
        (bucket, segment): (BucketId, SegmentName),
        run: &MergeRun,
        position: &mut u32,
    ) -> MergedRun {
        let mut rest = run.extents.as_slice();
        let mut extents = Vec::new();
        while !rest.is_empty() {
            let (some, behind) = rest.split_at(rest.len().min(1 + self.below(4)));
            rest = behind;
            let length = some.iter().map(bytes).sum();
            let offsets = OffsetRange {
                base: some.first().expect("at least one").offsets.base,
                next: some.last().expect("at least one").offsets.next,
            };
            let times = some.iter().map(|extent| extent.max_timestamp);
            extents.push(Extent {
                offsets,
                location: Location::Segment {
                    bucket,
                    segment,
                    position: *position,
                    length,
                },
                crc32c: None,
                max_timestamp: times.max().unwrap_or(Timestamp::NONE),
            });
            *position += length;
            let runs = some.iter();
            let runs = runs
                .map(|extent| Run::of(&extent.location, extent.offsets.base, extent.offsets.next));
            let runs: Vec<Run> = runs.collect();
            let key = (segment.sequence.get(), run.partition);
            let runs = followed(&self.made.borrow(), run.partition, &runs);
            self.made
                .borrow_mut()
                .entry(key)
                .or_default()
                .push((offsets, runs));
        }
        MergedRun {
            partition: run.partition,
            extents,
        }
    }
}

/// What it is made of.
fn segments_of(task: &MergeTask) -> BTreeSet<u64> {
    let extents = task.runs.iter().flat_map(|run| &run.extents);
    let segments = extents.filter_map(|extent| match extent.location {
        Location::Segment { segment, .. } => Some(segment.sequence.get()),
        Location::Inline { .. } | Location::Marker(_) => None,
    });
    segments.collect()
}
