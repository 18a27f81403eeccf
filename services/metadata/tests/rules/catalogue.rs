//! Topics: created once, changed, listed in pages, deleted softly and undeleted.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_metadata::keyspace::{Counter, KeyKind, Keyspace};
use tidelog_metadata_api::{
    Catalogue as _, CatalogueError, Log as _, LogError, NewTopic, Notice, TopicSelector, TopicState,
};
use tidelog_store::Store as _;
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::limits::TOPIC_PARTITIONS_MAX;
use tidelog_types::{PartitionIndex, TopicId, TopicName, TopicNumber, TopicPartition};

use crate::manifests::{accepted, one, only, plain};
use crate::world::{Process, World, partition};

fn named(name: &str) -> TopicName {
    TopicName::new(name).expect("a good name")
}

fn by_name(name: &str) -> TopicSelector {
    TopicSelector::Name(named(name))
}

fn new_topic(name: &str, partitions: u32) -> NewTopic {
    NewTopic {
        name: named(name),
        partitions,
        config: BTreeMap::new(),
        validate_only: false,
    }
}

async fn names(process: &Process, count: usize, deleted: bool) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), Vec::new());
    loop {
        let page = process
            .list_topics(&after, count, deleted)
            .await
            .expect("ok");
        assert!(page.topics.len() <= count);
        names.extend(page.topics.iter().map(|topic| topic.name.to_string()));
        if page.next.is_empty() {
            return names;
        }
        after = page.next;
    }
}

fn set(key: &str, value: Option<&str>) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([(key.to_owned(), value.map(str::to_owned))])
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_found_by_each_of_its_names_also_by_another_process() {
    let (world, process) = World::opened().await;
    let created = process
        .create_topic(new_topic("orders", 3))
        .await
        .expect("new");
    let other = world.open_on(&world.store.sibling()).await;
    for process in [&process, &other] {
        for selector in [
            by_name("orders"),
            TopicSelector::Id(created.id),
            TopicSelector::Number(created.number),
        ] {
            assert_eq!(
                process.topic(&selector).await,
                Ok(std::sync::Arc::clone(&created)),
                "{selector:?}"
            );
        }
    }
    let missing = other.topic(&by_name("order")).await;
    assert_eq!(missing, Err(CatalogueError::UnknownTopic(named("order"))));
    let nobody = TopicId::from_bytes([1; 16]);
    let missing = other.topic(&TopicSelector::Id(nobody)).await;
    assert_eq!(missing, Err(CatalogueError::UnknownTopicId(nobody)));
}

#[tokio::test(start_paused = true)]
async fn of_concurrent_creations_of_one_name_exactly_one_wins() {
    let (world, process) = World::opened().await;
    let creations = (1..=8).map(|partitions| process.create_topic(new_topic("orders", partitions)));
    // All have read before the first writes.
    let hold = world.store.hold(KeyKind::TopicName);
    let release = async {
        hold.reached().await;
        drop(hold);
    };
    let (results, ()) = tokio::join!(futures::future::join_all(creations), release);
    let won: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().ok())
        .collect();
    assert_eq!(won.len(), 1);
    let lost = results.iter().filter_map(|result| result.as_ref().err());
    for error in lost {
        assert_eq!(*error, CatalogueError::TopicExists(named("orders")));
    }
    assert_eq!(process.topic(&by_name("orders")).await.as_ref(), Ok(won[0]));
    assert_eq!(world.store.rows(KeyKind::Topic).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_a_creation_and_an_undeletion_of_one_name_exactly_one_wins() {
    let (world, process) = World::opened().await;
    process
        .create_topic(new_topic("orders", 1))
        .await
        .expect("new");
    process
        .delete_topic(&by_name("orders"))
        .await
        .expect("live");
    let hold = world.store.hold(KeyKind::TopicName);
    let release = async {
        hold.reached().await;
        drop(hold);
    };
    let undeleted = by_name("orders");
    let (undeleted, created, ()) = tokio::join!(
        process.undelete_topic(&undeleted),
        process.create_topic(new_topic("orders", 7)),
        release
    );
    let exists = CatalogueError::TopicExists(named("orders"));
    let (won, lost) = match (undeleted, created) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("one of the two wins: {both:?}"),
    };
    assert_eq!(lost, exists);
    assert_eq!(process.topic(&by_name("orders")).await, Ok(won));
}

#[tokio::test(start_paused = true)]
async fn concurrent_changes_of_one_topic_lose_none_of_each_other() {
    let (_, process) = World::opened().await;
    let log = by_name("log");
    let (first, second, third) = tokio::join!(
        process.alter_topic_config(&log, set("retention.ms", Some("5")), false),
        process.alter_topic_config(&log, set("retention.bytes", Some("6")), false),
        process.add_partitions(&log, 9)
    );
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    let topic = process.topic(&log).await.expect("there");
    assert_eq!(topic.config.as_set().len(), 2);
    assert_eq!(topic.partition_count(), 9);
}

#[tokio::test(start_paused = true)]
async fn concurrent_creations_of_many_names_get_numbers_of_their_own() {
    let (_, process) = World::opened().await;
    let creations = (0..10).map(|n| process.create_topic(new_topic(&format!("t{n}"), 1)));
    let results = futures::future::join_all(creations).await;
    let numbers: BTreeSet<_> = results
        .iter()
        .map(|r| r.as_ref().expect("new").number)
        .collect();
    assert_eq!(numbers.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_creation_of_unknown_outcome_says_so_and_is_whole_or_absent() {
    for (landing, exists) in [(Landing::Now, true), (Landing::Never, false)] {
        let (world, process) = World::opened().await;
        world
            .store
            .fail(KeyKind::Topic, CommitFault::Unknown(landing));
        let unknown = process.create_topic(new_topic("orders", 1)).await;
        assert_eq!(unknown, Err(CatalogueError::Unknown));
        assert_eq!(process.topic(&by_name("orders")).await.is_ok(), exists);
        let again = process.create_topic(new_topic("orders", 1)).await;
        assert_eq!(again.is_err(), exists, "{again:?}");
        let found = process
            .topic(&by_name("orders"))
            .await
            .expect("one of the two");
        let by_id = process.topic(&TopicSelector::Id(found.id)).await;
        assert_eq!(by_id, Ok(found));
    }
}

/// What is cached must not outlive a change whose outcome nobody knows.
#[tokio::test(start_paused = true)]
async fn a_change_of_unknown_outcome_shows_at_the_next_look() {
    let (world, process) = World::opened().await;
    let before = process.topic(&by_name("log")).await.expect("there");
    process.bounds_of(partition(0)).await;
    let by_number = TopicSelector::Number(before.number);
    process.topic(&by_number).await.expect("there");
    world
        .store
        .fail(KeyKind::Topic, CommitFault::Unknown(Landing::Now));
    let deleted = process.delete_topic(&by_name("log")).await;
    assert_eq!(deleted, Err(CatalogueError::Unknown));
    let gone = process.topic(&by_name("log")).await;
    assert_eq!(gone, Err(CatalogueError::UnknownTopic(named("log"))));
    let info = process.topic(&by_number).await.expect("deleted softly");
    assert_ne!(info.state, TopicState::Live);
    let bounds = process.bounds(partition(0)).await;
    assert_eq!(bounds, Err(LogError::UnknownPartition(partition(0))));
}

#[tokio::test(start_paused = true)]
async fn pages_list_every_name_once_in_order() {
    let (_, process) = World::opened().await;
    let mut expected = vec!["log".to_owned()];
    for number in 0..23 {
        let name = format!("{}-{number}", ["a", "a.b", "zz", "m_"][number % 4]);
        process
            .create_topic(new_topic(&name, 1))
            .await
            .expect("new");
        expected.push(name);
    }
    expected.sort();
    for count in [1, 2, 7, 24, 1_000] {
        assert_eq!(
            names(&process, count, false).await,
            expected,
            "pages of {count}"
        );
    }
    let page = process
        .list_topics(b"", 0, false)
        .await
        .expect("at least one");
    assert_eq!(page.topics.len(), 1);
    for bad in [&b"\xff\xfe"[..], b"no/slash", b" "] {
        let error = process.list_topics(bad, 10, false).await;
        assert_eq!(
            error.err(),
            Some(CatalogueError::InvalidPageToken),
            "{bad:?}"
        );
    }
    let error = process.list_topics(b"log", 10, true).await;
    assert_eq!(error.err(), Some(CatalogueError::InvalidPageToken));
    // A name that has gone since is still a place to go on from.
    let from = process.list_topics(b"b", 1_000, false).await.expect("ok");
    assert!(from.topics.iter().all(|topic| topic.name.as_str() > "b"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_name_is_free_and_the_last_one_deleted_comes_back() {
    let (_, process) = World::opened().await;
    let mut made = Vec::new();
    for partitions in 1..=3 {
        let topic = process.create_topic(new_topic("orders", partitions)).await;
        made.push(topic.expect("the name is free"));
        let deleted = process
            .delete_topic(&by_name("orders"))
            .await
            .expect("live");
        assert!(matches!(deleted.state, TopicState::Deleted { .. }));
    }
    let ids: BTreeSet<_> = made.iter().map(|topic| topic.id).collect();
    assert_eq!(ids.len(), 3, "an id is never used again");
    assert_eq!(names(&process, 2, true).await, ["orders"; 3]);
    assert_eq!(names(&process, 2, false).await, ["log"]);
    let back = process
        .undelete_topic(&by_name("orders"))
        .await
        .expect("deleted");
    assert_eq!((back.id, back.state), (made[2].id, TopicState::Live));
    let clash = process.undelete_topic(&TopicSelector::Id(made[0].id)).await;
    assert_eq!(clash, Err(CatalogueError::TopicExists(named("orders"))));
    process
        .delete_topic(&by_name("orders"))
        .await
        .expect("live");
    let first = process.undelete_topic(&TopicSelector::Id(made[0].id)).await;
    assert_eq!(first.expect("the name is free").number, made[0].number);
    assert_eq!(names(&process, 9, true).await, ["orders"; 2]);
    let nothing = process.undelete_topic(&by_name("unheard")).await;
    assert_eq!(nothing, Err(CatalogueError::UnknownTopic(named("unheard"))));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_cannot_be_used_and_keeps_its_records_for_its_return() {
    let (_, process) = World::opened().await;
    process
        .send_until_answered(&one(1, partition(0), plain(5)))
        .await;
    process.bounds_of(partition(0)).await;
    process.delete_topic(&by_name("log")).await.expect("live");
    let bounds = process.bounds(partition(0)).await;
    assert_eq!(bounds, Err(LogError::UnknownPartition(partition(0))));
    for change in [
        process
            .add_partitions(&TopicSelector::Number(TopicNumber::new(1)), 9)
            .await,
        process
            .delete_topic(&TopicSelector::Number(TopicNumber::new(1)))
            .await,
    ] {
        assert_eq!(change, Err(CatalogueError::UnknownTopic(named("log"))));
    }
    process
        .undelete_topic(&by_name("log"))
        .await
        .expect("deleted");
    assert_eq!(process.high_watermark(partition(0)).await, 5);
    let answer = process.send(one(2, partition(0), plain(1))).await;
    assert_eq!(only(&answer.expect("the owner")), accepted(5));
}

#[tokio::test(start_paused = true)]
async fn configuration_is_checked_changed_and_put_back() {
    let (_, process) = World::opened().await;
    let log = by_name("log");
    let alter = |changes, validate_only| process.alter_topic_config(&log, changes, validate_only);
    let tried = alter(set("retention.ms", Some("5")), true)
        .await
        .expect("valid");
    assert_eq!(
        tried
            .config
            .as_set()
            .get("retention.ms")
            .map(String::as_str),
        Some("5")
    );
    let unchanged = process.topic(&log).await.expect("there");
    assert_ne!(
        unchanged
            .config
            .as_set()
            .get("retention.ms")
            .map(String::as_str),
        Some("5")
    );
    alter(set("retention.ms", Some("5")), false)
        .await
        .expect("valid");
    let changed = process.topic(&log).await.expect("there");
    assert_eq!(
        changed
            .config
            .as_set()
            .get("retention.ms")
            .map(String::as_str),
        Some("5")
    );
    alter(set("retention.ms", None), false)
        .await
        .expect("valid");
    assert_eq!(process.topic(&log).await, Ok(unchanged));
    for bad in [
        set("retention.ms", Some("soon")),
        set("retention.years", Some("5")),
    ] {
        let error = alter(bad, false).await;
        assert!(
            matches!(error, Err(CatalogueError::InvalidConfig(_))),
            "{error:?}"
        );
    }
    let bad = NewTopic {
        config: BTreeMap::from([("no.such.key".to_owned(), "1".to_owned())]),
        ..new_topic("bad", 1)
    };
    let error = process.create_topic(bad).await;
    assert!(
        matches!(error, Err(CatalogueError::InvalidConfig(_))),
        "{error:?}"
    );
    let only_checked = NewTopic {
        validate_only: true,
        ..new_topic("checked", 1)
    };
    process.create_topic(only_checked).await.expect("valid");
    assert!(process.topic(&by_name("checked")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn partitions_are_only_added_and_those_there_keep_their_shards() {
    let mut world = World::new();
    world.shards = 8;
    let process = world.open().await;
    let orders = by_name("orders");
    let before = process
        .create_topic(new_topic("orders", 20))
        .await
        .expect("new");
    for count in [0, 1, 20, TOPIC_PARTITIONS_MAX + 1] {
        let error = process.add_partitions(&orders, count).await;
        let is_refused = matches!(error, Err(CatalogueError::InvalidPartitions { .. }));
        assert!(is_refused, "{error:?} for {count}");
    }
    for count in [0, TOPIC_PARTITIONS_MAX + 1] {
        let error = process.create_topic(new_topic("bad", count)).await;
        let is_refused = matches!(error, Err(CatalogueError::InvalidPartitions { .. }));
        assert!(is_refused, "{error:?} for {count}");
    }
    let after = process.add_partitions(&orders, 64).await.expect("more");
    assert_eq!(after.partitions[..20], before.partitions[..]);
    let counts: Vec<_> = after.counts.iter().map(|count| count.count).collect();
    assert_eq!(counts, [20, 64]);
    let shards: BTreeSet<_> = after.partitions.iter().map(|info| info.shard).collect();
    assert_eq!(shards.len(), 8, "64 partitions are spread over all shards");
    let other = world.open_on(&world.store.sibling()).await;
    assert_eq!(other.topic(&orders).await, Ok(after));
    let last = TopicPartition::new(before.number, PartitionIndex::new(63));
    assert_eq!(other.high_watermark(last).await, 0);
    let none = TopicPartition::new(before.number, PartitionIndex::new(64));
    assert_eq!(
        other.bounds(none).await,
        Err(LogError::UnknownPartition(none))
    );
    let largest = process
        .create_topic(new_topic("largest", TOPIC_PARTITIONS_MAX))
        .await;
    assert_eq!(
        largest.map(|topic| topic.partition_count()),
        Ok(TOPIC_PARTITIONS_MAX)
    );
}

#[tokio::test(start_paused = true)]
async fn every_change_is_told_once_it_is_durable() {
    let (_, process) = World::opened().await;
    let mut notices = process.subscribe();
    let topic = process
        .create_topic(new_topic("orders", 1))
        .await
        .expect("new");
    process
        .add_partitions(&by_name("orders"), 2)
        .await
        .expect("more");
    process
        .delete_topic(&by_name("orders"))
        .await
        .expect("live");
    process
        .undelete_topic(&by_name("orders"))
        .await
        .expect("deleted");
    for _ in 0..4 {
        let Some(Notice::Topic(number)) = notices.next().await else {
            panic!("news of the topic");
        };
        assert_eq!(number, topic.number);
    }
}

/// A damaged counter or name row would else give out a number that is taken, or a name.
#[tokio::test(start_paused = true)]
async fn damaged_numbers_are_errors_and_nothing_is_overwritten() {
    let keys = Keyspace::default();
    for (key, name) in [
        (keys.counter(Counter::TopicNumber), "other"),
        (keys.topic_name(&named("log")), "log"),
    ] {
        let (world, process) = World::opened().await;
        let mut transaction = world.store.begin().await.expect("open");
        transaction.put(key, bytes::Bytes::from_static(&[1, 2]));
        transaction.commit().await.expect("a blind write");
        let before = world.store.memory.dump();
        let created = process.create_topic(new_topic(name, 1)).await;
        let is_refused = matches!(created, Err(CatalogueError::Corrupt { .. }));
        assert!(is_refused, "{created:?}");
        assert_eq!(world.store.memory.dump(), before);
    }
}
