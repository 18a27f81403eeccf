//! A segment whose name fell below its floor is stored again under a new one (rule C6). The floor follows
//! what the broker is done with.

use std::time::Duration;

use tidelog_blob::faulty::Fault;
use tidelog_format::manifest::{BatchEntry, Manifest, SliceEntry};
use tidelog_metadata_api::{CommitError, Log as _, ShardCommit};
use tidelog_types::{
    BucketId, ProducerEpoch, ProducerId, SegmentName, SegmentSequence, ShardId, Timestamp,
};

use crate::batches::stamped;
use crate::world::{Answer, LINGER, World};

const LONG: Duration = Duration::from_secs(1);

async fn raise_floor(world: &World, floor: u64) {
    let incarnation = world.engine.incarnation();
    world
        .metadata
        .raise_floor(incarnation, SegmentSequence::new(floor))
        .await
        .expect("the store answers");
}

/// Sends a record of one sender and waits until its segment is closed.
async fn send_alone(world: &World, value: &str) -> Answer {
    let answer = world.send_ordered(0, value, 1);
    world.pass(LINGER * 2).await;
    answer
}

/// The same for a batch of one producer.
async fn send_stamped(world: &World, value: &str, sequence: i32) -> Answer {
    let answer = world.send_batch(0, stamped(value, 5, sequence), None);
    world.pass(LINGER * 2).await;
    answer
}

/// They get the next offsets from `first` on, in the order in which they were sent.
async fn assert_in_order(sent: impl IntoIterator<Item = Answer>, first: u64) {
    for (answer, offset) in sent.into_iter().zip(first..) {
        assert_eq!(answer.offset().await, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn batches_below_the_floor_are_appended_once_from_another_segment() {
    let world = World::new().await;
    world.slow(1, LONG);
    let answers = [
        world.send(0, "a"),
        world.send_batch(0, stamped("b", 5, 0), None),
        world.send_ordered(1, "c", 1),
    ];
    world.pass(LINGER).await;
    assert_eq!(world.puts(), 1);
    raise_floor(&world, 2).await;
    let mut offsets = Vec::new();
    for answer in answers {
        let appended = answer.result().await.expect("it is appended");
        assert!(!appended.duplicate);
        offsets.push(appended.base_offset.get());
    }
    assert_eq!(offsets, [0, 1, 0]);
    assert_eq!(world.puts(), 2);
    assert_eq!(world.sequences(0).await, [2]);
    assert_eq!(world.values(0).await, ["a@0", "b@1"]);
    assert_eq!(world.values(1).await, ["c@0"]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_waits_for_an_earlier_one_that_is_stored_again() {
    let world = World::new().await;
    world.slow(1, LONG);
    let first = send_alone(&world, "first").await;
    let second = send_alone(&world, "second").await;
    raise_floor(&world, 3).await;
    assert_in_order([first, second], 0).await;
    assert_eq!(world.values(0).await, ["first@0", "second@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_reordered_when_only_its_earlier_segment_is_below_the_floor() {
    let world = World::new().await;
    world.slow(1, LONG);
    let first = send_alone(&world, "first").await;
    let second = send_alone(&world, "second").await;
    let third = send_alone(&world, "third").await;
    raise_floor(&world, 2).await;
    assert_in_order([first, second, third], 0).await;
    let expected = ["first@0", "second@1", "third@2"];
    assert_eq!(world.values(0).await, expected);
    let sequences = world.sequences(0).await;
    assert_eq!(sequences, [4, 2, 3], "the later ones keep their names");
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_never_reordered_or_refused_when_only_its_earlier_segment_is_below_the_floor()
{
    let world = World::new().await;
    assert_in_order([send_stamped(&world, "a", 0).await], 0).await;
    world.slow(2, LONG);
    let earlier = send_stamped(&world, "b", 1).await;
    let later = send_stamped(&world, "c", 2).await;
    raise_floor(&world, 3).await;
    assert_in_order([earlier, later], 1).await;
    assert_eq!(world.values(0).await, ["a@0", "b@1", "c@2"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_segment_that_cannot_be_stored_again_fails_with_it() {
    let world = World::new().await;
    world.slow(1, LONG);
    let first = send_alone(&world, "first").await;
    let beside = world.send_ordered(1, "beside", 1);
    let second = send_alone(&world, "second").await;
    raise_floor(&world, 2).await;
    world.slow(3, LONG);
    world.fail(3, Fault::DENIED);
    assert!(first.fails_unstored().await);
    assert!(second.fails_unstored().await);
    assert_eq!(beside.offset().await, 0);
    assert_eq!(world.values(0).await, Vec::<String>::new());
    let after = world.send_ordered(0, "after", 1).result().await;
    after.expect_err("the key is broken");
}

/// Enough for a checkpoint, after which the floor rises and receipts go.
const SEGMENTS: u64 = 2_100;

async fn live_through(world: &World, segments: u64) {
    for _ in 0..segments {
        world.send(0, "value").offset().await;
    }
}

/// Whether a commit under a name of this broker that comes late is refused, not answered.
async fn is_refused(world: &World, sequence: u64) -> bool {
    let batch = BatchEntry {
        length: 70,
        record_count: 1,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        min_timestamp: Timestamp::from_millis(100),
        max_timestamp: Timestamp::from_millis(100),
        max_timestamp_offset_delta: 0,
        transactional: false,
        control: false,
    };
    let slice = SliceEntry {
        partition: world.partition(0),
        position: 64,
        length: batch.length,
        crc32c: 0,
        batches: [batch].into_iter().collect(),
    };
    let sequence = SegmentSequence::new(sequence);
    let late = ShardCommit {
        manifest: Manifest {
            segment: SegmentName::new(world.engine.incarnation(), sequence),
            bucket: BucketId::default(),
            shard: ShardId::new(0),
            slices: vec![slice],
        },
        conditions: Vec::new(),
        orders: Vec::new(),
        dropped: Vec::new(),
        after: Vec::new(),
        done_below: SegmentSequence::default(),
        inline: None,
    };
    match &world.metadata.commit(vec![late]).await[..] {
        [Ok(_)] => false,
        [Err(CommitError::BelowFloor { .. })] => true,
        other => panic!("neither a receipt nor a floor: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_floor_of_a_broker_that_lives_on_follows_what_is_answered() {
    let world = World::new().await;
    live_through(&world, SEGMENTS).await;
    assert!(is_refused(&world, 1).await, "its receipt is gone");
    assert!(!is_refused(&world, SEGMENTS).await, "it has its receipt");
    assert_eq!(world.send(0, "more").offset().await, SEGMENTS);
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_keeps_the_floor_below_it() {
    let world = World::new().await;
    world.slow(1, Duration::from_mins(30));
    let mut slow = world.send(1, "slow");
    world.pass(LINGER * 2).await;
    live_through(&world, SEGMENTS).await;
    assert!(slow.is_pending());
    assert!(!is_refused(&world, 2).await, "it has its receipt");
    assert_eq!(slow.offset().await, 0);
    assert_eq!(world.sequences(1).await, [1], "it was not stored again");
}
