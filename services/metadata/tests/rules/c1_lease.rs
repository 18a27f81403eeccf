//! C1: an owner that has lost its shard changes nothing, whenever it wakes.

use std::time::Duration;

use tidelog_metadata::keyspace::{KeyKind, PartitionRow};
use tidelog_metadata_api::{CommitError, Log as _, LogError};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::Offset;

use crate::manifests::{accepted, one, only, plain, sent, token};
use crate::world::{World, partition, settings};

/// The kinds that a group writes.
const GROUP_KINDS: [KeyKind; 3] = [KeyKind::Tail, KeyKind::Receipt, KeyKind::LiveBytes];

fn assert_no_group_rows(world: &World) {
    for kind in GROUP_KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
}

/// The conflict range alone would let this commit pass: it is begun after the takeover.
#[tokio::test(start_paused = true)]
async fn an_owner_woken_after_a_takeover_with_a_fresh_read_version_commits_nothing() {
    let (world, old) = World::opened().await;
    let new = world.open_on(&world.store.sibling()).await;
    let commit = one(1, partition(0), plain(3));
    let error = old
        .send(commit.clone())
        .await
        .expect_err("the lease is lost");
    assert_eq!(error, CommitError::NotOwner);
    assert_no_group_rows(&world);
    let again = old.send(commit.clone()).await.expect_err("it has ended");
    assert_eq!(again, CommitError::NotOwner);
    let answer = new.send(commit).await.expect("the new owner commits");
    assert_eq!(only(&answer), accepted(0));
}

/// The value of the lease row alone would let this commit pass: it was read before the takeover.
#[tokio::test(start_paused = true)]
async fn a_group_in_flight_over_a_takeover_commits_nothing() {
    let (world, old) = World::opened().await;
    let hold = world.store.hold(KeyKind::Tail);
    let in_flight = old.commit(vec![one(1, partition(0), plain(3))]);
    hold.reached().await;
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert!(matches!(in_flight.await[..], [Err(CommitError::NotOwner)]));
    assert_no_group_rows(&world);
    assert_eq!(new.high_watermark(partition(0)).await, 0);
}

/// A store may make several commits at one version. A takeover right behind a group is not later than it then, and
/// a group that begins where that one ended has to see it all the same.
#[tokio::test(start_paused = true)]
async fn a_takeover_at_the_very_version_of_a_group_is_seen_by_the_next_one() {
    let (world, old) = World::opened().await;
    world.store.share_version(KeyKind::Tail);
    let first = old.send(one(1, partition(0), plain(3)));
    let takeover = async {
        world.store.sharing().await;
        world.open_on(&world.store.sibling()).await
    };
    let (first, new) = tokio::join!(first, takeover);
    assert_eq!(only(&first.expect("it was the owner")), accepted(0));
    let late = old.send(one(2, partition(0), plain(1))).await;
    assert_eq!(late.expect_err("the lease is lost"), CommitError::NotOwner);
    let answer = new.send(one(3, partition(0), plain(1))).await;
    assert_eq!(only(&answer.expect("the new owner commits")), accepted(3));
}

#[tokio::test(start_paused = true)]
async fn commands_of_an_old_owner_change_nothing() {
    let (world, old) = World::opened().await;
    let first = old.send(one(1, partition(0), plain(3))).await;
    first.expect("it is the owner");
    let new = world.open_on(&world.store.sibling()).await;
    let before = world.store.memory.dump();
    let set = old
        .set_fencing_token(partition(0), None, token("late"))
        .await;
    assert_eq!(set, Err(LogError::NotOwner));
    let deleted = old.delete_records(partition(0), Offset::new(2)).await;
    assert_eq!(deleted, Err(LogError::NotOwner));
    assert_eq!(world.store.memory.dump(), before);
    assert_eq!(new.bounds_of(partition(0)).await.log_start, Offset::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_an_old_owner_puts_no_old_row_over_a_new_one() {
    let (mut world, old) = World::opened().await;
    let first = old.send(one(1, partition(0), sent(5, 0, 3))).await;
    first.expect("it is the owner");
    world.settings = settings(1);
    let new = world.open_on(&world.store.sibling()).await;
    new.send_until_answered(&one(2, partition(0), sent(5, 3, 4)))
        .await;
    new.latest(partition(0)).await.expect("it is the owner");
    let before = world.store.rows(KeyKind::Partition);
    // The old owner's ten seconds pass.
    tokio::time::advance(Duration::from_secs(11)).await;
    let late = old.send(one(3, partition(0), plain(1))).await;
    assert_eq!(late.expect_err("the lease is lost"), CommitError::NotOwner);
    let rows = world.store.rows(KeyKind::Partition);
    assert_eq!(rows, before);
    let row = PartitionRow::decode(rows[0].1.clone()).expect("a good row");
    assert_eq!(
        row.next,
        Offset::new(7),
        "the new owner's checkpoint is there"
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_that_open_at_once_the_one_that_commits_last_owns_the_shard() {
    let (world, _first) = World::opened().await;
    let slow_store = world.store.sibling();
    let hold = slow_store.hold(KeyKind::Lease);
    let slow = world.try_open_on(&slow_store);
    let fast = async {
        hold.reached().await;
        let fast = world.open_on(&world.store.sibling()).await;
        drop(hold);
        fast
    };
    let (slow, fast) = tokio::join!(slow, fast);
    let slow = slow.expect("it tries again and takes the shard from the other");
    let commit = one(1, partition(0), plain(1));
    let error = fast.send(commit.clone()).await.expect_err("overtaken");
    assert_eq!(error, CommitError::NotOwner);
    let answer = slow.send(commit).await.expect("it owns the shard");
    assert_eq!(only(&answer), accepted(0));
}

/// A takeover whose own outcome is unknown is made again, under a higher epoch.
#[tokio::test(start_paused = true)]
async fn a_takeover_of_unknown_outcome_is_made_again() {
    for landing in [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
        Landing::Later { after_commits: 1 },
    ] {
        let (world, old) = World::opened().await;
        let taking = world.store.sibling();
        taking.fail(KeyKind::Lease, CommitFault::Unknown(landing));
        let new = world.open_on(&taking).await;
        let commit = one(1, partition(0), plain(1));
        let error = old.send(commit.clone()).await.expect_err("overtaken");
        assert_eq!(error, CommitError::NotOwner, "{landing:?}");
        let answer = new.send(commit).await.expect("it owns the shard");
        assert_eq!(only(&answer), accepted(0), "{landing:?}");
    }
}
