//! A process that has the store to itself: all shards are its own, and members are known in memory.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata::{ClusterOptions, ClusterSettings, Ownership};
use tidelog_metadata_api::{Cluster as _, ClusterError, MemberState};
use tidelog_types::Role;

use super::nodes::{id, member, world};

fn options() -> ClusterOptions {
    ClusterOptions {
        member: member(1, Role::Metadata),
        ownership: Ownership::Alone,
        settings: ClusterSettings::default(),
        probe: None,
    }
}

#[tokio::test(start_paused = true)]
async fn all_shards_are_there_at_once_and_an_idle_cluster_asks_nothing() {
    let world = world(1, 8);
    let process = world.open_in(&world.store, options()).await;
    let view = process.watch().borrow().clone();
    assert_eq!(view.members.len(), 1);
    assert_eq!(view.shards.len(), 8);
    assert!(view.shards.iter().all(|owner| owner.owner == Some(id(1))));
    assert!(view.shards.iter().all(|owner| owner.epoch == 1));
    assert_eq!(process.metric("shards_owned"), 8);
    let commits = world.store.commits();
    let membership = process.join(member(9, Role::Broker)).await.expect("new");
    tokio::time::sleep(Duration::from_hours(50)).await;
    assert_eq!(world.store.commits(), commits);
    assert!(world.store.rows(KeyKind::Member).is_empty());
    drop(membership);
    let next = world.open_in(&world.store, options()).await;
    assert!(
        next.watch()
            .borrow()
            .shards
            .iter()
            .all(|owner| owner.epoch == 2)
    );
}

#[tokio::test(start_paused = true)]
async fn members_come_go_and_drain_as_elsewhere() {
    let world = world(2, 1);
    let process = world.open_in(&world.store, options()).await;
    let mut views = process.watch();
    let broker = || member(9, Role::Broker);
    let lost = process.join(broker()).await.expect("it is new");
    process
        .set_draining(id(9), true)
        .await
        .expect("it is there");
    drop(lost);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let back = process.join(broker()).await.expect("it goes on");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let seen = views.borrow_and_update().member(id(9)).cloned();
    assert_eq!(seen.expect("it is back").state, MemberState::Draining);
    drop(back);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!views.has_changed().expect("the service lives"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(views.borrow_and_update().member(id(9)).is_none());
    let left = process.join(broker()).await.expect("it is new");
    let seen = views.borrow_and_update().member(id(9)).cloned();
    assert_eq!(seen.expect("it is new").state, MemberState::Active);
    left.leave();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(views.borrow_and_update().member(id(9)).is_none());
    let missing = process.set_draining(id(9), true).await;
    assert_eq!(missing, Err(ClusterError::UnknownMember(id(9))));
    // It says more of itself, and stays.
    let own = process.join(member(1, Role::Broker)).await.expect("itself");
    own.leave();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(views.borrow_and_update().member(id(1)).is_some());
    // Nobody could take its shards, so that leaving is nothing to wait for.
    process.leave().await;
}
