//! C5: a receipt proves a commit: each retry of a manifest finds the first answer.

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{Log as _, ShardCommit};

use crate::manifests::{accepted, expect_next, one, only, plain, segment, sent, wrong_offset};
use crate::world::{Process, World, partition, settings};

/// A manifest whose second judgement would differ in every outcome.
fn telling() -> ShardCommit {
    segment(1)
        .slice(partition(0), &[plain(2), plain(3)])
        .slice(partition(1), &[sent(8, 0, 1), plain(1)])
        .condition(1, 1, expect_next(9))
        .done()
}

async fn assert_first_answer(process: &Process, context: &str) {
    let rows = process.log_of(partition(0)).await;
    let answer = process.send(telling()).await.expect("it has a receipt");
    let first = [accepted(0), accepted(2), accepted(0), wrong_offset(1)];
    assert_eq!(answer.outcomes, first, "{context}");
    assert_eq!(answer.token.group.get(), 1, "{context}");
    assert_eq!(process.log_of(partition(0)).await, rows, "{context}");
}

#[tokio::test(start_paused = true)]
async fn a_retried_manifest_gets_its_first_answer_in_one_group_and_in_later_ones() {
    let (world, process) = World::opened().await;
    let answers = process.commit(vec![telling(), telling()]).await;
    let [Ok(first), Ok(second)] = &answers[..] else {
        panic!("both are answered: {answers:?}");
    };
    assert_eq!(first.outcomes, second.outcomes);
    assert_eq!(first.token, second.token);
    assert_first_answer(&process, "later").await;
    assert_eq!(world.store.rows(KeyKind::Tail).len(), 1);
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_outlives_ten_thousand_groups_and_a_restart() {
    let world = World::with(settings(1_000));
    let process = world.open().await;
    process.send_until_answered(&telling()).await;
    for sequence in 2..10_002 {
        let commit = one(sequence, partition(2), plain(1));
        process.send(commit).await.expect("it is the owner");
    }
    assert_first_answer(&process, "10,000 groups later").await;
    process.stop().await;
    let process = world.open().await;
    assert_first_answer(&process, "after a restart").await;
    assert_eq!(process.high_watermark(partition(2)).await, 10_000);
    let next = process.send(one(20_000, partition(0), plain(1))).await;
    assert_eq!(only(&next.expect("it is the owner")), accepted(5));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_of_refused_batches_alone_has_a_receipt_too() {
    let (world, process) = World::opened().await;
    let refused = segment(3)
        .slice(partition(0), &[plain(1)])
        .condition(0, 0, expect_next(5))
        .done();
    let first = process.send(refused.clone()).await.expect("it is judged");
    assert_eq!(only(&first), wrong_offset(0));
    let five = one(4, partition(0), plain(5));
    process.send(five).await.expect("it is the owner");
    // Now the condition would hold; the answer stands all the same.
    let again = process.send(refused).await.expect("it has a receipt");
    assert_eq!(only(&again), wrong_offset(0));
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 2);
}
