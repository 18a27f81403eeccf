//! Small segments of an express class: nothing is put into the bucket for them, and whatever happens on their way, each
//! batch is in the log once and in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_broker_engine::{Append, FetchPartition};
use tidelog_cache::PageKey;
use tidelog_format::location::Location;
use tidelog_metadata_api::{
    BatchCondition, Extent, Log as _, LookupRequest, NewTopic, OrderKey, STORAGE_CLASS, TopicInfo,
};
use tidelog_types::{BucketId, Offset, PartitionIndex, TopicName, TopicPartition};

use crate::batches::{batch, values_in};
use crate::classes::{EXPRESS, EXPRESS_BYTES, PATIENT};
use crate::watched::Trouble;
use crate::world::{Answer, LINGER, World};

const MOMENT: Duration = Duration::from_millis(1);

/// A topic of the class.
struct Express {
    world: World,
    topic: Arc<TopicInfo>,
}

impl Express {
    async fn new() -> Self {
        Self::on(World::new().await, EXPRESS).await
    }

    async fn on(world: World, class: &str) -> Self {
        let topic = NewTopic {
            name: TopicName::new("quick").expect("a good name"),
            partitions: 8,
            config: BTreeMap::from([(STORAGE_CLASS.to_owned(), class.to_owned())]),
            validate_only: false,
        };
        let created = world.engine.catalogue().create_topic(topic).await;
        Self {
            topic: created.expect("the class is known"),
            world,
        }
    }

    /// Sends a record under an order key.
    fn send(&self, partition: u32, value: &str) -> Answer {
        let batch = batch(&[value]);
        let hold = self.world.engine.try_reserve(u64::from(batch.size()));
        let append = Append {
            topic: Arc::clone(&self.topic),
            partition: PartitionIndex::new(partition),
            batch,
            condition: BatchCondition::default(),
            order: Some(OrderKey(1)),
        };
        let hold = Arc::new(hold.expect("there is memory"));
        let answer = self.world.engine.append(append, hold);
        self.world.answer(answer.expect("taken"))
    }

    fn at(&self, index: u32) -> TopicPartition {
        TopicPartition::new(self.topic.number, PartitionIndex::new(index))
    }

    async fn values(&self, index: u32) -> Vec<String> {
        let wanted = FetchPartition {
            partition: self.at(index),
            offset: Offset::ZERO,
            bytes_max: u64::MAX,
        };
        let fetched = self.world.fetch(vec![wanted], u64::MAX).await;
        match fetched.partitions.into_iter().next() {
            Some(Ok(found)) => values_in(&found),
            other => panic!("it cannot be read: {other:?}"),
        }
    }

    async fn extents(&self, index: u32) -> Vec<Extent> {
        let request = LookupRequest {
            partition: self.at(index),
            offset: Offset::ZERO,
            bytes_max: u64::MAX,
            extents_max: 1_000,
        };
        let found = self.world.metadata.lookup(request).await;
        found.expect("in bounds").extents
    }

    /// The page of each extent, and whether it lies in the store.
    async fn pages(&self, index: u32) -> Vec<(PageKey, bool)> {
        let extents = self.extents(index).await;
        let page = |extent: &Extent| match extent.location {
            Location::Segment {
                bucket, segment, ..
            } => (PageKey::new(bucket, segment, 0), bucket.is_store()),
            other => panic!("{other:?} is not in a segment"),
        };
        extents.iter().map(page).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_batch_is_answered_at_once_without_a_request_to_the_bucket() {
    let quick = Express::new().await;
    for (offset, value) in (0..).zip(["a", "b", "c"]) {
        let answer = quick.send(0, value);
        quick.world.pass(MOMENT).await;
        assert_eq!(answer.offset().await, offset);
    }
    assert_eq!(quick.world.puts(), 0);
    assert_eq!(quick.values(0).await, ["a@0", "b@1", "c@2"]);
    assert_eq!(quick.world.gets(), 0);
    // Whoever has it nowhere reads it from the store, and once.
    let pages = quick.pages(0).await;
    assert_eq!(pages.len(), 3);
    for (page, in_store) in pages {
        assert!(in_store);
        quick.world.pages.remove(&page);
    }
    let before = quick.world.log.inline_reads();
    for _ in 0..2 {
        assert_eq!(quick.values(0).await, ["a@0", "b@1", "c@2"]);
    }
    assert_eq!(quick.world.log.inline_reads(), before + 3);
    assert_eq!(quick.world.gets(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_one_is_on_its_way_goes_together() {
    let quick = Express::new().await;
    let slow = Duration::from_millis(50);
    quick.world.log.trouble(Trouble::Slow(slow));
    let mut answers = vec![quick.send(0, "a")];
    quick.world.pass(MOMENT).await;
    for value in ["b", "c", "d"] {
        answers.push(quick.send(0, value));
        quick.world.pass(MOMENT).await;
    }
    quick.world.pass(slow).await;
    for (offset, answer) in (0..).zip(answers) {
        assert_eq!(answer.offset().await, offset);
    }
    assert_eq!(quick.extents(0).await.len(), 2);
    assert_eq!(quick.world.puts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_in_between_is_stored_and_keeps_its_place() {
    let quick = Express::new().await;
    let large = "x".repeat(EXPRESS_BYTES as usize);
    let first = quick.send(0, "a");
    quick.world.pass(MOMENT).await;
    quick.world.slow(2, Duration::from_millis(500));
    let second = quick.send(0, &large);
    quick.world.pass(10 * LINGER + MOMENT).await;
    let third = quick.send(0, "b");
    let other = quick.send(1, "other");
    quick.world.pass(MOMENT).await;
    assert_eq!(first.offset().await, 0);
    assert_eq!(quick.extents(0).await.len(), 1, "it waits for the bucket");
    for (offset, answer) in [(1, second), (2, third), (0, other)] {
        assert_eq!(answer.offset().await, offset);
    }
    let in_store = quick.pages(0).await;
    let in_store: Vec<bool> = in_store.iter().map(|(_, is)| *is).collect();
    assert_eq!(in_store, [true, false, true]);
    let all = ["a@0", &format!("{large}@1"), "b@2"];
    assert_eq!(quick.values(0).await, all);
    assert_eq!(quick.world.puts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_asked_about_again_and_is_there_once() {
    let quick = Express::new().await;
    for _ in 0..2 {
        quick.world.log.trouble(Trouble::Lost);
    }
    let first = quick.send(0, "a");
    quick.world.pass(MOMENT).await;
    let second = quick.send(0, "b");
    assert_eq!(first.offset().await, 0);
    assert_eq!(second.offset().await, 1);
    assert_eq!(quick.values(0).await, ["a@0", "b@1"]);
    assert_eq!(quick.world.puts(), 0);
}

/// Also where an attempt before has landed and nobody has heard of it.
#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_take_is_stored_under_its_name() {
    for lost in [false, true] {
        let quick = Express::new().await;
        if lost {
            quick.world.log.trouble(Trouble::Lost);
        }
        quick.world.log.trouble(Trouble::Full);
        let first = quick.send(0, "a");
        assert_eq!(first.offset().await, 0, "{lost}");
        assert_eq!(quick.world.way.seen(Operation::Put), 1, "{lost}");
        let pages = quick.pages(0).await;
        let [(page, in_store)] = pages.as_slice() else {
            panic!("`{pages:?}` is not one");
        };
        assert_eq!((page.segment.sequence.get(), *in_store), (1, lost));
        assert_eq!(quick.values(0).await, ["a@0"], "{lost}");
        // The store is left alone for a while.
        let answer = quick.send(0, "b");
        assert_eq!(answer.offset().await, 1, "{lost}");
        assert_eq!(quick.world.puts(), 2, "{lost}");
        quick.world.pass(Duration::from_secs(2)).await;
        let answer = quick.send(0, "c");
        assert_eq!(answer.offset().await, 2, "{lost}");
        assert_eq!(quick.world.puts(), 2, "{lost}");
        assert_eq!(quick.values(0).await, ["a@0", "b@1", "c@2"], "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_shard_has_its_part_as_a_segment_of_its_own() {
    let quick = Express::on(World::sharded(4).await, EXPRESS).await;
    let slow = Duration::from_millis(20);
    quick.world.log.trouble(Trouble::Slow(slow));
    let mut answers = vec![quick.send(0, "first")];
    quick.world.pass(MOMENT).await;
    for index in 0..8 {
        answers.push(quick.send(index, "one"));
        answers.push(quick.send(index, "two"));
    }
    for answer in answers {
        answer.offset().await;
    }
    let mut shards = BTreeMap::new();
    for index in 0..8 {
        let shard = quick.topic.partitions[index as usize].shard;
        let pages = quick.pages(index).await;
        let (last, in_store) = pages.last().expect("it has records");
        assert!(*in_store && last.bucket == BucketId::STORE);
        let known: &mut BTreeSet<u64> = shards.entry(shard).or_default();
        known.insert(last.segment.sequence.get());
        if index > 0 {
            assert_eq!(quick.values(index).await, ["one@0", "two@1"]);
        }
    }
    assert!(shards.len() > 1, "{shards:?}");
    assert!(shards.values().all(|known| known.len() == 1), "{shards:?}");
    assert_eq!(quick.world.puts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_slow_or_full_holds_up_its_own_batches_alone() {
    let quick = Express::on(World::sharded(4).await, EXPRESS).await;
    let shard = |index: u32| quick.topic.partitions[index as usize].shard;
    let there = (1..8).find(|index| shard(*index) != shard(0));
    let (here, there) = (0, there.expect("there are some shards"));
    let clock = &quick.world.env.clock;
    let slow = Duration::from_millis(500);
    quick.world.log.trouble(Trouble::Slow(slow));
    let mut answers = vec![quick.send(here, "a")];
    quick.world.pass(MOMENT).await;
    answers.push(quick.send(here, "b"));
    let begun = clock.now();
    assert_eq!(quick.send(there, "c").offset().await, 0);
    assert!(clock.now() - begun < LINGER);
    for (offset, answer) in (0..).zip(answers) {
        assert_eq!(answer.offset().await, offset);
    }
    assert_eq!(quick.world.puts(), 0);
    // What the store does not take of one shard it may take of another.
    quick.world.log.trouble(Trouble::Full);
    assert_eq!(quick.send(here, "d").offset().await, 2);
    assert_eq!(quick.send(there, "e").offset().await, 1);
    assert_eq!(quick.world.puts(), 1);
    assert_eq!(quick.values(here).await, ["a@0", "b@1", "d@2"]);
    assert_eq!(quick.values(there).await, ["c@0", "e@1"]);
}

/// Whoever follows the tail has what was put all the same, and nothing waits longer for the store than it has to.
#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_tail_is_read_from_memory_and_the_store_is_asked_again_in_time() {
    let quick = Express::on(World::new().await, PATIENT).await;
    assert_eq!(quick.send(0, "a").offset().await, 0);
    assert_eq!(quick.values(0).await, ["a@0"]);
    quick.world.log.trouble(Trouble::Full);
    assert_eq!(quick.send(0, "b").offset().await, 1);
    let gets = quick.world.gets();
    assert_eq!(quick.values(0).await, ["a@0", "b@1"]);
    assert_eq!((quick.world.puts(), quick.world.gets()), (1, gets));
    let clock = &quick.world.env.clock;
    let begun = clock.now();
    assert_eq!(quick.send(0, "c").offset().await, 2);
    let took = clock.now() - begun;
    assert!(took <= Duration::from_secs(2), "it has waited for {took:?}");
    assert_eq!(quick.world.puts(), 1);
}
