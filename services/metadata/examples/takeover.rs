//! Measures how long a takeover takes and what it holds then: one shard with many partitions, a
//! history that checkpoints have reached, and a tail that none has.
//! `cargo run --release -p tidelog-metadata --example takeover [PARTITIONS] [HISTORY] [TAIL]`, the last
//! two in manifests of 16 extents.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_env::Env;
use tidelog_format::manifest::{BatchEntry, Manifest, SliceEntry};
use tidelog_metadata::{
    ClassBuckets, GroupSettings, MetadataService, OpenOptions, Reach, SequencerMetrics,
    SequencerSettings, TransactionSettings,
};
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
    let (partitions, history, tail) = (number(100_000)?, number(0)?, number(2_000)?);
    let env = Env::seeded(1);
    let store = MemoryStore::new();
    let (service, _) = open(&env, &store, checkpoints(2_000)).await?;
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
    for at in 0..history {
        sequence += 1;
        let first = at * 16 % partitions;
        commit(&service, sequence, first..partitions.min(first + 16)).await?;
    }
    // The next process writes a checkpoint of all that, and then none any more.
    let (service, _) = open(&env, &store, checkpoints(1)).await?;
    sequence += 1;
    commit(&service, sequence, 0..1).await?;
    while store.dump().iter().all(|(key, _)| key[4] != CHECKPOINT) {
        service.offset(partition(0), OffsetQuery::Latest).await?;
    }
    for _ in 0..1_000 {
        service.offset(partition(0), OffsetQuery::Latest).await?;
    }
    let (service, _) = open(&env, &store, checkpoints(u32::MAX)).await?;
    let checkpointed = service.offset(partition(0), OffsetQuery::Latest).await?;
    for at in 0..tail {
        sequence += 1;
        let first = at * 16 % partitions;
        commit(&service, sequence, first..partitions.min(first + 16)).await?;
    }
    println!(
        "wrote {sequence} manifests of {partitions} partitions in {:?}",
        env.clock.now() - started
    );
    println!("offset of partition 0 at the checkpoint: {checkpointed:?}");
    let started = env.clock.now();
    let (next, registry) = open(&env, &store, SequencerSettings::default()).await?;
    println!("took over in {:?}", env.clock.now() - started);
    print_held(&registry)?;
    let latest = next.offset(partition(0), OffsetQuery::Latest).await?;
    println!(
        "first linearizable answer after {:?}: {latest:?}",
        env.clock.now() - started
    );
    Ok(())
}

/// The kind of the checkpoint's row in its key.
const CHECKPOINT: u8 = tidelog_metadata::keyspace::KeyKind::Checkpoint as u8;

fn checkpoints(manifests: u32) -> SequencerSettings {
    SequencerSettings {
        checkpoint_manifests: manifests,
        checkpoint_interval: std::time::Duration::from_hours(1),
        ..SequencerSettings::default()
    }
}

fn print_held(registry: &Registry) -> Result<(), Failure> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.contains("_held") || line.contains("extent_memory") {
            println!("  {line}");
        }
    }
    Ok(())
}

async fn open(
    env: &Env,
    store: &MemoryStore,
    sequencer: SequencerSettings,
) -> Result<(MetadataService, Registry), Failure> {
    let mut registry = Registry::default();
    let options = OpenOptions {
        env: env.clone(),
        store: Arc::new(store.clone()),
        cluster: ClusterId::from_bytes([1; 16]),
        shards: 1,
        classes: ClassBuckets::default(),
        sequencer,
        groups: GroupSettings::default(),
        transactions: TransactionSettings::default(),
        reach: Reach::default(),
        metrics: SequencerMetrics::new(&mut registry),
    };
    Ok((MetadataService::open(options).await?, registry))
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
        done_below: SegmentSequence::default(),
        inline: None,
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
