//! A janitor that merges, owners that a test speaks for, and a bucket.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tidelog_blob::faulty::FaultyStore;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{ObjectStore, ObjectStoreExt as _};
use tidelog_blob::{BucketLayout, ClusterLayout, MAIN};
use tidelog_env::{CancellationToken, Env};
use tidelog_format::location::Location;
use tidelog_metadata_api::{
    Extent, IndexedSlice, LogError, MergeError, MergeId, MergeTask, MergedRun, Merges,
    SWAP_RUNS_MAX, SwapOutcome,
};
use tidelog_types::{
    BucketId, ClusterId, Incarnation, SegmentName, SegmentSequence, TopicPartition,
};
use tokio::sync::watch;

use super::super::{MergeMetrics, MergeParts, MergeSettings, Writers, merge};
use super::history::History;

pub(super) const CLUSTER: ClusterId = ClusterId::from_bytes([9; 16]);
/// Who writes merged segments at first.
pub(super) const JANITOR: Incarnation = Incarnation::new(50);

/// What an owner answers to a call of `swap`, in place of taking everything.
pub(super) type Answer = Result<Vec<SwapOutcome>, MergeError>;

/// Owners of shards, and the keeper of writers.
#[derive(Debug, Default)]
pub(super) struct Owner {
    tasks: Mutex<VecDeque<MergeTask>>,
    pub(super) answers: Mutex<VecDeque<Answer>>,
    pub(super) swaps: Mutex<Vec<(MergeId, SegmentName, Vec<MergedRun>)>>,
    pub(super) swapped: Mutex<BTreeMap<TopicPartition, Vec<Extent>>>,
    pub(super) described: Mutex<Vec<(SegmentName, Vec<IndexedSlice>)>>,
    pub(super) kept: Mutex<Vec<u64>>,
    pub(super) finished: Mutex<Vec<u64>>,
    pub(super) floors: Mutex<Vec<(u64, u64)>>,
    pub(super) writers: Mutex<u64>,
    /// What lies in the metadata store.
    pub(super) inline: Mutex<BTreeMap<SegmentName, Bytes>>,
    changed: watch::Sender<u64>,
}

impl Owner {
    pub(super) fn give(&self, task: MergeTask) {
        self.tasks.lock().push_back(task);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Waits until something holds of what was heard.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        changed.wait_for(|_| holds(self)).await.unwrap();
    }

    /// Waits until so many tasks are finished.
    pub(super) async fn until_finished(&self, count: usize) {
        self.until(|owner| owner.finished.lock().len() >= count)
            .await;
    }

    fn heard(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Merges for Owner {
    async fn next(&self) -> Result<MergeTask, MergeError> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(task) = self.tasks.lock().pop_front() {
                return Ok(task);
            }
            changed.changed().await.unwrap();
        }
    }

    async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        self.kept.lock().push(id.number);
        self.heard();
        Ok(())
    }

    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        assert!(!runs.is_empty() && runs.len() <= SWAP_RUNS_MAX);
        let answer = self.answers.lock().pop_front();
        let answer = answer.unwrap_or_else(|| Ok(vec![SwapOutcome::Swapped; runs.len()]));
        if let Ok(outcomes) = &answer {
            for (run, outcome) in runs.iter().zip(outcomes) {
                if *outcome == SwapOutcome::Swapped {
                    let extents = run.extents.clone();
                    self.swapped.lock().insert(run.partition, extents);
                }
            }
        }
        self.swaps.lock().push((id, segment, runs));
        self.heard();
        answer
    }

    async fn describe(
        &self,
        _: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        self.described.lock().push((segment, slices));
        self.heard();
        let answer = self.answers.lock().pop_front();
        answer.map_or(Ok(()), |answer| answer.map(drop))
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, MergeError> {
        Ok(self.inline.lock().get(&segment).cloned())
    }

    async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        self.finished.lock().push(id.number);
        self.heard();
        Ok(())
    }
}

#[async_trait]
impl Writers for Owner {
    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        let mut writers = self.writers.lock();
        *writers += 1;
        Ok(Incarnation::new(JANITOR.get() + *writers))
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        self.floors.lock().push((incarnation.get(), floor.get()));
        self.heard();
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) env: Env,
    pub(super) objects: Arc<InMemory>,
    pub(super) way: FaultyStore,
    pub(super) layout: ClusterLayout,
    pub(super) owner: Arc<Owner>,
    pub(super) metrics: MergeMetrics,
    pub(super) settings: MergeSettings,
    pub(super) history: History,
    pub(super) stop: CancellationToken,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let env = Env::seeded(seed);
        let objects = Arc::new(InMemory::new());
        let below = Arc::clone(&objects) as Arc<dyn ObjectStore>;
        let way = FaultyStore::new(below, Arc::clone(&env.clock));
        Self {
            way,
            layout: BucketLayout::new(Path::default()).cluster(CLUSTER),
            owner: Arc::default(),
            metrics: MergeMetrics::new(&mut Registry::default()),
            settings: MergeSettings::default(),
            history: History::new(seed),
            stop: CancellationToken::new(),
            env,
            objects,
        }
    }

    /// Writes random segments for so many partitions of each topic.
    pub(super) async fn write(&mut self, segments: u32, partitions: u32) {
        for _ in 0..segments {
            let (objects, layout) = (&self.objects, &self.layout);
            self.history.segment(objects, layout, partitions).await;
        }
    }

    /// Writes a segment of batches of one record each, by partition and size.
    pub(super) async fn write_plain(&mut self, batches: &[(u32, usize)]) {
        let (objects, layout) = (&self.objects, &self.layout);
        self.history.plain(objects, layout, batches).await;
    }

    /// Moves segments that were written out of the bucket into the metadata store.
    pub(super) async fn move_into_store(&mut self, which: impl Fn(SegmentName) -> bool) {
        let mut moved = BTreeSet::new();
        let partitions = self.history.partitions.values_mut();
        for extent in partitions.flat_map(|known| &mut known.extents) {
            if let Location::Segment {
                bucket, segment, ..
            } = &mut extent.location
                && which(*segment)
            {
                *bucket = BucketId::STORE;
                moved.insert(*segment);
            }
        }
        for segment in moved {
            let object = self.object(segment).await;
            self.owner.inline.lock().insert(segment, object);
            let path = self.layout.segment(MAIN, segment);
            self.objects.delete(&path).await.unwrap();
        }
    }

    /// Begins to merge; ends with `stop`.
    pub(super) fn start(&self) -> tokio::task::JoinHandle<Option<()>> {
        let parts = MergeParts {
            env: self.env.clone(),
            merges: Arc::clone(&self.owner) as Arc<dyn Merges>,
            writers: Arc::clone(&self.owner) as Arc<dyn Writers>,
            objects: Arc::new(self.way.clone()),
            layout: self.layout.clone(),
            cluster: CLUSTER,
            writer: JANITOR,
            settings: self.settings,
            metrics: self.metrics.clone(),
            compaction: None,
        };
        let working = merge(parts, self.stop.clone());
        self.env.supervisor.spawn("merge", working)
    }

    /// Merges all that was written, once.
    pub(super) async fn merge_all(&self) {
        self.owner.give(self.history.task(1));
        let working = self.start();
        self.owner.until_finished(1).await;
        self.stop.cancel();
        working.await.unwrap();
    }

    pub(super) async fn object(&self, segment: SegmentName) -> Bytes {
        let path = self.layout.segment(MAIN, segment);
        let object = self.objects.get(&path).await.unwrap();
        object.bytes().await.unwrap()
    }

    /// The bytes of extents, one behind the other, each checked against its CRC.
    pub(super) async fn read(&self, extents: &[Extent]) -> Vec<u8> {
        let mut all = Vec::new();
        for extent in extents {
            let Location::Segment {
                segment,
                position,
                length,
                ..
            } = extent.location
            else {
                panic!("{extent:?} lies in a segment");
            };
            let start = position as usize;
            let bytes = self
                .object(segment)
                .await
                .slice(start..start + length as usize);
            assert_eq!(extent.crc32c, Some(tidelog_crc32c::crc32c(&bytes)));
            all.extend_from_slice(&bytes);
        }
        all
    }
}
