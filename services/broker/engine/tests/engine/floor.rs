//! A segment whose name fell below its floor is stored again under a new one (rule C6).

use std::time::Duration;

use tidelog_blob::faulty::Fault;
use tidelog_metadata_api::Log as _;
use tidelog_types::SegmentSequence;

use crate::batches::stamped;
use crate::world::{LINGER, World};

const LONG: Duration = Duration::from_secs(1);

async fn raise_floor(world: &World, floor: u64) {
    let incarnation = world.engine.incarnation();
    world
        .metadata
        .raise_floor(incarnation, SegmentSequence::new(floor))
        .await
        .expect("the store answers");
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
    let first = world.send_ordered(0, "first", 1);
    world.pass(LINGER * 2).await;
    let second = world.send_ordered(0, "second", 1);
    world.pass(LINGER * 2).await;
    raise_floor(&world, 3).await;
    assert_eq!(first.offset().await, 0);
    assert_eq!(second.offset().await, 1);
    assert_eq!(world.values(0).await, ["first@0", "second@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_reordered_when_only_its_earlier_segment_is_below_the_floor() {
    let world = World::new().await;
    world.slow(1, LONG);
    let first = world.send_ordered(0, "first", 1);
    world.pass(LINGER * 2).await;
    let second = world.send_ordered(0, "second", 1);
    world.pass(LINGER * 2).await;
    let third = world.send_ordered(0, "third", 1);
    world.pass(LINGER * 2).await;
    raise_floor(&world, 2).await;
    assert_eq!(first.offset().await, 0);
    assert_eq!(second.offset().await, 1);
    assert_eq!(third.offset().await, 2);
    let expected = ["first@0", "second@1", "third@2"];
    assert_eq!(world.values(0).await, expected);
    let sequences = world.sequences(0).await;
    assert_eq!(sequences, [4, 2, 3], "the later ones keep their names");
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_never_reordered_or_refused_when_only_its_earlier_segment_is_below_the_floor()
{
    let world = World::new().await;
    let begun = world.send_batch(0, stamped("a", 5, 0), None);
    assert_eq!(begun.offset().await, 0);
    world.slow(2, LONG);
    let earlier = world.send_batch(0, stamped("b", 5, 1), None);
    world.pass(LINGER * 2).await;
    let later = world.send_batch(0, stamped("c", 5, 2), None);
    world.pass(LINGER * 2).await;
    raise_floor(&world, 3).await;
    assert_eq!(earlier.offset().await, 1);
    assert_eq!(later.offset().await, 2);
    assert_eq!(world.values(0).await, ["a@0", "b@1", "c@2"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_segment_that_cannot_be_stored_again_fails_with_it() {
    let world = World::new().await;
    world.slow(1, LONG);
    let first = world.send_ordered(0, "first", 1);
    world.pass(LINGER * 2).await;
    let second = world.send_ordered(0, "second", 1);
    let beside = world.send_ordered(1, "beside", 1);
    world.pass(LINGER * 2).await;
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
