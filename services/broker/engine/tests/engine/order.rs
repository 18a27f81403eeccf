//! What one sender sends in order is committed in order, however the uploads end; nobody else waits.

use std::time::Duration;

use crate::batches::stamped;
use crate::world::{Answer, LINGER, World};

const LONG: Duration = Duration::from_secs(1);

/// Lets the open segment close.
async fn next_segment(world: &World) {
    world.pass(LINGER * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_segment_waits_for_an_earlier_one_of_the_same_order_key_and_no_other_does() {
    let world = World::new().await;
    world.slow(1, LONG);
    let mut first = world.send_ordered(0, "first", 1);
    next_segment(&world).await;
    let mut second = world.send_ordered(0, "second", 1);
    next_segment(&world).await;
    let free = world.send(0, "free");
    next_segment(&world).await;
    let other_key = world.send_ordered(0, "other key", 2);
    next_segment(&world).await;
    let other_partition = world.send_ordered(1, "other partition", 1);
    assert_eq!(free.offset().await, 0);
    assert_eq!(other_key.offset().await, 1);
    assert_eq!(other_partition.offset().await, 0);
    assert!(first.is_pending() && second.is_pending());
    assert_eq!(world.puts(), 5, "the second segment is stored already");
    assert_eq!(first.offset().await, 2);
    assert_eq!(second.offset().await, 3);
    let expected = ["free@0", "other key@1", "first@2", "second@3"];
    assert_eq!(world.values(0).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_a_sender_without_any_key() {
    let world = World::new().await;
    world.slow(1, LONG);
    let mut answers: Vec<Answer> = Vec::new();
    for (sequence, value) in (0..).zip(["a", "b", "c"]) {
        answers.push(world.send_batch(0, stamped(value, 5, sequence), None));
        next_segment(&world).await;
    }
    let other = world.send_batch(0, stamped("other", 6, 0), None);
    assert_eq!(other.offset().await, 0);
    assert!(answers.iter_mut().all(Answer::is_pending));
    for (expected, answer) in (1..).zip(answers) {
        assert_eq!(answer.offset().await, expected);
    }
    assert_eq!(world.values(0).await, ["other@0", "a@1", "b@2", "c@3"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_goes_on_from_segment_to_segment() {
    let world = World::new().await;
    world.slow(1, LONG);
    let first = world.send_ordered(0, "a1", 1);
    next_segment(&world).await;
    // One segment with two senders: it waits for the first, and who is behind the other waits for it.
    let both = [
        world.send_ordered(0, "a2", 1),
        world.send_ordered(0, "b1", 2),
    ];
    next_segment(&world).await;
    let mut last = world.send_ordered(0, "b2", 2);
    next_segment(&world).await;
    assert_eq!(world.puts(), 3);
    assert!(last.is_pending());
    assert_eq!(first.offset().await, 0);
    for (expected, answer) in (1..).zip(both) {
        assert_eq!(answer.offset().await, expected);
    }
    assert_eq!(last.offset().await, 3);
}
