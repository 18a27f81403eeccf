//! Members of a shared store: who sees whom, for how long, and what a member is told.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{Cluster as _, ClusterError, Member, MemberState};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{Incarnation, Role};

use super::nodes::{Node, id, member, world};

const GRACE: Duration = Duration::from_secs(5);

fn broker(number: u8) -> Member {
    Member {
        incarnation: Some(Incarnation::new(u64::from(number))),
        ..member(number, Role::Broker)
    }
}

async fn until_listed(node: &Node, number: u8, is_listed: bool) -> Duration {
    let is_so = |view: &std::sync::Arc<tidelog_metadata_api::ClusterView>| {
        view.member(id(number)).is_some() == is_listed
    };
    node.until("the member is listed, or not", is_so).await
}

#[tokio::test(start_paused = true)]
async fn a_member_is_seen_by_all_as_long_as_it_stays_and_is_gone_when_it_leaves() {
    let world = world(1, 2);
    let (first, second) = (world.join(1).await, world.join(2).await);
    let membership = first.join(broker(9)).await.expect("it is new");
    until_listed(&first, 9, true).await;
    until_listed(&second, 9, true).await;
    let seen = second.view().member(id(9)).cloned().expect("it is listed");
    assert_eq!(seen.name, "n9");
    assert_eq!(seen.incarnation, Some(Incarnation::new(9)));
    assert_eq!(seen.state, MemberState::Active);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(second.view().member(id(9)).is_some());
    membership.leave();
    let took = until_listed(&second, 9, false).await;
    assert!(took <= Duration::from_millis(600), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_lost_stays_for_a_grace_and_may_come_back_anywhere() {
    let world = world(2, 2);
    let (first, second) = (world.join(1).await, world.join(2).await);
    let membership = first.join(broker(9)).await.expect("it is new");
    until_listed(&second, 9, true).await;
    second.set_draining(id(9), true).await.expect("it is there");
    drop(membership);
    tokio::time::sleep(GRACE * 4 / 5).await;
    let membership = second.join(broker(9)).await.expect("it goes on");
    tokio::time::sleep(GRACE * 3).await;
    let seen = first.view().member(id(9)).cloned().expect("it came back");
    assert_eq!(seen.state, MemberState::Draining, "as it was");
    drop(membership);
    let took = until_listed(&first, 9, false).await;
    assert!(took >= GRACE, "{took:?}");
    assert!(took <= GRACE + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn members_of_a_dead_process_go_unless_they_join_elsewhere() {
    let world = world(3, 2);
    let (first, second) = (world.join(1).await, world.join(2).await);
    let lost = first.join(broker(8)).await.expect("it is new");
    let moved = first.join(broker(9)).await.expect("it is new");
    until_listed(&second, 9, true).await;
    first.kill();
    let stays = second.join(broker(9)).await.expect("it goes on");
    second
        .until("its death is seen", |view| view.member(id(1)).is_none())
        .await;
    assert!(second.view().member(id(8)).is_some(), "it has a while yet");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let ids: Vec<_> = second
        .view()
        .members
        .iter()
        .map(|member| member.id)
        .collect();
    assert_eq!(ids, [id(2), id(9)]);
    assert_eq!(world.store.rows(KeyKind::Member).len(), 2, "rows go too");
    drop((lost, moved, stays));
}

#[tokio::test(start_paused = true)]
async fn a_process_says_more_of_itself_by_joining_and_stays_when_that_ends() {
    let world = world(4, 2);
    let (first, second) = (world.join(1).await, world.join(2).await);
    let mut own = broker(1);
    own.roles = own.roles.with(Role::Metadata);
    let membership = first.join(own).await.expect("it is itself");
    second
        .until("the incarnation is seen", |view| {
            view.member(id(1))
                .is_some_and(|member| member.incarnation.is_some())
        })
        .await;
    membership.leave();
    second
        .until("it is seen no more", |view| {
            view.member(id(1))
                .is_some_and(|member| member.incarnation.is_none())
        })
        .await;
    tokio::time::sleep(GRACE * 3).await;
    second.until_shared_by(&[id(1), id(2)]).await;
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_listed_or_is_not_there_is_told_so() {
    let world = world(5, 1);
    let node = world.join(1).await;
    let long = Member {
        zone: "z".repeat(256),
        ..broker(9)
    };
    let refused = node.join(long).await;
    assert!(matches!(refused, Err(ClusterError::InvalidMember { .. })));
    let missing = node.set_draining(id(9), true).await;
    assert_eq!(missing, Err(ClusterError::UnknownMember(id(9))));
    let limit = Member {
        zone: "z".repeat(255),
        ..broker(9)
    };
    node.join(limit).await.expect("it fits");
}

/// A change of a member whose outcome is unknown is made again, which does no harm.
#[tokio::test(start_paused = true)]
async fn a_member_joins_and_leaves_over_faults_of_the_store() {
    for landing in [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 1 },
    ] {
        let world = world(6, 1);
        let node = world.join(1).await;
        node.until_shared_by(&[id(1)]).await;
        // The next commit of such a row may be a beat, too.
        for _ in 0..2 {
            node.store
                .fail(KeyKind::Member, CommitFault::Unknown(landing));
        }
        let membership = node.join(broker(9)).await.expect("in the end");
        until_listed(&node, 9, true).await;
        node.store
            .fail(KeyKind::Member, CommitFault::Unknown(landing));
        node.store.fail(KeyKind::Member, CommitFault::Conflict);
        membership.leave();
        until_listed(&node, 9, false).await;
        world.store.memory.land_delayed();
        node.until_shared_by(&[id(1)]).await;
        assert!(node.view().member(id(1)).is_some());
    }
}

/// While the store does not answer nobody is taken for dead, and afterwards all is as it was.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_moves_nothing() {
    let world = world(7, 8);
    let (first, second) = (world.join(1).await, world.join(2).await);
    second.until_shared_by(&[id(1), id(2)]).await;
    let before = second.view().shards.clone();
    first.store.freeze();
    second.store.freeze();
    tokio::time::sleep(Duration::from_mins(1)).await;
    first.store.thaw();
    second.store.thaw();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(second.view().shards, before);
    assert_eq!(first.process.metric("shards_lost_total"), 0);
}

/// A later membership of a process takes the place of the one before, whose end means nothing then.
#[tokio::test(start_paused = true)]
async fn a_process_that_joins_itself_again_stays_what_it_is() {
    let world = world(9, 1);
    let node = world.join(1).await;
    let mut own = broker(1);
    own.roles = own.roles.with(Role::Metadata);
    let first = node.join(own.clone()).await.expect("it is itself");
    let second = node.join(own).await.expect("it is itself");
    drop(first);
    tokio::time::sleep(GRACE * 3).await;
    let seen = node.view().member(id(1)).cloned().expect("it is there");
    assert_eq!(seen.incarnation, Some(Incarnation::new(1)));
    second.leave();
    node.until("it writes no more", |view| {
        view.member(id(1))
            .is_some_and(|member| member.incarnation.is_none())
    })
    .await;
}

/// Whoever sweeps is about to delete the row of a member whose keeper seemed dead, when that one beats again: it
/// was only slow, and keeps the member.
#[tokio::test(start_paused = true)]
async fn a_member_whose_keeper_was_only_slow_stays() {
    let world = world(8, 1);
    let sweeper = world.join(1).await;
    sweeper.until_shared_by(&[id(1)]).await;
    let slow = world.join(2).await;
    let stays = slow.join(broker(9)).await.expect("it is new");
    until_listed(&sweeper, 9, true).await;
    slow.store.freeze();
    sweeper
        .until("its keeper seems dead", |view| view.member(id(2)).is_none())
        .await;
    tokio::time::sleep(GRACE * 9 / 10).await;
    // Beats are held as well, but not for as long as a lease.
    let hold = sweeper.store.hold(KeyKind::Member);
    tokio::time::sleep(Duration::from_secs(1)).await;
    slow.store.thaw();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(hold);
    tokio::time::sleep(GRACE * 4).await;
    assert!(sweeper.view().member(id(9)).is_some());
    assert_eq!(world.store.rows(KeyKind::Member).len(), 3);
    drop(stays);
}
