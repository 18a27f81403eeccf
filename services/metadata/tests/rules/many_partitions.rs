//! A shard with very many partitions is taken over in time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidelog_metadata_api::{Catalogue as _, NewTopic};
use tidelog_types::{PartitionIndex, TopicName, TopicPartition};

use crate::manifests::{accepted, one, only, plain, segment};
use crate::world::{World, settings};

const PARTITIONS: u32 = 100_000;
/// About how many of them the checkpoint has.
const CHECKPOINTED: u32 = 80_000;
/// Slices of one manifest, as a broker would write them for a full segment.
const SLICES: u32 = 1_500;
/// What a takeover may take, also without optimization.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);

/// Most partitions are in a checkpoint, and as many as a checkpoint may leave in the tail after it.
#[tokio::test(start_paused = true)]
async fn a_shard_with_a_hundred_thousand_partitions_is_taken_over_in_time() {
    let mut world = World::with(settings(u32::MAX));
    let first = world.open().await;
    let topic = NewTopic {
        name: TopicName::new("wide").expect("a good name"),
        partitions: PARTITIONS,
        config: BTreeMap::new(),
        validate_only: false,
    };
    let topic = first.create_topic(topic).await.expect("it is new");
    let partition = |index| TopicPartition::new(topic.number, PartitionIndex::new(index));
    for (sequence, from) in (1..).zip((0..PARTITIONS).step_by(SLICES as usize)) {
        let mut commit = segment(sequence);
        for index in from..PARTITIONS.min(from + SLICES) {
            commit = commit.slice(partition(index), &[plain(1)]);
        }
        first.send_until_answered(&commit.done()).await;
        if from <= CHECKPOINTED && CHECKPOINTED < from + SLICES {
            tokio::time::advance(Duration::from_secs(11)).await;
        }
    }
    world.settings = settings(u32::MAX);
    let started = Instant::now();
    let second = world.open().await;
    let last = one(1_000, partition(PARTITIONS - 1), plain(1));
    let answer = second.send_until_answered(&last).await;
    assert_eq!(only(&answer), accepted(1));
    let took = started.elapsed();
    println!("took over {PARTITIONS} partitions and committed after {took:?}");
    assert!(took <= TAKEOVER_MAX, "{took:?}");
    assert_eq!(second.high_watermark(partition(0)).await, 1);
}
