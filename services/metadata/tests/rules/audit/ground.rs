//! A log whose segments are real: what metadata names is in a bucket, whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidelog_blob::buckets::{Beside, Routed};
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use tidelog_blob::{BucketLayout, ClusterLayout, MAIN};
use tidelog_env::Env;
use tidelog_format::batch::{BatchBuf, BatchBuilder, Compression, ProducerStamp};
use tidelog_format::extent::place;
use tidelog_format::location::Location;
use tidelog_format::segment::{MergedWriter, NewSlice, Nonce, SegmentIdentity, SegmentWriter};
use tidelog_metadata::audit::{Audit, AuditError, AuditOptions, Report, Verify};
use tidelog_metadata::{MergeSettings, SequencerSettings};
use tidelog_metadata_api::{
    BatchPosition, Catalogue as _, Extent, Log as _, MergeTask, MergedRun, Merges as _,
    ShardCommit, SwapOutcome, TopicInfo, TopicSelector,
};
use tidelog_store::{RowSource, Store as _};
use tidelog_types::{
    BucketId, ClusterId, Incarnation, SegmentName, SegmentSequence, Timestamp, TopicName,
};

use crate::manifests::segment;
use crate::transactions::of;
use crate::world::{Process, World, partition, settings};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([9; 16]);
/// Who writes.
pub(crate) const WRITER: Incarnation = Incarnation::new(1);
/// Who merges.
pub(crate) const MERGER: Incarnation = Incarnation::new(2);

pub(crate) const fn written(sequence: u64) -> SegmentName {
    SegmentName::new(WRITER, SegmentSequence::new(sequence))
}

pub(crate) const fn merged(sequence: u64) -> SegmentName {
    SegmentName::new(MERGER, SegmentSequence::new(sequence))
}

/// A cluster with a bucket.
pub(crate) struct Ground {
    pub(crate) world: World,
    pub(crate) process: Process,
    pub(crate) objects: Arc<InMemory>,
    pub(crate) layout: ClusterLayout,
    /// Where segments are put from now on.
    pub(crate) bucket: BucketId,
    beside: Arc<InMemory>,
    pub(crate) env: Env,
}

/// A batch whose records say which they are.
pub(crate) fn batch(first: u64, records: u64, stamp: Option<ProducerStamp>) -> BatchBuf {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for number in first..first + records {
        let value = format!("record {number}");
        builder
            .append(
                Timestamp::from_millis(1_000 + i64::try_from(number).expect("it is good")),
                None,
                Some(value.as_bytes()),
                &[],
            )
            .expect("it is good");
    }
    builder.finish(stamp).expect("it is good")
}

impl Ground {
    /// With some extents in pages and some in the tail; a merge may come at any time.
    pub(crate) async fn new(checkpoint_manifests: u32) -> Self {
        let merge = MergeSettings {
            age: Duration::ZERO,
            ..MergeSettings::default()
        };
        let world = World::with(SequencerSettings {
            merge,
            ..settings(checkpoint_manifests)
        });
        let process = world.open().await;
        for expected in [WRITER, MERGER] {
            let given = process.register_writer().await.expect("durable");
            assert_eq!(given, expected);
        }
        let env = process.env.clone();
        Self {
            world,
            process,
            objects: Arc::new(InMemory::new()),
            layout: BucketLayout::new(Path::default()).cluster(CLUSTER),
            bucket: MAIN,
            beside: Arc::default(),
            env,
        }
    }

    pub(crate) async fn topic(&self) -> Arc<TopicInfo> {
        let name = TopicName::new("log").expect("it is good");
        let topic = self.process.topic(&TopicSelector::Name(name)).await;
        topic.expect("it is there")
    }

    /// The main bucket, and number 1 beside it.
    pub(crate) fn all(&self) -> Arc<dyn ObjectStore> {
        let main = Arc::<InMemory>::clone(&self.objects);
        let beside = Beside {
            number: BucketId::new(1),
            store: Arc::<InMemory>::clone(&self.beside),
            layout: BucketLayout::new(Path::from("beside")).cluster(CLUSTER),
            storage_class: None,
        };
        Arc::new(Routed::new(main, self.layout.clone(), [beside]))
    }

    pub(crate) async fn put(&self, name: SegmentName, chunks: Vec<Bytes>) {
        let path = self.layout.segment(self.bucket, name);
        let payload: PutPayload = chunks.into_iter().collect();
        self.all().put(&path, payload).await.expect("memory");
    }

    pub(crate) async fn get(&self, name: SegmentName) -> Bytes {
        let path = self.layout.segment(MAIN, name);
        let got = self.objects.get(&path).await.expect("it is there");
        got.bytes().await.expect("memory")
    }

    pub(crate) async fn delete(&self, name: SegmentName) {
        let deleted = self.objects.delete(&self.layout.segment(MAIN, name)).await;
        deleted.expect("memory");
    }

    /// Puts a segment with these batches, each for a partition, and commits it.
    pub(crate) async fn append(&self, sequence: u64, batches: &[(u32, BatchBuf)]) {
        let commit = self.put_written(sequence, batches).await;
        self.process.send_until_answered(&commit).await;
    }

    /// Commits a segment of one record together with its bytes.
    pub(crate) async fn append_in_store(&self, sequence: u64, first: u64) {
        let batches = vec![batch(first, 1, None)];
        self.append_all_in_store(sequence, batches).await;
    }

    /// Commits a segment of these batches of one partition together with its bytes.
    pub(crate) async fn append_all_in_store(&self, sequence: u64, batches: Vec<BatchBuf>) {
        let topic = self.topic().await;
        let mut writer = SegmentWriter::new();
        let shard = topic.partitions[0].shard;
        for batch in batches {
            let pushed = writer.push(topic.id, partition(0), shard, batch);
            pushed.expect("there is room");
        }
        let identity = identity(BucketId::STORE, written(sequence));
        let sealed = writer.seal(&identity).expect("it has batches");
        let commit = ShardCommit {
            inline: Some(sealed.chunks.concat().into()),
            manifest: sealed.manifests.into_iter().next().expect("one shard"),
            ..segment(sequence).done()
        };
        self.process.send_until_answered(&commit).await;
    }

    /// Puts a segment and leaves its commit to the caller.
    pub(crate) async fn put_written(
        &self,
        sequence: u64,
        batches: &[(u32, BatchBuf)],
    ) -> ShardCommit {
        let plain = batches
            .iter()
            .map(|(index, batch)| (*index, batch.clone(), None));
        self.put_numbered(sequence, &plain.collect::<Vec<_>>())
            .await
    }

    /// The same with batches of transactions, each with its number.
    pub(crate) async fn put_numbered(
        &self,
        sequence: u64,
        batches: &[(u32, BatchBuf, Option<u64>)],
    ) -> ShardCommit {
        let topic = self.topic().await;
        let mut writer = SegmentWriter::new();
        for (index, batch, _) in batches {
            let shard = topic.partitions[*index as usize].shard;
            let pushed = writer.push(topic.id, partition(*index), shard, batch.clone());
            pushed.expect("there is room");
        }
        let identity = identity(self.bucket, written(sequence));
        let sealed = writer.seal(&identity).expect("it has batches");
        self.put(written(sequence), sealed.chunks.clone()).await;
        let places = sealed.places().iter().zip(batches);
        let conditions = places.filter_map(|(place, (_, _, number))| {
            let (slice, batch) = (place.slice, place.batch);
            Some((BatchPosition { slice, batch }, of((*number)?)))
        });
        let mut conditions: Vec<_> = conditions.collect();
        conditions.sort_by_key(|(at, _)| (at.slice, at.batch));
        ShardCommit {
            conditions,
            manifest: sealed.manifests.into_iter().next().expect("one shard"),
            ..segment(sequence).done()
        }
    }

    /// Appends small segments of two partitions, three records in each of them.
    pub(crate) async fn fill(&self, sequences: std::ops::RangeInclusive<u64>) {
        for sequence in sequences {
            let first = (sequence - 1) * 3;
            let batches = [
                (0, batch(first, 3, None)),
                (1, batch(first, 1, None)),
                (1, batch(first + 1, 2, None)),
            ];
            self.append(sequence, &batches).await;
        }
    }

    /// Seals, puts and commits a segment.
    pub(crate) async fn commit(&self, sequence: u64, writer: &SegmentWriter) {
        let sealed = writer
            .seal(&identity(self.bucket, written(sequence)))
            .expect("it has batches");
        self.put(written(sequence), sealed.chunks).await;
        for manifest in sealed.manifests {
            let commit = ShardCommit {
                manifest,
                ..segment(sequence).done()
            };
            self.process.send_until_answered(&commit).await;
        }
    }

    /// What a janitor would be given now.
    pub(crate) async fn task(&self) -> Option<MergeTask> {
        for _ in 0..30 {
            self.world.clock.jump_wall(1_000);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(task) = crate::merge::now(&self.process).await {
                return Some(task);
            }
        }
        None
    }

    /// Puts the segment that a task asks for. Runs become extents of at most so many of what they were.
    pub(crate) async fn put_merged(&self, sequence: u64, task: &MergeTask) -> Vec<MergedRun> {
        let name = merged(sequence);
        let mut writer = MergedWriter::new(task.id.shard, task.committed_at);
        let mut runs = Vec::new();
        for run in &task.runs {
            let mut pieces = Vec::new();
            for extent in &run.extents {
                pieces.push(self.bytes_of(extent).await);
            }
            let slice = NewSlice {
                topic_id: run.topic_id,
                topic_name: run.topic_name.clone(),
                partition_count: run.partition_count,
                partition: run.partition,
                offsets: run.offsets().expect("it has extents"),
            };
            let extents = writer.push(slice, &pieces).expect("it fits");
            let extents = extents.iter().map(|extent| Extent {
                offsets: extent.offsets,
                location: Location::Segment {
                    bucket: task.bucket,
                    segment: name,
                    position: extent.position,
                    length: extent.length,
                },
                crc32c: Some(extent.crc32c),
                max_timestamp: extent.max_timestamp,
            });
            runs.push(MergedRun {
                partition: run.partition,
                extents: extents.collect(),
            });
        }
        let sealed = writer
            .seal(&identity(self.bucket, name))
            .expect("it has slices");
        self.put(name, sealed.chunks).await;
        runs
    }

    /// Merges all there is, as a janitor does.
    pub(crate) async fn merge(&self, sequence: u64) -> MergeTask {
        let task = self.task().await.expect("there is something");
        self.make(sequence, &task).await;
        task
    }

    /// Does what a task asks for.
    pub(crate) async fn make(&self, sequence: u64, task: &MergeTask) {
        let runs = self.put_merged(sequence, task).await;
        let swapped = self.process.swap(task.id, merged(sequence), runs).await;
        let outcomes = swapped.expect("nothing fails");
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == SwapOutcome::Swapped)
        );
        self.process.finish(task.id).await.expect("nothing fails");
    }

    /// The bytes of an extent with their offsets.
    pub(crate) async fn bytes_of(&self, extent: &Extent) -> Bytes {
        match extent.location {
            Location::Segment {
                bucket,
                segment,
                position,
                length,
            } => {
                let all = if bucket.is_store() {
                    let service = &self.process.service;
                    let read = tidelog_metadata_api::Log::inline_segment(service, segment).await;
                    read.expect("the store answers").expect("it is there")
                } else {
                    self.get(segment).await
                };
                let (from, to) = (position as usize, (position + length) as usize);
                let mut bytes = BytesMut::from(&all[from..to]);
                place(&mut bytes, extent.offsets).expect("it has these offsets");
                bytes.freeze()
            }
            Location::Marker(marker) => marker
                .to_batch(extent.offsets.base, extent.max_timestamp)
                .to_vec()
                .into(),
            Location::Inline { .. } => panic!("nothing is inline"),
        }
    }

    pub(crate) async fn write_row(&self, key: Bytes, value: Option<Bytes>) {
        let mut transaction = self.world.store.begin().await.expect("it answers");
        match value {
            Some(value) => transaction.put(key, value),
            None => transaction.delete(key),
        }
        transaction.commit().await.expect("no conflict");
    }

    pub(crate) async fn audit(&self, verify: Verify) -> Report {
        let options = AuditOptions {
            verify,
            grace: Duration::ZERO,
            ..AuditOptions::default()
        };
        self.audit_of(&self.world.store.memory, options).await
    }

    /// The wall clock of a bucket in memory is that of the machine.
    pub(crate) async fn audit_of<R: RowSource + ?Sized>(
        &self,
        source: &R,
        options: AuditOptions,
    ) -> Report {
        let audited = self.try_audit(source, options).await;
        audited.expect("all answers")
    }

    pub(crate) async fn try_audit<R: RowSource + ?Sized>(
        &self,
        source: &R,
        options: AuditOptions,
    ) -> Result<Report, AuditError> {
        let audit = Audit {
            source,
            objects: self.all(),
            layout: self.layout.clone(),
            cluster: CLUSTER,
            env: &self.env,
            options,
            progress: &(),
        };
        audit.run().await
    }
}

pub(crate) fn identity(bucket: BucketId, name: SegmentName) -> SegmentIdentity {
    SegmentIdentity {
        cluster: CLUSTER,
        bucket,
        name,
        nonce: Nonce::new([7; 16]),
    }
}
