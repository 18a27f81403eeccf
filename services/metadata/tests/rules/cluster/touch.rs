//! A process that the store has left alone: it says so within a lease, keeps nobody waiting, and takes part
//! again as soon as the store answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    Catalogue as _, CatalogueError, Cluster as _, ClusterError, CommitError, Log as _, LogError,
    LookupRequest, NewTopic, OffsetQuery,
};
use tidelog_store::memory::CommitFault;
use tidelog_types::{Offset, Role, TopicName, TopicPartition};
use tokio::time::Instant;

use super::nodes::{Node, SHARDS, id, member, world};
use crate::manifests::{accepted, one, only, plain, segment};
use crate::world::partition;

/// A lease, and a beat in which it may be found out.
const LOSS_MAX: Duration = Duration::from_millis(2_300);
/// From the return of the store on.
const RETURN_MAX: Duration = Duration::from_millis(700);

/// Waits until the process is in touch or not, and returns how long that took.
async fn until_in_touch(node: &Node, is_kept: bool) -> Duration {
    let started = Instant::now();
    let mut in_touch = node.in_touch();
    let waiting = in_touch.wait_for(|is_in_touch| *is_in_touch == is_kept);
    let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    drop(waited.expect("a minute is enough").expect("it lives"));
    started.elapsed()
}

fn topic() -> NewTopic {
    NewTopic {
        name: TopicName::new("new").expect("a good name"),
        partitions: 1,
        config: BTreeMap::new(),
        validate_only: false,
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_a_process_that_lost_the_store_is_sent_elsewhere() {
    let world = world(1, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    let first = node
        .send_until_answered(&one(1, partition(0), plain(3)))
        .await;
    assert_eq!(only(&first), accepted(0));
    assert_eq!(node.process.metric("store_in_touch"), 1);
    node.store.freeze();
    let (under_way, asked) = (one(2, partition(0), plain(1)), Instant::now());
    let (committed, latest, created) = tokio::join!(
        node.commit(vec![under_way.clone()]),
        node.offset(partition(0), OffsetQuery::Latest),
        node.create_topic(topic()),
    );
    assert!(asked.elapsed() <= LOSS_MAX, "{:?}", asked.elapsed());
    assert!(matches!(committed[..], [Err(CommitError::Unknown)]));
    assert!(matches!(latest, Err(LogError::Unavailable { .. })));
    assert_eq!(created.expect_err("who knows"), CatalogueError::Unknown);
    assert!(!*node.in_touch().borrow());
    assert_eq!(node.process.metric("store_in_touch"), 0);
    assert_eq!(node.process.metric("store_losses_total"), 1);

    // Whoever comes now need not wait at all.
    let asked = Instant::now();
    let commit = node.commit(vec![under_way.clone()]).await;
    assert!(matches!(commit[..], [Err(CommitError::Unavailable { .. })]));
    let created = node.create_topic(topic()).await;
    assert!(matches!(created, Err(CatalogueError::Unavailable { .. })));
    let joined = node.join(member(9, Role::Broker)).await;
    assert!(matches!(joined, Err(ClusterError::Unavailable { .. })));
    let writer = node.register_writer().await;
    assert!(matches!(writer, Err(LogError::Unavailable { .. })));
    let latest = node.offset(partition(0), OffsetQuery::Latest).await;
    assert!(matches!(latest, Err(LogError::Unavailable { .. })));
    assert_eq!(asked.elapsed(), Duration::ZERO);

    tokio::time::sleep(Duration::from_mins(1)).await;
    node.store.thaw();
    let took = until_in_touch(&node, true).await;
    assert!(took <= RETURN_MAX, "{took:?}");
    assert_eq!(node.process.metric("store_in_touch"), 1);
    let answer = node.send_until_answered(&under_way).await;
    assert_eq!(only(&answer), accepted(3), "once, whatever became of it");
    assert_eq!(node.process.metric("store_losses_total"), 1);
    assert_eq!(node.process.metric("shards_taken_total"), 1, "it stayed");
}

#[tokio::test(start_paused = true)]
async fn one_that_lost_the_store_alone_is_replaced_and_shares_again_when_it_is_back() {
    let world = world(2, SHARDS);
    let (alone, other) = (world.join(1).await, world.join(2).await);
    other.until_shared_by(&[id(1), id(2)]).await;
    alone.until_shared_by(&[id(1), id(2)]).await;
    alone.store.freeze();
    let cut = Instant::now();
    other.until_shared_by(&[id(2)]).await;
    assert!(
        cut.elapsed() < Duration::from_secs(3),
        "{:?}",
        cut.elapsed()
    );
    // It knows about as soon as the other does.
    let took = until_in_touch(&alone, false).await;
    assert!(took <= Duration::from_millis(300), "{took:?}");
    assert!(*other.in_touch().borrow());
    alone.store.thaw();
    let took = until_in_touch(&alone, true).await;
    assert!(took <= RETURN_MAX, "{took:?}");
    let took = other.until_shared_by(&[id(1), id(2)]).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    alone.until_shared_by(&[id(1), id(2)]).await;
}

/// All lose it, as when the servers of the store are away: nobody is taken for dead for that, and all go on
/// where they were.
#[tokio::test(start_paused = true)]
async fn when_the_store_was_away_for_all_every_shard_goes_on_at_once_where_it_was() {
    for away in [3, 20, 90] {
        let world = world(3, 8);
        let (first, second) = (world.join(1).await, world.join(2).await);
        second.until_shared_by(&[id(1), id(2)]).await;
        first.until_shared_by(&[id(1), id(2)]).await;
        let partitions = first.partition_of_each_shard().await;
        let before = second.view().shards.clone();
        let commit = |sequence, partition: TopicPartition, shard| {
            let commit = segment(sequence).shard(shard);
            commit.slice(partition, &[plain(1)]).done()
        };
        first.store.freeze();
        second.store.freeze();
        let mut under_way = Vec::new();
        for (sequence, (shard, partition)) in (1..).zip(&partitions) {
            let node = if first.own_shards().contains(shard) {
                &first
            } else {
                &second
            };
            let commit = commit(sequence, *partition, *shard);
            drop(node.commit(vec![commit.clone()]));
            under_way.push((node, commit));
        }
        tokio::time::sleep(Duration::from_secs(away)).await;
        assert!(!*first.in_touch().borrow() && !*second.in_touch().borrow());
        first.store.thaw();
        second.store.thaw();
        let back = Instant::now();
        for (node, commit) in under_way {
            let answer = node.send_until_answered(&commit).await;
            assert_eq!(only(&answer), accepted(0));
        }
        assert!(
            back.elapsed() < Duration::from_secs(2),
            "{:?}",
            back.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(second.view().shards, before, "after {away} s");
        assert_eq!(first.process.metric("shards_lost_total"), 0);
    }
}

/// What the store answers is of no use while it takes no beats: others cannot know that this one lives.
#[tokio::test(start_paused = true)]
async fn one_whose_beats_are_not_taken_is_out_of_touch() {
    let world = world(4, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    node.store.fail(KeyKind::Member, CommitFault::Conflict);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(*node.in_touch().borrow(), "one that is late is nothing");
    for _ in 0..100 {
        node.store.fail(KeyKind::Member, CommitFault::Unavailable);
    }
    let took = until_in_touch(&node, false).await;
    assert!(took <= LOSS_MAX, "{took:?}");
    until_in_touch(&node, true).await;
}

/// What is known without the store is told all the same.
#[tokio::test(start_paused = true)]
async fn recent_extents_are_told_without_the_store() {
    let world = world(5, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    node.send_until_answered(&one(1, partition(0), plain(3)))
        .await;
    let request = LookupRequest {
        partition: partition(0),
        offset: Offset::ZERO,
        bytes_max: 1,
        extents_max: 1,
    };
    let before = node.lookup(request.clone()).await.expect("it is there");
    node.store.freeze();
    until_in_touch(&node, false).await;
    let after = node.lookup(request).await.expect("it is there still");
    assert_eq!(after.extents, before.extents);
}

/// A member that was lost while the store was away goes from the list later.
#[tokio::test(start_paused = true)]
async fn a_member_that_went_while_the_store_was_away_is_listed_no_more_when_it_is_back() {
    let world = world(6, 1);
    let node = world.join(1).await;
    let membership = node.join(member(9, Role::Broker)).await.expect("new");
    node.until("it is listed", |view| view.member(id(9)).is_some())
        .await;
    node.store.freeze();
    drop(membership);
    tokio::time::sleep(Duration::from_mins(10)).await;
    node.store.thaw();
    let took = node
        .until("it has gone", |view| view.member(id(9)).is_none())
        .await;
    assert!(took < Duration::from_secs(6), "{took:?}");
}
