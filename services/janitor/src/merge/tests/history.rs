//! Written history: what lies in segments, and what it must have become when it is merged.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_blob::ClusterLayout;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_env::{Rng, SeededRng};
use tidelog_format::batch::{BatchBuf, BatchBuilder, BatchView, Compression, ProducerStamp};
use tidelog_format::location::Location;
use tidelog_format::marker::{Decision, EndMarker};
use tidelog_format::segment::{Nonce, SegmentIdentity, SegmentWriter};
use tidelog_metadata_api::{Extent, MergeId, MergeRun, MergeTask};
use tidelog_types::{
    BucketId, Incarnation, Offset, OffsetRange, PartitionIndex, ProducerEpoch, ProducerId,
    SegmentName, SegmentSequence, ShardId, Timestamp, TopicId, TopicName, TopicNumber,
    TopicPartition,
};

use super::world::CLUSTER;

pub(super) const SHARD: ShardId = ShardId::new(3);
/// The writer of what is merged.
pub(super) const BROKER: Incarnation = Incarnation::new(1);

/// What a partition has, and what readers must find in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    pub(super) extents: Vec<Extent>,
    pub(super) bytes: Vec<u8>,
    next: u64,
}

/// All partitions, and the segments that they lie in.
#[derive(Debug)]
pub(super) struct History {
    rng: SeededRng,
    pub(super) partitions: BTreeMap<(u8, u32), Partition>,
    sequence: u64,
    /// Where segments are put from now on.
    pub(super) bucket: BucketId,
}

pub(super) fn partition(topic: u8, index: u32) -> TopicPartition {
    let topic = TopicNumber::new(u64::from(topic));
    TopicPartition::new(topic, PartitionIndex::new(index))
}

fn topic_id(topic: u8) -> TopicId {
    TopicId::from_bytes([topic; 16])
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SeededRng::new(seed),
            partitions: BTreeMap::new(),
            sequence: 0,
            bucket: BucketId::default(),
        }
    }

    /// A batch of some records, of any kind.
    fn batch(&self) -> BatchBuf {
        let codec = self.rng.below(5);
        let codec = Compression::from_number(u8::try_from(codec).unwrap()).unwrap();
        let mut builder = BatchBuilder::new(codec, 0);
        for record in 0..=self.rng.below(4) {
            let time = Timestamp::from_millis(1_000 + i64::try_from(record).unwrap());
            let value = vec![7; usize::try_from(self.rng.below(300)).unwrap()];
            builder
                .append(time, Some(b"key"), Some(&value), &[])
                .unwrap();
        }
        let stamp = (self.rng.below(2) == 0).then(|| ProducerStamp {
            id: ProducerId::new(5),
            epoch: ProducerEpoch::new(1),
            base_sequence: 9,
            transactional: self.rng.below(2) == 0,
        });
        builder.finish(stamp).unwrap()
    }

    /// Puts a segment into the bucket that has batches for some of `count` partitions of two topics. Of some slices only
    /// a part is in the log.
    pub(super) async fn segment(&mut self, objects: &InMemory, layout: &ClusterLayout, count: u32) {
        self.sequence += 1;
        let mut writer = SegmentWriter::new();
        for _ in 0..=self.rng.below(3 * u64::from(count)) {
            let topic = 1 + u8::try_from(self.rng.below(2)).unwrap();
            let index = u32::try_from(self.rng.below(u64::from(count))).unwrap();
            writer
                .push(
                    topic_id(topic),
                    partition(topic, index),
                    SHARD,
                    self.batch(),
                )
                .unwrap();
        }
        self.put(objects, layout, writer).await;
    }

    /// The same with these batches of one record each, by partition of topic 1 and size.
    pub(super) async fn plain(
        &mut self,
        objects: &InMemory,
        layout: &ClusterLayout,
        batches: &[(u32, usize)],
    ) {
        self.sequence += 1;
        let mut writer = SegmentWriter::new();
        for (index, size) in batches {
            let mut builder = BatchBuilder::new(Compression::None, 0);
            let time = Timestamp::from_millis(1_000);
            let value = vec![7; *size];
            builder.append(time, None, Some(&value), &[]).unwrap();
            let batch = builder.finish(None).unwrap();
            writer
                .push(topic_id(1), partition(1, *index), SHARD, batch)
                .unwrap();
        }
        self.put(objects, layout, writer).await;
    }

    async fn put(&mut self, objects: &InMemory, layout: &ClusterLayout, writer: SegmentWriter) {
        let name = SegmentName::new(BROKER, SegmentSequence::new(self.sequence));
        let identity = SegmentIdentity {
            cluster: CLUSTER,
            bucket: self.bucket,
            name,
            nonce: Nonce::new([1; 16]),
        };
        let sealed = writer.seal(&identity).unwrap();
        let object: Bytes = sealed.chunks.concat().into();
        let put = PutPayload::from(object.clone());
        let path = layout.segment(self.bucket, name);
        objects.put(&path, put).await.unwrap();
        for manifest in &sealed.manifests {
            for slice in &manifest.slices {
                let start = slice.position as usize;
                let bytes = object.slice(start..start + slice.length as usize);
                let views: Vec<_> = BatchView::all(bytes).map(Result::unwrap).collect();
                self.commit(slice.partition, name, slice.position, &views, slice.crc32c);
            }
        }
    }

    /// Takes batches of a slice into the log: all of them as one extent, or without the first one, or each by itself.
    fn commit(
        &mut self,
        partition: TopicPartition,
        segment: SegmentName,
        position: u32,
        views: &[BatchView],
        crc32c: u32,
    ) {
        let way = self.rng.below(3);
        let mut at = position;
        let mut parts: Vec<(u32, Vec<&BatchView>)> = Vec::new();
        for (number, view) in views.iter().enumerate() {
            match parts.last_mut() {
                Some((_, part)) if way != 2 => part.push(view),
                // The first one was a duplicate, unless it is all there is.
                _ if way == 1 && number == 0 && views.len() > 1 => {}
                _ => parts.push((at, vec![view])),
            }
            at += view.header().size();
        }
        for (position, part) in parts {
            let is_whole = part.len() == views.len();
            self.extent(
                partition,
                segment,
                position,
                &part,
                is_whole.then_some(crc32c),
            );
        }
        if self.rng.below(4) == 0 {
            self.marker(partition);
        }
    }

    fn extent(
        &mut self,
        partition: TopicPartition,
        segment: SegmentName,
        position: u32,
        part: &[&BatchView],
        crc32c: Option<u32>,
    ) {
        let bucket = self.bucket;
        let known = self.known(partition);
        let base = known.next;
        for view in part {
            let (head, body) = view.at_offset(Offset::new(known.next));
            known.bytes.extend_from_slice(&head);
            known.bytes.extend_from_slice(&body);
            known.next += u64::from(view.header().offset_count());
        }
        let times = part.iter().map(|view| view.header().max_timestamp);
        let length = part.iter().map(|view| view.header().size()).sum();
        known.extents.push(Extent {
            offsets: offsets(base, known.next),
            location: Location::Segment {
                bucket,
                segment,
                position,
                length,
            },
            crc32c,
            max_timestamp: times.max().unwrap(),
        });
    }

    fn marker(&mut self, partition: TopicPartition) {
        let marker = EndMarker {
            producer_id: ProducerId::new(5),
            producer_epoch: ProducerEpoch::new(1),
            coordinator_epoch: 2,
            decision: Decision::Abort,
        };
        let known = self.known(partition);
        let time = Timestamp::from_millis(2_000);
        let batch = marker.to_batch(Offset::new(known.next), time);
        known.bytes.extend_from_slice(&batch);
        known.extents.push(Extent {
            offsets: offsets(known.next, known.next + 1),
            location: Location::Marker(marker),
            crc32c: None,
            max_timestamp: time,
        });
        known.next += 1;
    }

    fn known(&mut self, partition: TopicPartition) -> &mut Partition {
        let topic = u8::try_from(partition.topic.get()).unwrap();
        let key = (topic, partition.partition.get());
        self.partitions.entry(key).or_insert_with(|| Partition {
            next: 100,
            ..Partition::default()
        })
    }

    /// All that is there, to be merged.
    pub(super) fn task(&self, number: u64) -> MergeTask {
        let runs = self
            .partitions
            .iter()
            .map(|((topic, index), known)| MergeRun {
                topic_id: topic_id(*topic),
                topic_name: TopicName::new(&format!("topic-{topic}")).unwrap(),
                partition_count: 2_000,
                partition: partition(*topic, *index),
                extents: known.extents.clone(),
            });
        let runs: Vec<_> = runs.collect();
        let extents = runs.iter().flat_map(|run| &run.extents);
        MergeTask {
            sparse: Vec::new(),
            id: MergeId {
                shard: SHARD,
                epoch: 7,
                number,
            },
            bucket: BucketId::default(),
            bytes: extents.map(|extent| u64::from(extent.byte_count())).sum(),
            committed_at: Timestamp::from_millis(9_000),
            runs,
        }
    }

    /// Takes what was swapped in for what was there.
    pub(super) fn swap(&mut self, swapped: &BTreeMap<TopicPartition, Vec<Extent>>) {
        for (partition, extents) in swapped {
            self.known(*partition).extents.clone_from(extents);
        }
    }
}

pub(super) fn offsets(base: u64, next: u64) -> OffsetRange {
    OffsetRange {
        base: Offset::new(base),
        next: Offset::new(next),
    }
}
