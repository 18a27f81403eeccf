//! Shards go to those who shall have them, without a lease running out where that is planned, and within
//! five seconds where it is not; and nothing that was answered is lost on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidelog_metadata::PeerProbe;
use tidelog_metadata::keyspace::{KeyKind, LeaseRow};
use tidelog_metadata_api::{Cluster as _, CommitError, Log as _, LogError, Notice};
use tidelog_types::ShardId;

use super::audit::{Load, judge};
use super::nodes::{SHARDS, id, world};
use crate::manifests::{accepted, one, only, plain, segment};
use crate::world::partition;

/// From the death of an owner to the first commit in each of its shards.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);
/// A planned hand-over needs a beat until the other sees that it is wanted, and some fast looks.
const HANDOVER_MAX: Duration = Duration::from_millis(700);

#[tokio::test(start_paused = true)]
async fn the_first_process_takes_every_shard_and_the_next_one_its_half() {
    let world = world(1, SHARDS);
    let first = world.join(1).await;
    let took = first.until_shared_by(&[id(1)]).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    let second = world.join(2).await;
    let took = second.until_shared_by(&[id(1), id(2)]).await;
    assert!(took < HANDOVER_MAX, "{took:?}");
    first.until_shared_by(&[id(1), id(2)]).await;
    assert_eq!(first.view().shards, second.view().shards);
    assert_eq!(first.process.metric("shards_owned"), 16);
    assert_eq!(first.process.metric("shards_released_total"), 16);
    assert_eq!(second.process.metric("shards_taken_total"), 16);
    assert_eq!(first.process.metric("shards_lost_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_is_replaced_within_five_seconds_in_every_shard() {
    let world = world(2, SHARDS);
    let (dead, heir) = (world.join(1).await, world.join(2).await);
    heir.until_shared_by(&[id(1), id(2)]).await;
    let partitions = heir.partition_of_each_shard().await;
    assert_eq!(partitions.len(), 32);
    let orphans = heir.shards_of(id(1));
    dead.kill();
    let killed = tokio::time::Instant::now();
    for (sequence, (shard, partition)) in (1..).zip(&partitions) {
        let commit = segment(sequence).shard(*shard);
        let commit = commit.slice(*partition, &[plain(1)]).done();
        heir.send_until_answered(&commit).await;
        assert!(killed.elapsed() <= TAKEOVER_MAX, "{:?}", killed.elapsed());
    }
    assert!(
        orphans
            .iter()
            .all(|shard| heir.own_shards().contains(shard))
    );
    assert!(
        killed.elapsed() > Duration::from_millis(1_600),
        "it might only be slow"
    );
    let mut views = heir.watch();
    let gone = views.wait_for(|view| view.member(id(1)).is_none()).await;
    drop(gone.expect("the service lives"));
}

/// The network, as far as it knows who is gone.
#[derive(Debug, Default)]
struct Network {
    refused: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

#[async_trait]
impl PeerProbe for Network {
    async fn is_refused(&self, address: &str) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.refused.lock().iter().any(|refused| refused == address)
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_for_sure_is_replaced_within_a_second() {
    let world = world(10, SHARDS);
    let network = Arc::new(Network::default());
    let dead = world.join(1).await;
    let heir = world
        .join_with(2, Some(Arc::<Network>::clone(&network)))
        .await;
    heir.until_shared_by(&[id(1), id(2)]).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(network.asked.load(Ordering::Relaxed), 0, "nobody is silent");
    dead.kill();
    network.refused.lock().push("n1:7071".to_owned());
    let took = heir.until_shared_by(&[id(2)]).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

/// A process that is started again right after its death is a new member, at the address of the one before: no
/// shard waits for that one, neither at the new one, which has never seen it beat, nor at others.
#[tokio::test(start_paused = true)]
async fn an_earlier_run_of_a_process_is_not_waited_for() {
    let world = world(12, SHARDS);
    let (dead, other) = (world.join(1).await, world.join(2).await);
    other.until_shared_by(&[id(1), id(2)]).await;
    dead.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = world.join_at(3, "n1:7071").await;
    let took = again.until_shared_by(&[id(2), id(3)]).await;
    assert!(took <= Duration::from_millis(1_200), "{took:?}");
    let took = other.until_shared_by(&[id(2), id(3)]).await;
    assert!(took <= Duration::from_millis(100), "{took:?}");
}

/// One that only stands still keeps its shards, and so does one that cannot be connected to and beats.
#[tokio::test(start_paused = true)]
async fn nobody_is_replaced_for_a_second_of_silence_or_a_closed_port() {
    let world = world(11, SHARDS);
    let network = Arc::new(Network::default());
    let slow = world.join(1).await;
    let other = world
        .join_with(2, Some(Arc::<Network>::clone(&network)))
        .await;
    other.until_shared_by(&[id(1), id(2)]).await;
    let before = other.view().shards.clone();
    for _ in 0..20 {
        slow.store.freeze();
        tokio::time::sleep(Duration::from_secs(1)).await;
        slow.store.thaw();
        tokio::time::sleep(Duration::from_millis(777)).await;
    }
    assert!(network.asked.load(Ordering::Relaxed) >= 20);
    network.refused.lock().push("n1:7071".to_owned());
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(other.view().shards, before);
    assert_eq!(slow.process.metric("shards_lost_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_hands_over_at_once_and_who_is_alone_just_goes() {
    let world = world(3, SHARDS);
    let (first, second) = (world.join(1).await, world.join(2).await);
    second.until_shared_by(&[id(1), id(2)]).await;
    let started = tokio::time::Instant::now();
    first.leave().await;
    assert!(started.elapsed() < HANDOVER_MAX, "{:?}", started.elapsed());
    second.until_shared_by(&[id(2)]).await;
    assert!(started.elapsed() < HANDOVER_MAX, "{:?}", started.elapsed());
    second
        .until("the other is seen no more", |view| {
            view.member(id(1)).is_none()
        })
        .await;
    let started = tokio::time::Instant::now();
    second.leave().await;
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(world.store.rows(KeyKind::Member).is_empty());
    for (_, value) in world.store.rows(KeyKind::Lease) {
        let row = LeaseRow::decode(value).expect("a good row");
        assert_eq!(row.owner(), None);
    }
    // Nobody is there to wait for.
    let third = world.join(3).await;
    let took = third.until_shared_by(&[id(3)]).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drained_process_gives_its_shards_away_and_gets_some_again_later() {
    let world = world(4, SHARDS);
    let (first, second) = (world.join(1).await, world.join(2).await);
    second.until_shared_by(&[id(1), id(2)]).await;
    second.set_draining(id(1), true).await.expect("it is there");
    let took = second.until_shared_by(&[id(2)]).await;
    assert!(took < HANDOVER_MAX, "{took:?}");
    second.set_draining(id(2), true).await.expect("it is there");
    tokio::time::sleep(Duration::from_secs(20)).await;
    // Both drain: somebody has to go on.
    first.until_shared_by(&[id(1), id(2)]).await;
    second
        .set_draining(id(1), false)
        .await
        .expect("it is there");
    first.until_shared_by(&[id(1)]).await;
}

/// What the old owner commits up to the end is there at the new one, and what it is asked after that it
/// refuses for sure.
#[tokio::test(start_paused = true)]
async fn a_handed_over_shard_goes_on_where_it_was() {
    let world = world(5, 1);
    let first = world.join(1).await;
    first.until_shared_by(&[id(1)]).await;
    let partitions = first.partition_of_each_shard().await;
    let (shard, partition) = partitions.first_key_value().expect("one");
    let commit = |sequence| {
        let commit = segment(sequence).shard(*shard);
        commit.slice(*partition, &[plain(2)]).done()
    };
    let before = first.send_until_answered(&commit(1)).await;
    let second = world.join(2).await;
    let mut notices = second.subscribe();
    first.leave().await;
    second.until_shared_by(&[id(2)]).await;
    let notice = tokio::time::timeout(Duration::from_mins(1), notices.next()).await;
    assert!(matches!(notice, Ok(Some(Notice::Shards))), "{notice:?}");
    assert_eq!(world.store.rows(KeyKind::Checkpoint).len(), 1);
    let error = first.try_send(&commit(2)).await.expect_err("it has left");
    assert_eq!(error, CommitError::NotOwner);
    let bounds = first.bounds(*partition).await;
    assert_eq!(bounds, Err(LogError::NotOwner));
    assert_eq!(first.reached(before.token).await, Err(LogError::NotOwner));
    assert_eq!(first.seen(), []);
    assert_eq!(second.reached(before.token).await, Ok(()));
    assert_eq!(second.process.high_watermark(*partition).await, 2);
    let again = second.send_until_answered(&commit(1)).await;
    assert_eq!(again.outcomes, before.outcomes);
}

/// The group in flight is finished and answered before the shard goes, and what came behind it is either
/// answered too or refused for sure.
#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_a_shard_is_asked_for_is_answered() {
    let world = world(9, 1);
    let first = world.join(1).await;
    first.until_shared_by(&[id(1)]).await;
    let second = world.join(2).await;
    second
        .until("both are there", |view| view.members.len() == 2)
        .await;
    let hold = first.store.hold(KeyKind::Tail);
    let in_flight = first.commit(vec![one(1, partition(0), plain(1))]);
    hold.reached().await;
    let behind = first.commit(vec![one(2, partition(0), plain(1))]);
    second.set_draining(id(1), true).await.expect("it is there");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(
        second.own_shards(),
        [],
        "the owner lives, so it is waited for"
    );
    drop(hold);
    let answer = in_flight.await.remove(0).expect("it is finished");
    assert_eq!(only(&answer), accepted(0));
    let behind = behind.await.remove(0);
    assert!(
        matches!(behind, Ok(_) | Err(CommitError::NotOwner)),
        "{behind:?}"
    );
    second.until_shared_by(&[id(2)]).await;
    let again = second
        .send_until_answered(&one(2, partition(0), plain(1)))
        .await;
    assert_eq!(only(&again), accepted(1));
}

/// A process that was about to take a shard finds that another has come first, and leaves it alone.
#[tokio::test(start_paused = true)]
async fn a_takeover_that_comes_late_takes_nothing_from_whom_was_first() {
    let world = world(8, 1);
    let first = world.join(1).await;
    first.until_shared_by(&[id(1)]).await;
    let slow = world.join(2).await;
    slow.until("both are there", |view| view.members.len() == 2)
        .await;
    let hold = slow.store.hold(KeyKind::Lease);
    first.leave().await;
    hold.reached().await;
    let third = world.join(3).await;
    third
        .until("it sees the other", |view| view.member(id(2)).is_some())
        .await;
    third.set_draining(id(2), true).await.expect("it is there");
    third.until_shared_by(&[id(3)]).await;
    drop(hold);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(third.view().shards[0].owner, Some(id(3)));
    assert_eq!(third.view().shards[0].epoch, 2);
    assert_eq!(third.process.metric("shards_lost_total"), 0);
    assert_eq!(slow.process.metric("shards_taken_total"), 0);
    assert_eq!(slow.process.metric("shards_owned"), 0);
}

/// Writers go on while processes join, drain and leave, and one more dies.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_while_shards_move() {
    let world = world(6, SHARDS);
    let (first, second) = (world.join(1).await, world.join(2).await);
    second.until_shared_by(&[id(1), id(2)]).await;
    let partitions = first.partition_of_each_shard().await;
    let load = Load::start(6, 4, &[&first, &second], &partitions);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let third = world.join(3).await;
    load.asked.lock().push(third.process.service.clone());
    third.until_shared_by(&[id(1), id(2), id(3)]).await;
    second.set_draining(id(1), true).await.expect("it is there");
    third.until_shared_by(&[id(2), id(3)]).await;
    third.kill();
    second
        .set_draining(id(1), false)
        .await
        .expect("it is there");
    second.until_shared_by(&[id(1), id(2)]).await;
    second.leave().await;
    let fourth = world.join(4).await;
    load.asked.lock().push(fourth.process.service.clone());
    fourth.until_shared_by(&[id(1), id(4)]).await;
    first.until_shared_by(&[id(1), id(4)]).await;
    let told = load.stop().await;
    assert!(told.len() > 200, "{}", told.len());
    judge(&told, &[&first, &fourth]).await;
}

/// Without a lease row anybody may begin; a shard that nobody ever had has no owner to wait for.
#[tokio::test(start_paused = true)]
async fn two_that_start_at_once_share_from_the_beginning() {
    let world = world(7, SHARDS);
    let (first, second) = tokio::join!(world.join(1), world.join(2));
    first.until_shared_by(&[id(1), id(2)]).await;
    second.until_shared_by(&[id(1), id(2)]).await;
    assert_eq!(first.own_shards().len(), 16);
    assert!(
        first
            .seen()
            .iter()
            .all(|token| token.shard < ShardId::new(SHARDS))
    );
    assert_eq!(first.seen().len(), 16);
}
