//! A process that sleeps through a restore of its store and wakes changes nothing in the generation that
//! has begun (invariant I4), and learns that it must end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata::{GenerationEnded, MetadataService};
use tidelog_metadata_api::{
    Catalogue as _, Cluster as _, CommitError, Log as _, LogError, NewTopic, TopicSelector,
};
use tidelog_types::{ClusterGeneration, Incarnation, Role, SegmentSequence, TopicName};

use super::Bucket;
use crate::cluster::nodes::{id, member, world};
use crate::manifests::{WRITER, one, plain};
use crate::world::{World, partition};

const ENDED: GenerationEndedAs = GenerationEndedAs { known: 1, found: 2 };

/// What every refusal says.
struct GenerationEndedAs {
    known: u32,
    found: u32,
}

impl GenerationEndedAs {
    fn is(&self, ended: GenerationEnded) -> bool {
        matches!(ended, GenerationEnded::Restored { known, found, .. }
            if known == ClusterGeneration::new(self.known)
                && found == ClusterGeneration::new(self.found))
    }
}

fn topic(text: &str) -> NewTopic {
    NewTopic {
        name: TopicName::new(text).expect("a good name"),
        partitions: 1,
        config: BTreeMap::new(),
        validate_only: false,
    }
}

fn named(text: &str) -> TopicSelector {
    TopicSelector::Name(TopicName::new(text).expect("a good name"))
}

fn check<T, E: Display>(what: &str, answer: Result<T, E>) {
    let Err(error) = answer else {
        panic!("{what} was done");
    };
    let text = error.to_string();
    let (known, found) = (ENDED.known, ENDED.found);
    let says = text.contains(&format!("generation `{found}`"))
        && text.contains(&format!("generation `{known}`"));
    assert!(says, "{what}: {text}");
}

/// Asks for everything that changes the store outside of sequencers.
async fn all_is_refused(service: &MetadataService) {
    check("create", service.create_topic(topic("new")).await);
    let log = named("log");
    let altered = service.alter_topic_config(&log, BTreeMap::new(), false);
    check("alter", altered.await);
    check("grow", service.add_partitions(&log, 8).await);
    check("delete", service.delete_topic(&log).await);
    check("undelete", service.undelete_topic(&named("gone")).await);
    check("register", service.register_writer().await);
    check("producer", service.init_producer().await);
    let floor = service.raise_floor(WRITER, SegmentSequence::new(99));
    check("floor", floor.await);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_slept_through_a_restore_changes_nothing() {
    let (world, process) = World::opened().await;
    process.create_topic(topic("gone")).await.expect("new");
    process.delete_topic(&named("gone")).await.expect("it is");
    let bucket = Bucket::new();
    let store = &world.store.memory;
    bucket.take(store, "b").await;
    let restored = bucket.try_restore(store, "b", true).await;
    assert_eq!(restored.expect("it answers").generation.get(), ENDED.found);
    let rows = store.dump();
    all_is_refused(&process).await;
    let lost = process.send(one(1, partition(0), plain(1))).await;
    assert!(matches!(lost, Err(CommitError::NotOwner)), "{lost:?}");
    assert!(ENDED.is(process.ended().await));
    assert_eq!(store.dump(), rows);
}

/// Numbers that were taken from the store before are given out only until the end is known. They are
/// nobody else's: the new generation skips them.
#[tokio::test(start_paused = true)]
async fn a_restore_ends_what_is_left_of_producer_ids() {
    let (world, process) = World::opened().await;
    process.init_producer().await.expect("it answers");
    let bucket = Bucket::new();
    bucket.take(&world.store.memory, "b").await;
    let restored = bucket.try_restore(&world.store.memory, "b", true).await;
    restored.expect("it answers");
    process.init_producer().await.expect("it has some left");
    check("register", process.register_writer().await);
    check("producer", process.init_producer().await);
}

/// The number was read before the restore, and is to be written after it.
#[tokio::test(start_paused = true)]
async fn a_transaction_under_way_while_the_store_is_restored_is_refused() {
    let (world, process) = World::opened().await;
    let bucket = Bucket::new();
    bucket.take(&world.store.memory, "b").await;
    let hold = world.store.hold(KeyKind::Counter);
    let restore = async {
        hold.reached().await;
        let restored = bucket.try_restore(&world.store.memory, "b", true).await;
        restored.expect("it answers");
        let rows = world.store.memory.dump();
        drop(hold);
        rows
    };
    let (registered, rows) = tokio::join!(process.register_writer(), restore);
    check("register", registered);
    assert_eq!(world.store.memory.dump(), rows);
}

/// A restore that is under way has taken the row of the cluster away.
#[tokio::test(start_paused = true)]
async fn while_a_restore_is_under_way_nothing_is_changed() {
    let (world, process) = World::opened().await;
    let store = &world.store.memory;
    let keys = tidelog_metadata::keyspace::Keyspace::default();
    let mut begun = tidelog_store::Store::begin(store).await.expect("it does");
    begun.delete(keys.cluster());
    begun.commit().await.expect("no conflict");
    let registered = process.register_writer().await;
    let Err(LogError::Unavailable { reason }) = registered else {
        panic!("{registered:?}");
    };
    assert!(reason.contains("is being restored"), "{reason}");
    let known = ClusterGeneration::new(1);
    let ended = process.ended().await;
    assert!(matches!(ended, GenerationEnded::Restoring { known: own, .. } if own == known));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_slept_through_a_restore_changes_nothing_and_ends() {
    let world = world(11, 4);
    let sleeper = world.join(1).await;
    sleeper.until_shared_by(&[id(1)]).await;
    let partitions = sleeper.partition_of_each_shard().await;
    sleeper.create_topic(topic("gone")).await.expect("new");
    sleeper.delete_topic(&named("gone")).await.expect("it is");
    let mut broker = member(2, Role::Broker);
    broker.incarnation = Some(Incarnation::new(1));
    let kept = sleeper.join(broker.clone()).await.expect("it answers");
    let bucket = Bucket::new();
    let store = &world.store.memory;
    bucket.take(store, "b").await;

    // Less than a lease, so that it does not think of having slept.
    sleeper.store.freeze();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let restored = bucket.try_restore(store, "b", true).await;
    assert_eq!(restored.expect("it answers").generation.get(), ENDED.found);
    let rows = store.dump();
    sleeper.store.thaw();

    all_is_refused(&sleeper).await;
    check("join", sleeper.join(broker).await);
    check("drain", sleeper.set_draining(id(1), true).await);
    // The end of a member ends its incarnation, in its own generation alone.
    kept.leave();
    let ended = tokio::time::timeout(Duration::from_secs(5), sleeper.ended()).await;
    assert!(ENDED.is(ended.expect("it hears of it")));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(store.dump(), rows);
    for (shard, partition) in partitions {
        let mut commit = one(1, partition, plain(1));
        commit.manifest.shard = shard;
        let late = sleeper.try_send(&commit).await;
        assert!(matches!(late, Err(CommitError::NotOwner)), "{late:?}");
    }
    // Nobody has to wait for it.
    let left = tokio::time::timeout(Duration::from_millis(1), sleeper.leave()).await;
    left.expect("it has nothing to give");
}

/// Nobody asks it for anything: its beat finds out.
#[tokio::test(start_paused = true)]
async fn an_idle_member_that_slept_through_a_restore_ends() {
    let world = world(12, 2);
    let sleeper = world.join(1).await;
    sleeper.until_shared_by(&[id(1)]).await;
    let bucket = Bucket::new();
    let store = &world.store.memory;
    bucket.take(store, "b").await;
    // It sleeps in the middle of a beat.
    let hold = sleeper.store.hold(KeyKind::Member);
    hold.reached().await;
    let restored = bucket.try_restore(store, "b", true).await;
    restored.expect("it answers");
    let rows = store.dump();
    drop(hold);
    let ended = tokio::time::timeout(Duration::from_secs(5), sleeper.ended()).await;
    assert!(ENDED.is(ended.expect("it hears of it")));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(store.dump(), rows);
    assert_eq!(sleeper.process.metric("shards_owned"), 0);
}
