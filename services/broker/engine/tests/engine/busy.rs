//! A bucket that does not answer leaves the others their uploads, their turn and their memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_broker_engine::Append;
use tidelog_metadata_api::{BatchCondition, NewTopic, OrderKey, STORAGE_CLASS, TopicInfo};
use tidelog_types::{PartitionIndex, TopicName};

use crate::batches::batch;
use crate::classes::{EXPRESS, FAR};
use crate::watched::Trouble;
use crate::world::{Answer, LINGER, World, settings};

const HANGS: Duration = Duration::from_mins(1);
const MEMORY: u64 = 256 * 1024;
const UPLOADS: usize = 4;

/// Uploads to the main bucket hang, and there is a topic in the other one.
async fn world() -> (World, Arc<TopicInfo>) {
    sharded(1).await
}

async fn sharded(shards: u32) -> (World, Arc<TopicInfo>) {
    let mut settings = settings();
    settings.append.memory_bytes = MEMORY;
    settings.append.uploads_max = UPLOADS;
    settings.append.segment_bytes = 8 * 1024;
    let world = World::sharded_with(settings, shards).await;
    let far = topic(&world, FAR, 1).await;
    let hang = FaultRule::new(Fault::Delay(HANGS)).on(Operation::Put);
    world.way.inject(hang);
    (world, far)
}

/// A topic of a class, of the same name.
async fn topic(world: &World, class: &str, partitions: u32) -> Arc<TopicInfo> {
    let topic = world.engine.catalogue().create_topic(NewTopic {
        name: TopicName::new(class).expect("a good name"),
        partitions,
        config: BTreeMap::from([(STORAGE_CLASS.to_owned(), class.to_owned())]),
        validate_only: false,
    });
    topic.await.expect("the class is known")
}

fn send(world: &World, topic: &Arc<TopicInfo>, value: &str, order: u64) -> Answer {
    send_to(world, (topic, 0), value, order)
}

fn send_to(
    world: &World,
    (topic, partition): (&Arc<TopicInfo>, u32),
    value: &str,
    order: u64,
) -> Answer {
    let batch = batch(&[value]);
    let size = u64::from(batch.size());
    let hold = world.engine.try_reserve(size).expect("there is memory");
    let append = Append {
        topic: Arc::clone(topic),
        partition: PartitionIndex::new(partition),
        batch,
        condition: BatchCondition::default(),
        order: Some(OrderKey(order)),
    };
    let answer = world.engine.append(append, Arc::new(hold));
    world.answer(answer.expect("taken"))
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_leaves_the_others_their_uploads_and_their_turn() {
    let (world, far) = world().await;
    let value = "x".repeat(3 * 1024);
    let mut stuck: Vec<Answer> = (0..20)
        .map(|_| send(&world, &world.topic, &value, 1))
        .collect();
    world.pass(LINGER).await;
    assert_eq!(
        world.puts(),
        UPLOADS as u64 / 2,
        "half of all uploads, whatever waits"
    );
    for offset in 0..8 {
        let began = world.env.clock.now();
        let answer = send(&world, &far, &value, 2);
        assert_eq!(answer.offset().await, offset);
        let took = world.env.clock.now() - began;
        assert!(took <= 2 * LINGER, "{took:?}");
    }
    assert!(stuck.iter_mut().all(Answer::is_pending));
    world.way.heal();
    // What came first is first, although it has waited aside.
    for (offset, answer) in (0..).zip(stuck) {
        assert_eq!(answer.offset().await, offset);
    }
}

/// What the store does not take would go to a bucket that does not answer either.
#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_take_leaves_other_buckets_their_uploads_and_is_asked_about_again()
{
    const PARTITIONS: u32 = 8;
    // What gathers meanwhile is still small enough for the store.
    const SECONDS: u64 = 4;
    let (world, far) = sharded(8).await;
    let quick = topic(&world, EXPRESS, PARTITIONS).await;
    for _ in 0..10_000 {
        world.log.trouble(Trouble::Full);
    }
    let send_all = |sender| {
        let send = |partition| send_to(&world, (&quick, partition), "quick", sender);
        (0..PARTITIONS).map(send).collect::<Vec<Answer>>()
    };
    let mut stuck = Vec::new();
    for second in 0..SECONDS {
        stuck.extend(send_all(9 + second));
        let began = world.env.clock.now();
        assert_eq!(send(&world, &far, "far", 2).offset().await, second);
        let took = world.env.clock.now() - began;
        assert!(took <= 2 * LINGER, "{took:?} in second {second}");
        world.pass(Duration::from_secs(1)).await;
    }
    assert!(stuck.iter_mut().all(Answer::is_pending));
    assert_eq!(
        world.puts(),
        UPLOADS as u64 / 2,
        "half of all uploads, whatever the store does not take"
    );
    // The store has room again, and the bucket is still away.
    world.log.heal();
    let began = world.env.clock.now();
    for answer in send_all(8) {
        answer.offset().await;
    }
    let took = world.env.clock.now() - began;
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(world.puts(), UPLOADS as u64 / 2);
    world.way.heal();
    let mut offsets = std::collections::BTreeMap::new();
    for (number, answer) in (0_u32..).zip(stuck) {
        let partition = number % PARTITIONS;
        let offsets: &mut Vec<u64> = offsets.entry(partition).or_default();
        offsets.push(answer.offset().await);
    }
    for offsets in offsets.values_mut() {
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len() as u64, SECONDS, "each is there once");
    }
}

/// That the store had no room some time ago says nothing.
#[tokio::test(start_paused = true)]
async fn an_old_refusal_keeps_nothing_from_the_store_when_the_bucket_goes_away() {
    let (world, _far) = world().await;
    let quick = topic(&world, EXPRESS, 1).await;
    world.way.heal();
    world.log.trouble(Trouble::Full);
    let send = |world: &World, value: &str| send(world, &quick, value, 1);
    assert_eq!(send(&world, "put").offset().await, 0);
    assert_eq!(world.puts(), 1);
    world.pass(Duration::from_hours(1)).await;
    let hang = FaultRule::new(Fault::Delay(HANGS)).on(Operation::Put);
    world.way.inject(hang);
    let value = "x".repeat(3 * 1024);
    for _ in 0..20 {
        crate::busy::send(&world, &world.topic, &value, 2);
    }
    world.pass(LINGER).await;
    let began = world.env.clock.now();
    assert_eq!(send(&world, "express").offset().await, 1);
    assert!(world.env.clock.now() - began <= LINGER);
}

#[tokio::test(start_paused = true)]
async fn what_waits_aside_fails_with_what_it_came_behind() {
    let (world, _far) = world().await;
    let value = "x".repeat(3 * 1024);
    world.fail(1, Fault::DENIED);
    let mut answers: Vec<(u64, Answer)> = Vec::new();
    for number in 0..24 {
        let sender = 1 + number % 2;
        answers.push((sender, send(&world, &world.topic, &value, sender)));
        // The first segment has batches of one sender alone.
        if number == 0 {
            world.pass(LINGER).await;
        }
    }
    world.pass(LINGER).await;
    assert_eq!(world.puts(), UPLOADS as u64 / 2);
    world.pass(HANGS).await;
    world.way.heal();
    let mut offsets = Vec::new();
    for (sender, answer) in answers {
        match answer.result().await {
            Ok(appended) => offsets.push(appended.base_offset.get()),
            Err(error) => {
                assert_eq!(sender, 1, "{error}");
                assert!(!error.may_have_happened(), "{error}");
            }
        }
    }
    assert_eq!(offsets, (0..12).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_to_a_bucket_that_does_not_answer_leaves_the_others_half_of_the_memory() {
    let (world, far) = world().await;
    let value = "x".repeat(3 * 1024);
    let mut refused = 0;
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let mut answer = send(&world, &world.topic, &value, 1);
        world.pass(Duration::from_millis(1)).await;
        match answer.error_now() {
            None => {
                assert_eq!(refused, 0, "what comes after something refused fails too");
                stuck.push(answer);
            }
            Some(error) => {
                assert!(!error.may_have_happened(), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    let taken = stuck.len() as u64 * 3 * 1024;
    assert!(taken > MEMORY / 3 && taken < MEMORY * 2 / 3, "{taken}");
    assert_eq!(send(&world, &far, &value, 2).offset().await, 0);
    world.way.heal();
    for (offset, answer) in (0..).zip(stuck) {
        assert_eq!(answer.offset().await, offset);
    }
}
