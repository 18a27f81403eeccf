//! A segment that cannot be stored takes with it what its senders sent behind it, and nothing else.

use std::time::Duration;

use object_store::ObjectStoreExt as _;
use tidelog_blob::faulty::Fault;
use tidelog_broker_engine::AppendError;
use tidelog_types::ErrorCode;

use crate::batches::stamped;
use crate::world::{LINGER, World, settings, soon};

/// The first upload fails at this time.
const FAILS_AT: Duration = Duration::from_secs(1);

/// A world whose first segment is refused, late.
async fn failing() -> World {
    let world = World::new().await;
    world.slow(1, FAILS_AT);
    world.fail(1, Fault::DENIED);
    world
}

#[tokio::test(start_paused = true)]
async fn what_the_same_sender_sent_behind_a_lost_segment_fails_and_nothing_else() {
    let world = failing().await;
    let start = world.env.clock.now();
    let first = world.send_ordered(0, "first", 1);
    world.pass(LINGER * 2).await;
    let behind = world.send_ordered(0, "behind", 1);
    let beside = world.send_ordered(0, "beside", 2);
    world.pass(LINGER * 2).await;
    let free = world.send(0, "free");
    assert_eq!(free.offset().await, 0);
    let just_before = FAILS_AT.checked_sub(LINGER / 2).expect("later");
    world
        .pass(start + just_before - world.env.clock.now())
        .await;
    let in_open = world.send_ordered(0, "in the open segment", 1);
    let in_open_beside = world.send_ordered(0, "beside in the open segment", 2);
    world.pass(LINGER).await;
    for lost in [first, behind, in_open] {
        let error = lost.result().await.expect_err("it was not stored");
        assert!(matches!(error, AppendError::NotStored { .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(!error.may_have_happened());
    }
    assert_eq!(beside.offset().await, 1);
    assert_eq!(in_open_beside.offset().await, 2);
    let after = world.send_ordered(0, "after", 1).result().await;
    let error = after.expect_err("the key is broken until its caller takes a new one");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    let elsewhere = world.send_ordered(1, "elsewhere", 1);
    assert_eq!(elsewhere.offset().await, 0);
    let expected = ["free@0", "beside@1", "beside in the open segment@2"];
    assert_eq!(world.values(0).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_producer_whose_segment_was_lost_sends_the_same_again_and_nothing_is_doubled() {
    let world = failing().await;
    let first = world.send_batch(0, stamped("a", 5, 0), None);
    world.pass(LINGER * 2).await;
    let behind = world.send_batch(0, stamped("b", 5, 1), None);
    assert!(first.fails_unstored().await);
    assert!(behind.fails_unstored().await);
    let again = [
        world.send_batch(0, stamped("a", 5, 0), None),
        world.send_batch(0, stamped("b", 5, 1), None),
    ];
    for (expected, answer) in (0..).zip(again) {
        let appended = answer.result().await.expect("it is appended");
        assert!(!appended.duplicate);
        assert_eq!(appended.base_offset.get(), expected);
    }
    assert_eq!(world.values(0).await, ["a@0", "b@1"]);
}

#[tokio::test(start_paused = true)]
async fn failing_goes_on_to_the_senders_of_what_fails() {
    let world = failing().await;
    let first = world.send_ordered(0, "a1", 1);
    world.pass(LINGER * 2).await;
    // One batch with two senders ties them together.
    let both = world.send_batch(0, stamped("a2", 5, 0), Some(1));
    world.pass(LINGER * 2).await;
    let third = world.send_batch(0, stamped("b2", 5, 1), None);
    for lost in [first, both, third] {
        assert!(lost.fails_unstored().await);
    }
    assert_eq!(world.values(0).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_only_batch_was_lost_stays_broken_in_that_partition() {
    let world = failing().await;
    assert!(world.send_ordered(0, "lost", 1).fails_unstored().await);
    for _ in 0..2 {
        let after = world.send_ordered(0, "after", 1).result().await;
        let error = after.expect_err("the key is broken");
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(!error.may_have_happened());
    }
    assert_eq!(world.puts(), 1, "what is refused is not stored");
    assert_eq!(world.send_ordered(0, "new key", 2).offset().await, 0);
    assert_eq!(world.send_ordered(1, "elsewhere", 1).offset().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_segment_whose_batches_have_all_failed_is_not_stored_and_others_leave_them_out() {
    let mut settings = settings();
    settings.append.uploads_max = 1;
    let world = World::with(settings).await;
    world.slow(1, FAILS_AT);
    world.fail(1, Fault::DENIED);
    let first = world.send_ordered(0, "first", 1);
    world.pass(LINGER).await;
    // No second upload may begin: these wait in the open segment, past its linger.
    let behind = world.send_ordered(0, "behind", 1);
    assert!(first.fails_unstored().await);
    assert!(behind.fails_unstored().await);
    world.pass(LINGER * 2).await;
    assert_eq!(world.puts(), 1);
    world.slow(2, FAILS_AT);
    world.fail(2, Fault::DENIED);
    let second = world.send_ordered(0, "second", 2);
    world.pass(LINGER).await;
    let large = "x".repeat(10_000);
    let behind = world.send_ordered(0, &large, 2);
    let beside = world.send_ordered(1, "beside", 2);
    assert!(second.fails_unstored().await);
    assert!(behind.fails_unstored().await);
    assert_eq!(beside.offset().await, 0);
    assert_eq!(world.puts(), 3);
    let stored = world.objects.head(&world.path(3)).await.expect("stored");
    assert!(stored.size < 10_000, "{} bytes", stored.size);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_full_segment_goes_on_when_all_of_that_segment_fails() {
    let mut settings = settings();
    settings.append.segment_bytes = 4 * 1024;
    settings.append.uploads_max = 1;
    let world = World::with(settings).await;
    world.slow(1, FAILS_AT);
    world.fail(1, Fault::DENIED);
    let value = "x".repeat(3 * 1024);
    let first = world.send_ordered(0, &value, 1);
    world.pass(LINGER * 2).await;
    let full = world.send_ordered(0, &value, 1);
    let overflow = world.send_ordered(1, &value, 2);
    world.pass(LINGER * 2).await;
    assert!(first.fails_unstored().await);
    assert!(full.fails_unstored().await);
    assert_eq!(overflow.offset().await, 0);
    soon(&world.env, world.engine.drain()).await;
}
