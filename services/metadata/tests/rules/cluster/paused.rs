//! Rule C1 across processes: an owner that was stopped for longer than its lease and goes on changes
//! nothing, wherever it was stopped, also with a read version from after it woke.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{CommitError, Log as _, LogError, LookupRequest};
use tidelog_types::{Offset, Timestamp};

use super::audit::{Load, judge};
use super::nodes::{Node, SHARDS, id, world};
use crate::manifests::{accepted, one, only, plain};
use crate::world::{World, partition};

/// A process that has a shard, and another that waits.
async fn pair(seed: u64) -> (World, Node, Node) {
    let world = world(seed, 1);
    let owner = world.join(1).await;
    owner.until_shared_by(&[id(1)]).await;
    let heir = world.join(2).await;
    (world, owner, heir)
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_wakes_before_its_commit_begins_commits_nothing() {
    let (world, owner, heir) = pair(1).await;
    owner.store.freeze();
    // It waits for a read version, which it gets only when it wakes.
    let late = owner.commit(vec![one(1, partition(0), plain(3))]);
    heir.until_shared_by(&[id(2)]).await;
    // It knows by then that the store does not hear it, though not what became of the commit.
    assert!(matches!(late.await[..], [Err(CommitError::Unknown)]));
    let tail = world.store.rows(KeyKind::Tail);
    owner.store.thaw();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(owner.process.metric("ended_total"), 1, "it went on with it");
    assert_eq!(world.store.rows(KeyKind::Tail), tail);
    let answer = heir
        .send_until_answered(&one(1, partition(0), plain(3)))
        .await;
    assert_eq!(only(&answer), accepted(0));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_wakes_in_the_middle_of_its_commit_commits_nothing() {
    let (world, owner, heir) = pair(2).await;
    let hold = owner.store.hold(KeyKind::Tail);
    let late = owner.commit(vec![one(1, partition(0), plain(3))]);
    hold.reached().await;
    owner.store.freeze();
    heir.until_shared_by(&[id(2)]).await;
    let answer = heir
        .send_until_answered(&one(2, partition(0), plain(5)))
        .await;
    assert_eq!(only(&answer), accepted(0));
    assert!(matches!(late.await[..], [Err(CommitError::Unknown)]));
    owner.store.thaw();
    drop(hold);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.store.rows(KeyKind::Tail).len(), 1);
    // The one that woke is a member like before and takes part again; the shard stays where it is.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(heir.view().members.len(), 2);
    assert_eq!(heir.own_shards().len(), 1);
    assert_eq!(owner.process.metric("shards_lost_total"), 1);
    assert_eq!(owner.process.metric("shards_owned"), 0);
    let error = owner.try_send(&one(3, partition(0), plain(1))).await;
    assert_eq!(error.expect_err("it has lost it"), CommitError::NotOwner);
}

/// An owner that nobody asks for anything learns of its loss by looking.
#[tokio::test(start_paused = true)]
async fn an_idle_owner_that_wakes_lets_go() {
    let (_world, owner, heir) = pair(3).await;
    owner.store.freeze();
    heir.until_shared_by(&[id(2)]).await;
    owner.store.thaw();
    owner.until_shared_by(&[id(2)]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(owner.process.metric("shards_owned"), 0);
    assert_eq!(owner.seen(), []);
}

/// Whoever reads at the one that was stopped waits, and is sent elsewhere when it goes on.
#[tokio::test(start_paused = true)]
async fn an_owner_that_wakes_calls_no_offset_beyond_the_end() {
    let (_world, owner, heir) = pair(6).await;
    owner
        .send_until_answered(&one(1, partition(0), plain(3)))
        .await;
    owner.store.freeze();
    heir.until_shared_by(&[id(2)]).await;
    heir.send_until_answered(&one(2, partition(0), plain(5)))
        .await;
    let request = LookupRequest {
        partition: partition(0),
        offset: Offset::new(6),
        bytes_max: 1,
        extents_max: 1,
    };
    let asleep = owner.lookup(request.clone()).await;
    assert!(matches!(asleep, Err(LogError::Unavailable { .. })));
    owner.store.thaw();
    // It finds out when it is in touch with the store again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let awake = owner.lookup(request.clone()).await;
    assert_eq!(awake.expect_err("not its own"), LogError::NotOwner);
    assert!(heir.lookup(request).await.is_ok());
}

/// A wall clock that jumps says nothing about who lives.
#[tokio::test(start_paused = true)]
async fn jumps_of_the_wall_clock_move_no_shard() {
    let world = world(4, SHARDS);
    let (first, second) = (world.join(1).await, world.join(2).await);
    second.until_shared_by(&[id(1), id(2)]).await;
    let before = second.view().shards.clone();
    for jump in [86_400_000, -172_800_000, 5_000] {
        world.clock.jump_wall(jump);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(second.view().shards, before);
    }
    let joined = first
        .view()
        .members
        .iter()
        .map(|member| member.joined_at)
        .max();
    assert_eq!(joined, Some(Timestamp::from_millis(1_000_000)));
}

/// Both processes are stopped and woken in turns, and in the end at once, under load.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_while_owners_are_stopped_and_woken() {
    let world = world(5, 4);
    let (first, second) = (world.join(1).await, world.join(2).await);
    second.until_shared_by(&[id(1), id(2)]).await;
    let partitions = first.partition_of_each_shard().await;
    let load = Load::start(5, 4, &[&first, &second], &partitions);
    for round in 0..6 {
        let stopped = if round % 2 == 0 { &first } else { &second };
        stopped.store.freeze();
        tokio::time::sleep(Duration::from_millis(2_000 + round * 500)).await;
        stopped.store.thaw();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    first.store.freeze();
    second.store.freeze();
    tokio::time::sleep(Duration::from_secs(8)).await;
    first.store.thaw();
    second.store.thaw();
    first.until_shared_by(&[id(1), id(2)]).await;
    second.until_shared_by(&[id(1), id(2)]).await;
    let told = load.stop().await;
    assert!(told.len() > 200, "{}", told.len());
    judge(&told, &[&first, &second]).await;
}
