//! C8: what a caller pipelined behind a failed batch fails too, for the same reason.

use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata_api::{CommitError, Log as _};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{ErrorCode, SegmentSequence};

use tidelog_metadata::keyspace::KeyKind;

use crate::manifests::{
    WRITER, accepted, expect_next, name, only, plain, refused, segment, sent, wrong_offset,
};
use crate::world::{World, partition};

const CALLER: u64 = 11;
const OTHER: u64 = 12;

/// A batch of `key` in partition 0.
fn pipelined(sequence: u64, key: u64) -> crate::manifests::Draft {
    segment(sequence)
        .slice(partition(0), &[plain(1)])
        .order(0, 0, key)
}

#[tokio::test(start_paused = true)]
async fn what_was_pipelined_behind_a_failed_batch_fails_with_its_reason() {
    let (_, process) = World::opened().await;
    let commit = segment(1)
        .slice(partition(0), &[plain(1), plain(1), plain(1), plain(1)])
        .slice(partition(1), &[plain(1)])
        .condition(0, 0, expect_next(5))
        .order(0, 0, CALLER)
        .order(0, 1, CALLER)
        .order(0, 2, OTHER)
        .order(1, 0, CALLER)
        .done();
    let same_group = pipelined(2, CALLER).done();
    let answers = process.commit(vec![commit, same_group]).await;
    let first = answers[0].as_ref().expect("the owner");
    let expected = [
        wrong_offset(0),
        wrong_offset(0),
        accepted(0),
        accepted(1),
        accepted(0),
    ];
    assert_eq!(
        first.outcomes, expected,
        "others and other partitions go on"
    );
    let second = answers[1].as_ref().expect("the owner");
    assert_eq!(only(second), wrong_offset(0));
    let later = process.send(pipelined(3, CALLER).done()).await;
    assert_eq!(only(&later.expect("the owner")), wrong_offset(0));
    // The caller has heard of it and goes on under a new key.
    let fresh = process.send(pipelined(4, 99).done()).await;
    assert_eq!(only(&fresh.expect("the owner")), accepted(2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_the_broker_dropped_is_refused_unseen_and_breaks_its_order() {
    let (_, process) = World::opened().await;
    let commit = segment(1)
        .slice(partition(0), &[sent(1, 0, 1), plain(1), sent(1, 0, 1)])
        .order(0, 0, CALLER)
        .order(0, 1, CALLER)
        .dropped(0, 0)
        .done();
    let answer = process.send(commit).await.expect("the owner");
    let unavailable = refused(ErrorCode::Unavailable, RefusalDetail::None);
    let expected = [unavailable.clone(), unavailable, accepted(0)];
    assert_eq!(answer.outcomes, expected);
}

/// The order is broken once the failure is durable, not before: a group that never landed broke none.
#[tokio::test(start_paused = true)]
async fn a_failure_in_a_group_that_was_decided_again_counts_as_decided_last() {
    let (world, process) = World::opened().await;
    for landing in [Landing::Never, Landing::Now] {
        world
            .store
            .fail(KeyKind::Tail, CommitFault::Unknown(landing));
        let base = if landing == Landing::Now { 2 } else { 0 };
        let fails = pipelined(base + 1, base + 100).condition(0, 0, expect_next(50));
        let behind = pipelined(base + 2, base + 100).done();
        let answers = process.commit(vec![fails.done(), behind]).await;
        for answer in answers {
            let outcome = only(&answer.expect("it was settled"));
            assert_eq!(outcome, wrong_offset(0), "{landing:?}");
        }
    }
}

/// The broker asks the new owner again, in order; the receipt says that the first batch failed.
#[tokio::test(start_paused = true)]
async fn what_was_pipelined_behind_fails_after_a_takeover_too() {
    let (world, old) = World::opened().await;
    let fails = pipelined(1, CALLER).condition(0, 0, expect_next(5)).done();
    let answer = old.send(fails.clone()).await.expect("the owner");
    assert_eq!(only(&answer), wrong_offset(0));
    let new = world.open_on(&world.store.sibling()).await;
    let behind = pipelined(2, CALLER).done();
    let answers = new.commit(vec![fails, behind]).await;
    for answer in answers {
        assert_eq!(only(&answer.expect("the owner")), wrong_offset(0));
    }
}

/// A segment whose predecessor was refused or never came would otherwise overtake it.
#[tokio::test(start_paused = true)]
async fn what_comes_after_a_segment_waits_until_that_one_is_committed() {
    let (_, process) = World::opened().await;
    let second = pipelined(2, CALLER).after(1).done();
    let early = process.send(second.clone()).await.expect_err("too early");
    let expected = CommitError::Early { after: name(1) };
    assert_eq!(early, expected);
    assert!(early.may_ask_again());
    let third = pipelined(3, CALLER).after(2).done();
    let group = vec![pipelined(1, CALLER).done(), second, third];
    let answers = process.commit(group).await;
    let outcomes: Vec<_> = answers
        .iter()
        .map(|answer| only(answer.as_ref().expect("in order")))
        .collect();
    assert_eq!(outcomes, [accepted(0), accepted(1), accepted(2)]);
    let durable_before = pipelined(4, CALLER).after(3).done();
    let answer = process.send(durable_before).await.expect("in order");
    assert_eq!(only(&answer), accepted(3));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_segment_below_the_floor_waits_for_its_next_name() {
    let (_, process) = World::opened().await;
    let floor = SegmentSequence::new(2);
    process.raise_floor(WRITER, floor).await.expect("durable");
    let group = vec![
        pipelined(1, CALLER).done(),
        pipelined(2, CALLER).after(1).done(),
    ];
    let answers = process.commit(group).await;
    let [
        Err(CommitError::BelowFloor { .. }),
        Err(CommitError::Early { after }),
    ] = &answers[..]
    else {
        panic!("neither is committed: {answers:?}");
    };
    assert_eq!(*after, name(1));
    let again = vec![
        pipelined(3, CALLER).done(),
        pipelined(2, CALLER).after(3).done(),
    ];
    let answers = process.commit(again).await;
    for (expected, answer) in (0..).zip(&answers) {
        assert_eq!(only(answer.as_ref().expect("in order")), accepted(expected));
    }
}
