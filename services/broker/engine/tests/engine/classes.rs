//! Storage classes: topics of different classes fill segments of their own, each with its linger and size; a class that
//! there is not is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use tidelog_blob::MAIN;
use tidelog_broker_engine::{Append, AppendError, EngineSettings, StorageClass};
use tidelog_metadata_api::{
    BatchCondition, Catalogue as _, NewTopic, OrderKey, STORAGE_CLASS, TopicInfo, TopicSelector,
};
use tidelog_types::{ErrorCode, PartitionIndex, TopicName};

use crate::batches::batch;
use crate::far::FAR_BUCKET;
use crate::world::{Answer, LINGER, World, settings};

/// A storage class that topics may name, and what its segments wait for.
pub(crate) const SLOW: &str = "slow";
pub(crate) const SLOW_LINGER: Duration = Duration::from_secs(2);
pub(crate) const SLOW_BYTES: u32 = 16 * 1024;
/// Topics of this class lie in a bucket of their own.
pub(crate) const FAR: &str = "far";
pub(crate) const EXPRESS: &str = "express";
pub(crate) const EXPRESS_BYTES: u32 = 4 * 1024;
/// The same, and what is not committed so waits very long.
pub(crate) const PATIENT: &str = "patient";

/// The classes that there are.
pub(crate) fn classes() -> Vec<StorageClass> {
    let slow = StorageClass {
        name: SLOW.to_owned(),
        linger: SLOW_LINGER,
        segment_bytes: SLOW_BYTES,
        express_bytes: 0,
        bucket: MAIN,
    };
    let express = StorageClass {
        name: EXPRESS.to_owned(),
        linger: 10 * LINGER,
        express_bytes: EXPRESS_BYTES,
        ..slow.clone()
    };
    let patient = StorageClass {
        name: PATIENT.to_owned(),
        linger: Duration::from_hours(1),
        ..express.clone()
    };
    let far = StorageClass {
        name: FAR.to_owned(),
        linger: LINGER,
        bucket: FAR_BUCKET,
        ..slow.clone()
    };
    vec![slow, express, patient, far]
}

const MOMENT: Duration = Duration::from_millis(1);

/// A world in which no segment closes early.
async fn steady() -> World {
    steady_with(settings()).await
}

async fn steady_with(mut settings: EngineSettings) -> World {
    settings.append.flush_rate = std::num::NonZeroU32::MIN;
    settings.append.flush_burst = std::num::NonZeroU32::MIN;
    let world = World::with(settings).await;
    // Takes the one early close that there is.
    world.send(0, "first").offset().await;
    world
}

fn named(name: &str, class: &str) -> NewTopic {
    NewTopic {
        name: TopicName::new(name).expect("a good name"),
        partitions: 2,
        config: BTreeMap::from([(STORAGE_CLASS.to_owned(), class.to_owned())]),
        validate_only: false,
    }
}

async fn slow_topic(world: &World) -> Arc<TopicInfo> {
    let created = world
        .engine
        .catalogue()
        .create_topic(named("slow", SLOW))
        .await;
    created.expect("the class is known")
}

/// Sends a record to partition 0 of a topic.
fn send(world: &World, topic: &Arc<TopicInfo>, value: &str) -> Result<Answer, AppendError> {
    let batch = batch(&[value]);
    let hold = world
        .engine
        .try_reserve(u64::from(batch.size()))
        .expect("there is memory");
    let append = Append {
        topic: Arc::clone(topic),
        partition: PartitionIndex::new(0),
        batch,
        condition: BatchCondition::default(),
        order: Some(OrderKey(1)),
    };
    let answer = world.engine.append(append, Arc::new(hold))?;
    Ok(world.answer(answer))
}

async fn altered(world: &World, topic: &TopicInfo, class: Option<&str>) -> Arc<TopicInfo> {
    let changes = BTreeMap::from([(STORAGE_CLASS.to_owned(), class.map(ToOwned::to_owned))]);
    let selector = TopicSelector::Id(topic.id);
    let catalogue = world.engine.catalogue();
    let altered = catalogue
        .alter_topic_config(&selector, changes, false)
        .await;
    altered.expect("the class is known")
}

#[tokio::test(start_paused = true)]
async fn each_class_closes_its_segments_by_its_own_linger() {
    let world = steady().await;
    let slow = slow_topic(&world).await;
    let puts = world.puts();
    let late = send(&world, &slow, "late").expect("taken");
    let soon = world.send(0, "soon");
    world.pass(LINGER + MOMENT).await;
    assert_eq!(world.puts(), puts + 1, "the one without a class");
    assert_eq!(soon.offset().await, 1);
    world
        .pass(SLOW_LINGER.saturating_sub(LINGER + 3 * MOMENT))
        .await;
    assert_eq!(world.puts(), puts + 1, "the other has time");
    world.pass(3 * MOMENT).await;
    assert_eq!(world.puts(), puts + 2);
    assert_eq!(late.offset().await, 0);
}

/// What a class keeps while it waits for more is not to be missing to others.
#[tokio::test(start_paused = true)]
async fn a_class_that_waits_long_gives_memory_back_when_it_is_short() {
    let mut settings = settings();
    settings.append.memory_bytes = 4_000;
    let world = steady_with(settings).await;
    let slow = slow_topic(&world).await;
    let puts = world.puts();
    let value = "x".repeat(900);
    let mut answers: Vec<Answer> = Vec::new();
    for _ in 0..3 {
        answers.push(send(&world, &slow, &value).expect("taken"));
        world.pass(MOMENT).await;
    }
    assert_eq!(world.puts(), puts, "a quarter is free");
    answers.push(send(&world, &slow, &value).expect("taken"));
    world.pass(MOMENT).await;
    assert_eq!(world.puts(), puts + 1);
    for (offset, answer) in (0..).zip(answers) {
        assert_eq!(answer.offset().await, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn each_class_closes_its_segments_at_its_own_size() {
    let world = steady().await;
    let slow = slow_topic(&world).await;
    let puts = world.puts();
    let value = "x".repeat(to_usize(SLOW_BYTES) / 3);
    let answers: Vec<Answer> = (0..4)
        .map(|_| send(&world, &slow, &value).expect("taken"))
        .collect();
    world.pass(MOMENT).await;
    assert_eq!(
        world.puts(),
        puts + 1,
        "two of them are a segment, and no more fit"
    );
    for (offset, answer) in (0..).zip(answers) {
        assert_eq!(answer.offset().await, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sender_sent_before_its_topic_changed_its_class_comes_first() {
    let world = steady().await;
    let slow = slow_topic(&world).await;
    let puts = world.puts();
    let first = send(&world, &slow, "first").expect("taken");
    world.pass(MOMENT).await;
    let quick = altered(&world, &slow, None).await;
    let second = send(&world, &quick, "second").expect("taken");
    world.pass(LINGER + MOMENT).await;
    assert_eq!(world.puts(), puts, "it waits with the one before");
    assert_eq!((first.offset().await, second.offset().await), (0, 1));
    assert_eq!(world.puts(), puts + 1);
    // From the next segment on the new class holds.
    let third = send(&world, &quick, "third").expect("taken");
    world.pass(LINGER + MOMENT).await;
    assert_eq!(world.puts(), puts + 2);
    assert_eq!(third.offset().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_class_with_a_bucket_is_put_there_and_read_from_there() {
    let world = World::new().await;
    assert_eq!(world.send(0, "here").offset().await, 0);
    let far = altered(&world, &world.topic, Some(FAR)).await;
    let puts = world.puts();
    let answer = send(&world, &far, "there").expect("taken");
    assert_eq!(answer.offset().await, 1);
    assert_eq!(world.puts(), puts, "not into the main bucket");
    let listed = world.far.list(None).try_collect::<Vec<_>>().await;
    let listed = listed.expect("memory");
    assert_eq!(listed.len(), 1);
    assert!(listed[0].location.as_ref().starts_with("far/"));
    // By those who have nothing in memory, too.
    assert_eq!(world.values(0).await, ["here@0", "there@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_segments_of_all_classes() {
    let world = steady().await;
    let slow = slow_topic(&world).await;
    let answers = [
        send(&world, &slow, "slow").expect("taken"),
        world.send(0, "quick"),
    ];
    world.engine.drain().await;
    for (answer, offset) in answers.into_iter().zip([0, 1]) {
        assert_eq!(answer.offset().await, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_there_is_not_is_refused_wherever_it_is_named() {
    let world = World::new().await;
    let catalogue = world.engine.catalogue();
    let error = catalogue.create_topic(named("other", "glacial")).await;
    let error = error.expect_err("nobody knows the class");
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
    let text = error.to_string();
    assert!(
        text.contains("`glacial`") && text.contains("`slow`"),
        "{text}"
    );
    let changes = BTreeMap::from([(STORAGE_CLASS.to_owned(), Some("glacial".to_owned()))]);
    let selector = TopicSelector::Id(world.topic.id);
    let error = catalogue.alter_topic_config(&selector, changes, true).await;
    assert!(error.is_err());
    // A class that has gone from the settings: nothing is written as if it had never been.
    let stored = world.metadata.create_topic(named("older", "glacial")).await;
    let stored = stored.expect("metadata keeps what it is told");
    let error = send(&world, &stored, "value").expect_err("nobody knows the class");
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
    assert!(error.to_string().contains("`glacial`"), "{error}");
    let mended = altered(&world, &stored, Some("")).await;
    assert_eq!(
        send(&world, &mended, "value")
            .expect("taken")
            .offset()
            .await,
        0
    );
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).expect("a small number")
}
