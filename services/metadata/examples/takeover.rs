//! Measures how long a takeover takes: one shard with many partitions, a checkpoint, and a tail behind
//! it. `cargo run --release -p tidelog-metadata --example takeover [PARTITIONS] [MANIFESTS]`.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_env::Env;
use tidelog_format::manifest::{BatchEntry, Manifest, SliceEntry};
use tidelog_metadata::{MetadataService, OpenOptions, SequencerMetrics, SequencerSettings};
use tidelog_metadata_api::{Catalogue as _, Log as _, NewTopic, OffsetQuery, ShardCommit};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{
    BucketId, ClusterId, Incarnation, PartitionIndex, ProducerEpoch, ProducerId, SegmentName,
    SegmentSequence, ShardId, Timestamp, TopicName, TopicNumber, TopicPartition,
};

/// Slices of one manifest, as a broker would write them for a full segment.
const SLICES: u32 = 2_000;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| {
        let given = arguments.next();
        given.map_or(Ok(default), |text| text.parse())
    };
    let (partitions, manifests) = (number(100_000)?, number(2_000)?);
    let env = Env::seeded(1);
    let store = MemoryStore::new();
    let settings = SequencerSettings {
        checkpoint_manifests: partitions.div_ceil(SLICES),
        ..SequencerSettings::default()
    };
    let service = open(&env, &store, settings).await?;
    let topic = NewTopic {
        name: TopicName::new("many")?,
        partitions,
        config: [].into(),
        validate_only: false,
    };
    service.create_topic(topic).await?;
    let started = env.clock.now();
    let mut sequence = 0;
    for first in (0..partitions).step_by(SLICES as usize) {
        sequence += 1;
        commit(&service, sequence, first..partitions.min(first + SLICES)).await?;
    }
    let checkpointed = service.offset(partition(0), OffsetQuery::Latest).await?;
    for tail in 0..manifests {
        sequence += 1;
        let first = tail % partitions;
        commit(&service, sequence, first..partitions.min(first + 16)).await?;
    }
    println!(
        "wrote {sequence} manifests of {partitions} partitions in {:?}",
        env.clock.now() - started
    );
    println!("offset of partition 0 at the checkpoint: {checkpointed:?}");
    let started = env.clock.now();
    let next = open(&env, &store, SequencerSettings::default()).await?;
    println!("took over in {:?}", env.clock.now() - started);
    let latest = next.offset(partition(0), OffsetQuery::Latest).await?;
    println!(
        "first linearizable answer after {:?}: {latest:?}",
        env.clock.now() - started
    );
    Ok(())
}

async fn open(
    env: &Env,
    store: &MemoryStore,
    sequencer: SequencerSettings,
) -> Result<MetadataService, Failure> {
    let options = OpenOptions {
        env: env.clone(),
        store: Arc::new(store.clone()),
        cluster: ClusterId::from_bytes([1; 16]),
        shards: 1,
        sequencer,
        metrics: SequencerMetrics::new(&mut Registry::default()),
    };
    Ok(MetadataService::open(options).await?)
}

const fn partition(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
}

async fn commit(
    service: &MetadataService,
    sequence: u64,
    partitions: std::ops::Range<u32>,
) -> Result<(), Failure> {
    let batch = BatchEntry {
        length: 100,
        record_count: 1,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        min_timestamp: Timestamp::from_millis(1),
        max_timestamp: Timestamp::from_millis(1),
        max_timestamp_offset_delta: 0,
        transactional: false,
        control: false,
    };
    let manifest = Manifest {
        segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence)),
        bucket: BucketId::new(0),
        shard: ShardId::new(0),
        slices: slices(partitions, batch),
    };
    let commit = ShardCommit {
        manifest,
        conditions: Vec::new(),
        orders: Vec::new(),
        dropped: Vec::new(),
        after: Vec::new(),
    };
    for answer in service.commit(vec![commit]).await {
        answer?;
    }
    Ok(())
}

/// One slice of one batch for each partition.
fn slices(partitions: std::ops::Range<u32>, batch: BatchEntry) -> Vec<SliceEntry> {
    let slice = |(at, index): (u32, u32)| SliceEntry {
        partition: partition(index),
        position: 64 + at * batch.length,
        length: batch.length,
        crc32c: index,
        batches: [batch].into_iter().collect(),
    };
    (0_u32..).zip(partitions).map(slice).collect()
}
