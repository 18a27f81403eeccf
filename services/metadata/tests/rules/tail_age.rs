//! The unmerged tail of a shard: since when it grows is a metric, and past a limit that an operator may
//! set, the shard takes nothing new.

use std::time::Duration;

use tidelog_metadata::SequencerSettings;
use tidelog_metadata_api::CommitError;

use crate::manifests::{accepted, one, only, plain};
use crate::world::{Process, World, partition, settings};

const AGE_MAX: Duration = Duration::from_mins(10);

/// When the clock of every world starts, in seconds since 1970.
const START: u64 = 1_000;

fn tail_since(process: &Process) -> u64 {
    process.metric("shard_tail_since_seconds{shard=\"0\"}")
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_is_too_old_stops_commits_and_answers_what_is_there() {
    let world = World::with(SequencerSettings {
        tail_age_max: Some(AGE_MAX),
        ..settings(4)
    });
    let first = world.open().await;
    for sequence in 1..=5 {
        let commit = one(sequence, partition(0), plain(1));
        let answer = first.send_until_answered(&commit).await;
        assert_eq!(only(&answer), accepted(sequence - 1));
    }
    assert_eq!(tail_since(&first), START);
    world.clock.jump_wall(600_000);
    let late = first.send(one(6, partition(0), plain(1))).await;
    assert_eq!(only(&late.expect("it is not older")), accepted(5));
    world.clock.jump_wall(1);
    let error = first.send(one(7, partition(0), plain(1))).await;
    let error = error.expect_err("its tail is too old");
    assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
    // Also after a takeover, since the tail is read.
    let second = world.open().await;
    let error = second.send(one(7, partition(0), plain(1))).await;
    let Err(CommitError::Unavailable { reason }) = error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("tail of shard `0`"), "{reason}");
    let known = second.send(one(3, partition(0), plain(1))).await;
    assert_eq!(only(&known.expect("it has a receipt")), accepted(2));
    assert_eq!(second.latest(partition(0)).await, Ok(6));
    assert_eq!(tail_since(&second), START);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_tail_may_grow_old() {
    let (world, process) = World::opened().await;
    process
        .send_until_answered(&one(1, partition(0), plain(1)))
        .await;
    world.clock.jump_wall(86_400_000);
    let answer = process.send(one(2, partition(0), plain(1))).await;
    assert_eq!(only(&answer.expect("there is no limit")), accepted(1));
    assert_eq!(tail_since(&process), START);
    assert_eq!(process.metric("shard_manifests_total{shard=\"0\"}"), 2);
}
