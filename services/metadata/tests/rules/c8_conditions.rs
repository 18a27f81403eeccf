//! C8: conditions are checked per batch in commit order, after the check for duplicates.

use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata_api::{BatchCondition, CommitError, Log as _, LogError};
use tidelog_types::{ErrorCode, Offset};

use crate::manifests::{
    accepted, duplicate, expect_next, expect_token, one, only, plain, refused, segment, sent,
    token, wrong_offset,
};
use crate::world::{World, partition};

fn wrong_token(actual: &'static str) -> tidelog_format::manifest::Outcome {
    let detail = RefusalDetail::FencingToken(token(actual).as_bytes().clone());
    refused(ErrorCode::FencingTokenMismatch, detail)
}

fn take_over(expected: &'static str, set: &'static str) -> BatchCondition {
    BatchCondition {
        set_fencing_token: Some(token(set)),
        ..expect_token(expected)
    }
}

#[tokio::test(start_paused = true)]
async fn an_expected_offset_is_compared_in_commit_order_and_a_mismatch_names_the_actual_one() {
    let (_, process) = World::opened().await;
    let commit = segment(1)
        .slice(partition(0), &[plain(2), plain(3), plain(1), plain(1)])
        .slice(partition(1), &[plain(1)])
        .condition(0, 0, expect_next(0))
        .condition(0, 1, expect_next(3))
        .condition(0, 2, expect_next(2))
        .condition(1, 0, expect_next(1))
        .done();
    let answer = process.send(commit).await.expect("the owner");
    let expected = [
        accepted(0),
        wrong_offset(2),
        accepted(2),
        accepted(3),
        wrong_offset(0),
    ];
    assert_eq!(answer.outcomes, expected);
    let later = segment(2)
        .slice(partition(0), &[plain(1)])
        .condition(0, 0, expect_next(5))
        .done();
    let answer = process.send(later).await.expect("the owner");
    assert_eq!(only(&answer), wrong_offset(4));
}

#[tokio::test(start_paused = true)]
async fn of_two_writers_that_expect_one_offset_one_wins() {
    let (_, process) = World::opened().await;
    let contender = |sequence| {
        segment(sequence)
            .slice(partition(0), &[plain(1)])
            .condition(0, 0, expect_next(0))
            .done()
    };
    let answers = process.commit(vec![contender(1), contender(2)]).await;
    let outcomes: Vec<_> = answers
        .iter()
        .map(|answer| only(answer.as_ref().expect("the owner")))
        .collect();
    assert_eq!(outcomes, [accepted(0), wrong_offset(1)]);
}

/// A retry of an accepted conditional batch hears of its success, not of a mismatch.
#[tokio::test(start_paused = true)]
async fn a_duplicate_is_found_before_its_conditions_are_compared() {
    let (_, process) = World::opened().await;
    for (sequence, outcome) in [(1, accepted(0)), (2, duplicate(0))] {
        let commit = segment(sequence)
            .slice(partition(0), &[sent(1, 0, 2)])
            .condition(0, 0, expect_next(0))
            .done();
        let answer = process.send(commit).await.expect("the owner");
        assert_eq!(only(&answer), outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fencing_token_set_by_a_batch_or_a_command_holds_from_there_on_and_over_a_restart() {
    let (world, process) = World::opened().await;
    let commit = segment(1)
        .slice(partition(0), &[plain(1), plain(1), plain(1), plain(1)])
        .condition(0, 0, take_over("", "one"))
        .condition(0, 1, expect_token(""))
        .condition(0, 2, expect_token("one"))
        .done();
    let answer = process.send(commit).await.expect("the owner");
    let expected = [accepted(0), wrong_token("one"), accepted(1), accepted(2)];
    assert_eq!(answer.outcomes, expected, "who names no token is not asked");

    let mismatch = process
        .set_fencing_token(partition(0), Some(token("")), token("two"))
        .await;
    assert_eq!(mismatch, Err(LogError::FencingTokenMismatch));
    process
        .set_fencing_token(partition(0), Some(token("one")), token("two"))
        .await
        .expect("the token is the one expected");

    for process in [process, world.open_on(&world.store.sibling()).await] {
        // The first of the two has lost the shard by now; the second has read the token.
        let stale = process
            .set_fencing_token(partition(0), Some(token("one")), token("three"))
            .await;
        assert!(stale.is_err(), "{stale:?}");
    }
    let process = world.open().await;
    let commit = segment(3)
        .slice(partition(0), &[plain(1), plain(1)])
        .condition(0, 0, expect_token("one"))
        .condition(0, 1, expect_token("two"));
    let answer = process.send(commit.done()).await.expect("the owner");
    assert_eq!(answer.outcomes, [wrong_token("two"), accepted(3)]);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_many_tokens_in_one_manifest_is_the_one_after_a_restart() {
    let (world, process) = World::opened().await;
    let commit = segment(1)
        .slice(partition(0), &[plain(1), plain(1), plain(1)])
        .slice(partition(1), &[plain(1)])
        .condition(0, 0, take_over("", "a"))
        .condition(0, 1, take_over("a", "b"))
        .condition(0, 2, take_over("a", "c"))
        .condition(1, 0, take_over("", "d"))
        .done();
    let answer = process.send(commit).await.expect("the owner");
    let expected = [accepted(0), accepted(1), wrong_token("b"), accepted(0)];
    assert_eq!(answer.outcomes, expected);
    let process = world.open().await;
    let commit = segment(2)
        .slice(partition(0), &[plain(1)])
        .slice(partition(1), &[plain(1)])
        .condition(0, 0, expect_token("b"))
        .condition(1, 0, expect_token("d"))
        .done();
    let answer = process.send(commit).await.expect("the owner");
    assert_eq!(answer.outcomes, [accepted(2), accepted(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_sets_no_token() {
    let (_, process) = World::opened().await;
    let set = BatchCondition {
        set_fencing_token: Some(token("mine")),
        ..expect_next(7)
    };
    let commit = segment(1)
        .slice(partition(0), &[plain(1), plain(1)])
        .condition(0, 0, set)
        .condition(0, 1, expect_token(""))
        .done();
    let answer = process.send(commit).await.expect("the owner");
    assert_eq!(answer.outcomes, [wrong_offset(0), accepted(0)]);
}

/// A command takes its place between the commits around it.
#[tokio::test(start_paused = true)]
async fn a_command_on_the_token_is_ordered_with_commits() {
    let (_, process) = World::opened().await;
    let checked = |sequence, text| {
        segment(sequence)
            .slice(partition(0), &[plain(1)])
            .condition(0, 0, expect_token(text))
            .done()
    };
    // A first answer makes the partition known, so that the command needs no read to find its shard.
    process.send_until_answered(&checked(1, "")).await;
    process.bounds_of(partition(0)).await;
    let before = process.commit(vec![checked(2, "")]);
    let command = process.set_fencing_token(partition(0), None, token("new"));
    let after = async {
        process
            .commit(vec![checked(3, ""), checked(4, "new")])
            .await
    };
    let (command, before, after) = tokio::join!(biased; command, before, after);
    command.expect("the owner");
    assert_eq!(only(before[0].as_ref().expect("the owner")), accepted(1));
    assert_eq!(only(after[0].as_ref().expect("ok")), wrong_token("new"));
    assert_eq!(only(after[1].as_ref().expect("ok")), accepted(2));
}

/// A condition that is out of place would be passed over in silence, so the whole is refused.
#[tokio::test(start_paused = true)]
async fn conditions_that_are_out_of_order_or_name_no_batch_are_malformed() {
    let (world, process) = World::opened().await;
    let base = || segment(1).slice(partition(0), &[plain(1), plain(1)]);
    let drafts = [
        base()
            .condition(0, 1, expect_next(0))
            .condition(0, 0, expect_next(0)),
        base()
            .condition(0, 1, expect_next(0))
            .condition(0, 1, expect_next(0)),
        base().condition(0, 2, expect_next(0)),
        base().condition(1, 0, expect_next(0)),
        base().order(0, 1, 5).order(0, 0, 5),
        base().order(0, 9, 5),
        base().dropped(0, 1).dropped(0, 0),
        base().dropped(3, 0),
    ];
    for draft in drafts {
        let commit = draft.done();
        let error = process.send(commit.clone()).await.expect_err("malformed");
        assert!(
            matches!(error, CommitError::Malformed { .. }),
            "{error:?} for {commit:?}"
        );
    }
    assert_eq!(process.high_watermark(partition(0)).await, 0);
    assert_eq!(
        world.store.rows(tidelog_metadata::keyspace::KeyKind::Tail),
        []
    );
    let good = process.send(one(1, partition(0), plain(1))).await;
    assert_eq!(only(&good.expect("nothing was committed")), accepted(0));
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_up_to_the_end_and_never_come_back() {
    let (world, process) = World::opened().await;
    process
        .send_until_answered(&one(1, partition(0), plain(10)))
        .await;
    let deletions = [(4, 4), (2, 4), (4, 4), (99, 10), (0, 10)];
    for (before, log_start) in deletions {
        let (bounds, _) = process
            .delete_records(partition(0), Offset::new(before))
            .await
            .expect("the owner");
        assert_eq!(bounds.log_start.get(), log_start);
        assert_eq!(bounds.high_watermark.get(), 10);
    }
    let process = world.open().await;
    assert_eq!(process.bounds_of(partition(0)).await.log_start.get(), 10);
    let next = process.send(one(2, partition(0), plain(1))).await;
    assert_eq!(only(&next.expect("the owner")), accepted(10));
}
