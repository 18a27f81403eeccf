//! Rows stay within the store's limits, whatever is committed: a manifest that cannot be stored is
//! refused, and ends no owner.

use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{BatchCondition, CommitError, Log as _, ShardCommit};
use tidelog_types::ErrorCode;
use tidelog_types::limits::{STORE_TRANSACTION_BYTES_MAX, STORE_VALUE_BYTES_MAX};

use crate::manifests::{accepted, expect_token, one, only, plain, segment, sent, token};
use crate::world::{Process, World, partition};

const LONG_TOKEN: &str = "a token of thirty-six bytes, no less";

/// Batches of one producer in a row, the smallest that a manifest can say.
fn tiny(count: i32) -> Vec<BatchEntry> {
    (0..count).map(|sequence| sent(1, sequence, 1)).collect()
}

/// The first batch fails for the token, and all others of its caller with it and its detail.
fn all_refused(sequence: u64, count: i32) -> ShardCommit {
    let mut draft = segment(sequence)
        .slice(partition(0), &tiny(count))
        .condition(0, 0, expect_token("not the one"));
    for batch in 0..count.unsigned_abs() {
        draft = draft.order(0, batch, sequence);
    }
    draft.done()
}

async fn with_long_token(world: &World) -> Process {
    let process = world.open().await;
    process
        .set_fencing_token(partition(0), None, token(LONG_TOKEN))
        .await
        .expect("the owner");
    process
}

fn assert_values_fit(world: &World) {
    for (key, value) in world.store.memory.dump() {
        assert!(value.len() <= STORE_VALUE_BYTES_MAX, "{key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_that_would_outgrow_a_row_lose_their_details_and_not_their_codes() {
    let world = World::new();
    let process = with_long_token(&world).await;
    let commit = all_refused(1, 9_000);
    assert!(commit.manifest.encode().len() < 64 * 1024);
    let answer = process.send(commit.clone()).await.expect("the owner");
    let refused = Outcome::Refused {
        code: ErrorCode::FencingTokenMismatch,
        detail: RefusalDetail::None,
    };
    assert!(answer.outcomes.iter().all(|outcome| *outcome == refused));
    assert_values_fit(&world);
    let process = world.open().await;
    let again = process.send(commit).await.expect("the owner");
    assert_eq!(again.outcomes, answer.outcomes);
    let next = process.send(one(2, partition(0), sent(1, 0, 1))).await;
    assert_eq!(only(&next.expect("no sequence was taken")), accepted(0));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_whose_rows_fit_nowhere_is_malformed_and_leaves_no_trace() {
    let (world, process) = World::opened().await;
    let huge = segment(1).slice(partition(0), &tiny(20_000)).done();
    let before = one(2, partition(0), plain(3));
    let behind = one(3, partition(0), sent(1, 0, 1));
    let answers = process.commit(vec![before, huge, behind]).await;
    let [Ok(before), Err(error), Ok(behind)] = &answers[..] else {
        panic!("only the second is refused: {answers:?}");
    };
    assert!(matches!(error, CommitError::Malformed { .. }), "{error:?}");
    assert_eq!(only(before), accepted(0));
    assert_eq!(only(behind), accepted(3), "no sequence was taken");
    assert_eq!(process.high_watermark(partition(0)).await, 4);
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 2);
}

/// All of them wait in the mailbox and come into one group, which takes several transactions.
#[tokio::test(start_paused = true)]
async fn a_group_of_large_receipts_is_committed_in_parts_and_in_order() {
    let world = World::new();
    let process = with_long_token(&world).await;
    let mut commits: Vec<_> = (1..=60)
        .map(|sequence| all_refused(sequence, 1_400))
        .collect();
    commits.push(one(61, partition(0), plain(1)));
    let answers = process.commit(commits).await;
    assert_eq!(answers.len(), 61);
    let mut groups = Vec::new();
    for answer in &answers {
        groups.push(answer.as_ref().expect("the owner").token.group);
    }
    assert!(groups.is_sorted());
    groups.dedup();
    assert!(groups.len() > 1, "one transaction does not hold them");
    assert_eq!(only(answers[60].as_ref().expect("ok")), accepted(0));
    assert_values_fit(&world);
}

/// The largest manifest, each of its batches with a token: only the last token of a partition counts.
#[tokio::test(start_paused = true)]
async fn a_token_in_every_batch_is_one_row_a_partition() {
    let (world, process) = World::opened().await;
    let mut draft = segment(1).slice(partition(0), &tiny(8_000));
    for batch in 0..8_000 {
        let condition = BatchCondition {
            set_fencing_token: Some(token(LONG_TOKEN)),
            ..BatchCondition::default()
        };
        draft = draft.condition(0, batch, condition);
    }
    let answer = process.send(draft.done()).await.expect("the owner");
    assert_eq!(answer.outcomes.len(), 8_000);
    assert_eq!(world.store.rows(KeyKind::Tail).len(), 2);
    let bytes: usize = world
        .store
        .memory
        .dump()
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert!(bytes < STORE_TRANSACTION_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_breaks_its_format_is_malformed_and_the_shard_lives_on() {
    let (world, process) = World::opened().await;
    let mut wrong_length = one(1, partition(0), plain(1));
    wrong_length.manifest.slices[0].length += 1;
    let mut no_slices = one(2, partition(0), plain(1));
    no_slices.manifest.slices.clear();
    for commit in [wrong_length, no_slices] {
        let error = process.send(commit).await.expect_err("malformed");
        assert!(matches!(error, CommitError::Malformed { .. }), "{error:?}");
    }
    let good = process.send(one(3, partition(0), plain(1))).await;
    assert_eq!(only(&good.expect("the owner")), accepted(0));
    let next = world.open().await;
    assert_eq!(next.high_watermark(partition(0)).await, 1);
}
