//! A process that has the store to itself: all shards are its own, and members are known in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tidelog_env::{Env, SeededRng, Supervisor};
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata::{
    ClassBuckets, ClusterOptions, ClusterSettings, GroupSettings, MetadataService, OpenOptions,
    Ownership, Reach, SequencerMetrics, TransactionSettings,
};
use tidelog_metadata_api::{
    Catalogue as _, Cluster as _, ClusterError, CommitError, Log as _, Member, MemberState,
    NewTopic,
};
use tidelog_types::{ClusterId, PartitionIndex, Role, TopicName, TopicPartition};

use super::nodes::{id, member, world};
use crate::manifests::{plain, segment};

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

/// Who asks has the name from the process before, to which the member still was connected.
#[tokio::test(start_paused = true)]
async fn a_member_that_has_not_come_over_yet_is_waited_for_but_not_long() {
    let world = world(5, 1);
    let process = world.open_in(&world.store, options()).await;
    let drains = process.set_draining(id(9), true);
    let comes = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        process.join(member(9, Role::Metadata)).await
    };
    let (drained, joined) = tokio::join!(drains, comes);
    drained.expect("it came");
    let _kept = joined.expect("it is new");
    let view = process.watch().borrow().clone();
    let state = view.member(id(9)).map(|member| member.state);
    assert_eq!(state, Some(MemberState::Draining));
    let asked = tokio::time::Instant::now();
    let missing = process.set_draining(id(8), true).await;
    assert_eq!(missing, Err(ClusterError::UnknownMember(id(8))));
    assert!(asked.elapsed() <= Duration::from_secs(2), "from the start");
}

/// The process before knew that a member drains, and has told it so; this one hears it from the member.
#[tokio::test(start_paused = true)]
async fn a_member_that_says_that_it_drains_is_believed_by_who_does_not_know_it() {
    let world = world(4, 1);
    let process = world.open_in(&world.store, options()).await;
    let state = || {
        let view = process.watch().borrow().clone();
        view.member(id(9)).map(|member| member.state)
    };
    let draining = Member {
        state: MemberState::Draining,
        ..member(9, Role::Broker)
    };
    let first = process.join(draining.clone()).await.expect("it is new");
    assert_eq!(state(), Some(MemberState::Draining));
    process
        .set_draining(id(9), false)
        .await
        .expect("it is there");
    // It has not heard of that yet.
    let second = process.join(draining).await.expect("it goes on");
    assert_eq!(state(), Some(MemberState::Active));
    drop((first, second));
}

/// A process that was fenced stands by: what it reported of its shards was of another time.
#[tokio::test(start_paused = true)]
async fn nothing_is_reported_of_shards_that_went_with_the_store() {
    let world = world(3, 8);
    let mut registry = Registry::default();
    let opening = |number: u64, metrics| {
        let options = OpenOptions {
            env: Env {
                clock: Arc::new(world.clock.clone()),
                rng: Arc::new(SeededRng::new(number)),
                supervisor: Supervisor::new(),
            },
            store: Arc::new(world.store.memory.reopen()),
            cluster: ClusterId::from_bytes([9; 16]),
            shards: 8,
            classes: ClassBuckets::default(),
            sequencer: world.settings,
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            reach: Reach::default(),
            metrics,
        };
        MetadataService::open_in(options, self::options())
    };
    let metrics = SequencerMetrics::new(&mut registry);
    let reports = |name: &str, number: u64| {
        let mut text = String::new();
        encode(&mut text, &registry).expect("it is text");
        let line = format!("tidelog_sequencer_{name} {number}");
        assert!(text.lines().any(|told| told == line), "{line} of\n{text}");
    };
    let fenced = opening(1, metrics.clone()).await.expect("it answers");
    let topic = NewTopic {
        name: TopicName::new("log").expect("a good name"),
        partitions: 1,
        config: BTreeMap::new(),
        validate_only: false,
    };
    let topic = fenced.create_topic(topic).await.expect("it is new");
    let partition = TopicPartition::new(topic.number, PartitionIndex::new(0));
    let commit = |sequence| {
        let commit = segment(sequence).shard(topic.partitions[0].shard);
        commit.slice(partition, &[plain(1)]).done()
    };
    assert!(fenced.commit(vec![commit(1)]).await[0].is_ok());
    reports("shards_owned", 8);
    reports("extents_held", 1);
    reports("store_in_touch", 1);
    let other = SequencerMetrics::new(&mut Registry::default());
    let other = opening(2, other).await.expect("it answers");
    let late = fenced.commit(vec![commit(2)]).await;
    assert!(matches!(late[..], [Err(CommitError::NotOwner)]), "{late:?}");
    drop(fenced);
    tokio::time::sleep(Duration::from_secs(1)).await;
    reports("shards_owned", 0);
    reports("extents_held", 0);
    reports("partitions_held", 0);
    reports("store_in_touch", 0);
    drop(other);
    let again = opening(3, metrics.clone()).await.expect("it answers");
    reports("shards_owned", 8);
    reports("store_in_touch", 1);
    drop(again);
}
