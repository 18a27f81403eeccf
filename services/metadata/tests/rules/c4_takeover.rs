//! C4: a new owner reads at a version not older than that of its lease transaction.

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::Log as _;
use tidelog_store::Store as _;
use tidelog_store::memory::{CommitFault, Landing};

use crate::manifests::{accepted, one, only, plain, segment};
use crate::world::{World, partition};

/// Between the begin and the commit of the takeover the old owner is still the owner.
#[tokio::test(start_paused = true)]
async fn a_new_owner_sees_what_the_old_one_committed_while_it_took_over() {
    let (world, old) = World::opened().await;
    let taking = world.store.sibling();
    let hold = taking.hold(KeyKind::Lease);
    let before = async {
        hold.reached().await;
        let answer = old.send(one(1, partition(0), plain(5))).await;
        assert_eq!(only(&answer.expect("it is still the owner")), accepted(0));
        drop(hold);
    };
    let (new, ()) = tokio::join!(world.open_on(&taking), before);
    assert_eq!(new.high_watermark(partition(0)).await, 5);
    let answer = new.send(one(2, partition(0), plain(1))).await;
    assert_eq!(only(&answer.expect("it is the owner")), accepted(5));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "invariant I4")]
async fn a_store_that_reads_older_than_the_lease_is_not_trusted() {
    let (world, old) = World::opened().await;
    let taking = world.store.sibling();
    let stale = taking.begin().await.expect("the store answers");
    old.send_until_answered(&one(1, partition(0), plain(5)))
        .await;
    // The row of the cluster, the writers' and the lease are read first, then comes the load.
    taking.give_at_begin(3, stale);
    let _ = world.try_open_on(&taking).await;
}

/// A group of the old owner whose outcome was unknown when it lost the shard: the new owner's answer
/// to the same manifest is the only one.
#[tokio::test(start_paused = true)]
async fn an_unknown_group_of_the_old_owner_is_there_or_never_will_be() {
    for landing in [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
        Landing::Later { after_commits: 1 },
        Landing::Later { after_commits: 9 },
    ] {
        let (world, old) = World::opened().await;
        world
            .store
            .fail(KeyKind::Tail, CommitFault::Unknown(landing));
        let hold = world.store.hold(KeyKind::Lease);
        let commit = segment(1).slice(partition(0), &[plain(2)]).done();
        let unknown = old.commit(vec![commit.clone()]);
        hold.reached().await;
        let new = world.open_on(&world.store.sibling()).await;
        drop(hold);
        assert!(unknown.await[0].is_err(), "{landing:?}");
        let answer = new.send(commit).await.expect("it is the owner");
        assert_eq!(only(&answer), accepted(0), "{landing:?}");
        world.store.memory.land_delayed();
        assert_eq!(world.store.rows(KeyKind::Tail).len(), 1, "{landing:?}");
        let next = new.send(one(2, partition(0), plain(1))).await;
        assert_eq!(only(&next.expect("the owner")), accepted(2), "{landing:?}");
        assert_eq!(new.log_of(partition(0)).await.len(), 2, "{landing:?}");
    }
}
