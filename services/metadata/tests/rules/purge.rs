//! Of a deleted topic nothing is left once its time is over: neither rows nor live bytes, whatever happens on the way.
//! All else stays as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow, PartitionRow};
use tidelog_metadata_api::{
    Catalogue as _, CatalogueError, CommittingMember, Decision, FencingToken, LogError, NewTopic,
    TopicSelector, TopicState,
};
use tidelog_store::Store as _;
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{
    ErrorCode, Offset, PartitionIndex, ShardId, TopicName, TopicNumber, TopicPartition,
};

use crate::groups;
use crate::groups::transactions::{commit_in, end, transaction};
use crate::manifests::{only, plain, segment, sent};
use crate::store::TestStore;
use crate::transactions::{abort, inside, of};
use crate::world::{Process, Run, World, partition, settings};

const MINUTE: i64 = 60_000;
/// How long the topic is kept.
const KEPT: i64 = 10 * MINUTE;
const NOBODY: CommittingMember = CommittingMember::nobody();

/// A partition of the topic that goes.
pub(crate) const fn gone(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(2), PartitionIndex::new(index))
}

fn by_name() -> TopicSelector {
    TopicSelector::Name(TopicName::new("gone").expect("a good name"))
}

/// Time passes on all clocks.
pub(crate) async fn pass(world: &World, millis: i64) {
    for _ in 0..20 {
        world.clock.jump_wall(millis / 20);
        let some = u64::try_from(millis / 20).expect("it goes on");
        tokio::time::sleep(Duration::from_millis(some)).await;
    }
}

pub(crate) async fn create(process: &Process) {
    let topic = NewTopic {
        name: TopicName::new("gone").expect("a good name"),
        partitions: 3,
        config: [("deleted.retention.ms".to_owned(), KEPT.to_string())].into(),
        validate_only: false,
    };
    let topic = process.create_topic(topic).await.expect("new");
    assert_eq!(topic.number, gone(0).topic);
}

/// Segments of both topics and of the one that goes alone, with producers, transactions that end and one that does not,
/// and offsets of groups.
pub(crate) async fn fill(process: &Process) {
    for sequence in 1..=4 {
        let draft = segment(sequence).slice(partition(0), &[plain(2)]);
        let draft = draft.slice(gone(0), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    }
    for (sequence, first) in [(5, 0), (6, 3)] {
        let draft = segment(sequence).slice(gone(1), &[sent(7, first, 3)]);
        process.send_until_answered(&draft.done()).await;
    }
    let aborted = segment(7).slice(gone(1), &[inside(8, 0, 0, 2)]);
    let aborted = aborted.condition(0, 0, of(1)).done();
    process.send_until_answered(&aborted).await;
    process.end(abort(gone(1), 8, 1)).await.expect("it is open");
    let open = segment(8).slice(gone(0), &[inside(9, 0, 0, 2)]);
    process
        .send_until_answered(&open.condition(0, 0, of(1)).done())
        .await;
    let service = &process.service;
    for at in [gone(0), gone(2), partition(0)] {
        let done = groups::commit(service, "g", NOBODY, at, 1).await;
        assert_eq!(done, Ok(()));
    }
}

async fn delete(process: &Process) {
    process.delete_topic(&by_name()).await.expect("live");
}

/// The rows of the topic that goes, by kind.
fn rows_of_gone(store: &TestStore) -> Vec<KeyKind> {
    let number = gone(0).topic.get().to_be_bytes();
    let mut found = Vec::new();
    for kind in KeyKind::ALL {
        for (key, value) in store.rows(kind) {
            let is_of_gone = match kind {
                KeyKind::Topic
                | KeyKind::Emptied
                | KeyKind::Partition
                | KeyKind::Producer
                | KeyKind::Page
                | KeyKind::Aborted
                | KeyKind::Compacted => key[6..14] == number,
                KeyKind::DeletedTopic => key.ends_with(&number),
                KeyKind::TopicName | KeyKind::TopicId => value.ends_with(&number),
                KeyKind::GroupOffset => {
                    Keyspace::offset_partition(&key).map(|at| at.topic) == Some(gone(0).topic)
                }
                _ => false,
            };
            if is_of_gone {
                found.push(kind);
            }
        }
    }
    found
}

/// Live bytes by sequence, of all shards.
fn live(store: &TestStore) -> BTreeMap<u64, u64> {
    let mut live = BTreeMap::new();
    for (key, value) in store.rows(KeyKind::LiveBytes) {
        let segment = Keyspace::receipt_segment(&key).expect("a good key");
        let row = LiveBytesRow::decode(value).expect("a good row");
        *live.entry(segment.sequence.get()).or_default() += row.bytes;
    }
    live
}

/// The other topic is as it was, and nothing is left of this one.
pub(crate) async fn check_purged(store: &TestStore, process: &Process, what: &str) {
    assert_eq!(rows_of_gone(store), [], "{what}");
    let expected = [
        (1, 72),
        (2, 72),
        (3, 72),
        (4, 72),
        (5, 0),
        (6, 0),
        (7, 0),
        (8, 0),
    ];
    let mut found = live(store);
    found.retain(|sequence, _| *sequence <= 8);
    assert_eq!(found, expected.into(), "{what}");
    let dying: Vec<_> = store.rows(KeyKind::Dying);
    for sequence in 5..=8 {
        let key = Keyspace::default().dying(crate::manifests::name(sequence));
        assert!(dying.iter().any(|row| row.0 == key), "{what}: {sequence}");
    }
    let log = process.log_of(partition(0)).await;
    let log: Vec<Run> = log.into_iter().take(4).collect();
    assert_eq!(
        log.iter().map(|run| run.next).collect::<Vec<_>>(),
        [2, 4, 6, 8],
        "{what}"
    );
    let service = &process.service;
    let offset = groups::fetch(service, "g", partition(0)).await;
    assert_eq!(offset, Ok(Some(1)), "{what}");
    assert_eq!(groups::fetch(service, "g", gone(0)).await, Ok(None));
}

/// Only what a topic has that is due, and that in a while, whoever owns the shard.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_topic_whose_time_is_over_and_nothing_goes_before() {
    let world = World::new();
    let process = world.open().await;
    create(&process).await;
    fill(&process).await;
    delete(&process).await;
    pass(&world, 5 * MINUTE).await;
    let (rows, commits) = (rows_of_gone(&world.store), world.store.commits());
    pass(&world, 4 * MINUTE).await;
    assert_eq!(world.store.commits(), commits, "it only waits (I8)");
    assert_eq!(rows_of_gone(&world.store), rows);
    assert_eq!(process.metric("deleted_topics"), 1);
    // Nothing is purged of what came back.
    let back = process.undelete_topic(&by_name()).await.expect("in time");
    assert_eq!(back.state, TopicState::Live);
    pass(&world, 20 * MINUTE).await;
    assert_eq!(process.log_of(gone(1)).await.len(), 4);
    assert_eq!(process.metric("deleted_topics"), 0);
    delete(&process).await;
    pass(&world, KEPT + 3 * MINUTE).await;
    check_purged(&world.store, &process, "purged").await;
    assert_eq!(process.metric("purged_topics_total"), 1);
    assert_eq!(process.metric("deleted_topics"), 0);
    let commits = world.store.commits();
    pass(&world, 60 * MINUTE).await;
    assert_eq!(world.store.commits(), commits, "nothing is left to do (I8)");
    let unknown = process.undelete_topic(&by_name()).await;
    assert!(matches!(unknown, Err(CatalogueError::UnknownTopic(_))));
    // Whoever takes over reads of it in the tail.
    let store = world.store.sibling();
    let process = world.open_on(&store).await;
    process
        .send_until_answered(&segment(9).slice(partition(1), &[plain(1)]).done())
        .await;
    pass(&world, MINUTE).await;
    check_purged(&store, &process, "taken over").await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_is_refused_and_brings_nothing_back() {
    let world = World::new();
    let process = world.open().await;
    create(&process).await;
    fill(&process).await;
    delete(&process).await;
    // On their way when it is marked, and after that.
    let hold = world.store.hold(KeyKind::LiveBytes);
    pass(&world, KEPT).await;
    hold.reached().await;
    let undone = process.undelete_topic(&by_name()).await;
    assert!(
        matches!(undone, Err(CatalogueError::Purging(_))),
        "{undone:?}"
    );
    drop(hold);
    let mut sequence = 20;
    for when in ["while it goes", "afterwards"] {
        sequence += 1;
        let both = segment(sequence).slice(partition(1), &[plain(1)]);
        let both = both.slice(gone(2), &[plain(1)]).done();
        let answer = process.send_until_answered(&both).await;
        let codes: Vec<_> = answer.outcomes.iter().map(code).collect();
        assert_eq!(codes, [None, Some(ErrorCode::UnknownTopic)], "{when}");
        let late = segment(sequence + 10)
            .slice(gone(0), &[sent(7, 0, 1)])
            .done();
        let answer = process.send_until_answered(&late).await;
        assert_eq!(
            code(&only(&answer)),
            Some(ErrorCode::UnknownTopic),
            "{when}"
        );
        let ended = process.end(abort(gone(0), 9, 1)).await;
        assert_eq!(ended, Err(LogError::UnknownPartition(gone(0))), "{when}");
        pass(&world, 5 * MINUTE).await;
        check_purged(&world.store, &process, when).await;
    }
    assert_eq!(process.high_watermark(partition(1)).await, 2);
}

/// A transaction that ends when the offsets of groups in the topic have gone.
#[tokio::test(start_paused = true)]
async fn an_offset_of_an_open_transaction_does_not_come_back_with_its_end() {
    let world = World::new();
    let process = world.open().await;
    create(&process).await;
    fill(&process).await;
    let service = &process.service;
    let open = transaction(7, 0, 1);
    for at in [gone(1), partition(1)] {
        let done = commit_in(service, ("g", NOBODY), open, at, 5).await;
        assert_eq!(done, Ok(()));
    }
    delete(&process).await;
    pass(&world, KEPT + 5 * MINUTE).await;
    let ended = end(service, "g", open, Decision::Commit).await;
    assert_eq!(ended, Ok(()));
    check_purged(&world.store, &process, "after the end").await;
    let other = groups::fetch(service, "g", partition(1)).await;
    assert_eq!(other, Ok(Some(5)));
}

/// As a server wrote it that had no pages yet: nothing in it but a token.
#[tokio::test(start_paused = true)]
async fn a_partition_from_before_there_were_pages_goes_although_it_is_empty() {
    let world = World::new();
    let row = PartitionRow {
        fencing_token: FencingToken::new(Bytes::from_static(b"me")).expect("short"),
        ..PartitionRow::default()
    };
    let newest = row.encode();
    let mut first = newest[..newest.len() - 50].to_vec();
    first[0] = 1;
    let decoded = PartitionRow::decode(first.clone().into()).expect("version 1");
    assert_eq!(decoded.fencing_token, row.fencing_token);
    let mut transaction = world.store.begin().await.expect("a store");
    let key = Keyspace::default().partition(gone(2));
    transaction.put(key, first.into());
    transaction.commit().await.expect("a store");
    let process = world.open().await;
    create(&process).await;
    fill(&process).await;
    delete(&process).await;
    pass(&world, KEPT + 3 * MINUTE).await;
    check_purged(&world.store, &process, "version 1").await;
}

fn code(outcome: &tidelog_format::manifest::Outcome) -> Option<ErrorCode> {
    match outcome {
        tidelog_format::manifest::Outcome::Refused { code, .. } => Some(*code),
        _ => None,
    }
}

/// Every kind of row that a purge writes, in the order in which it does.
const STEPS: [KeyKind; 9] = [
    KeyKind::Topic,
    KeyKind::Tail,
    KeyKind::Partition,
    KeyKind::LiveBytes,
    KeyKind::GroupOffset,
    KeyKind::Emptied,
    KeyKind::Producer,
    KeyKind::TopicId,
    KeyKind::DeletedTopic,
];

#[tokio::test(start_paused = true)]
async fn whoever_takes_over_goes_on_wherever_the_one_before_was_stopped() {
    for kind in STEPS {
        let what = format!("stopped at {kind:?}");
        let world = World::new();
        let process = world.open().await;
        create(&process).await;
        fill(&process).await;
        delete(&process).await;
        pass(&world, KEPT - MINUTE).await;
        let hold = world.store.hold(kind);
        pass(&world, 2 * MINUTE).await;
        hold.reached().await;
        let store = world.store.sibling();
        let new = world.open_on(&store).await;
        pass(&world, 3 * MINUTE).await;
        check_purged(&store, &new, &what).await;
        drop(hold);
        pass(&world, MINUTE).await;
        check_purged(&store, &new, &what).await;
        let next = world.open_on(&store.sibling()).await;
        check_purged(&store, &next, &what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_step_the_topic_is_purged_once() {
    for kind in STEPS {
        for fault in [
            CommitFault::Conflict,
            CommitFault::Unavailable,
            CommitFault::Unknown(Landing::Now),
            CommitFault::Unknown(Landing::Never),
            CommitFault::Unknown(Landing::Later { after_commits: 1 }),
        ] {
            let what = format!("{fault:?} of {kind:?}");
            let world = World::new();
            let process = world.open().await;
            create(&process).await;
            fill(&process).await;
            delete(&process).await;
            pass(&world, KEPT - MINUTE).await;
            world.store.fail(kind, fault);
            pass(&world, 5 * MINUTE).await;
            check_purged(&world.store, &process, &what).await;
            drop(world.store.memory.land_delayed());
            let next = world.open_on(&world.store.sibling()).await;
            check_purged(&world.store, &next, &what).await;
        }
    }
}

/// Also partitions that were written by no checkpoint yet, and a checkpoint that is under way.
#[tokio::test(start_paused = true)]
async fn all_shards_have_their_part_and_all_owners() {
    for checkpoint in [1, u32::MAX] {
        let mut world = World::with(settings(checkpoint));
        world.shards = 5;
        let mut process = world.open().await;
        create(&process).await;
        let topic = process.topic(&by_name()).await.expect("there");
        let log = TopicSelector::Number(partition(0).topic);
        let log = process.topic(&log).await.expect("there");
        let mut sequence = 0;
        let mut send = Vec::new();
        for round in 0..3 {
            for index in 0..3 {
                sequence += 1;
                let shard = topic.partitions[index as usize].shard;
                let draft = segment(sequence).slice(gone(index), &[sent(4, round, 1)]);
                send.push(draft.shard(shard).done());
            }
            sequence += 1;
            let draft = segment(sequence).slice(partition(0), &[plain(1)]);
            send.push(draft.shard(log.partitions[0].shard).done());
        }
        for commit in &send {
            process.send_until_answered(commit).await;
        }
        delete(&process).await;
        pass(&world, KEPT - MINUTE).await;
        for _ in 0..6 {
            process = world.open_on(&world.store.sibling()).await;
            pass(&world, MINUTE / 2).await;
        }
        pass(&world, 5 * MINUTE).await;
        assert_eq!(rows_of_gone(&world.store), []);
        let expected =
            (1..=sequence).map(|at| (at, if u64::is_multiple_of(at, 4) { 71 } else { 0 }));
        assert_eq!(live(&world.store), expected.collect());
        assert_eq!(process.log_of(partition(0)).await.len(), 3);
    }
}

/// Many pages, and rows of producers for more than one step, with commits between the steps.
#[tokio::test(start_paused = true)]
async fn a_large_topic_goes_in_steps_between_which_commits_go_on() {
    let world = World::with(tidelog_metadata::SequencerSettings {
        extent_bytes: 0,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    create(&process).await;
    for sequence in 1..=60 {
        let draft = (0..100).fold(segment(sequence), |draft, batch| {
            let producer = i64::try_from(sequence * 100 + batch).expect("small");
            draft.slice(gone(0), &[sent(producer, 0, 1)])
        });
        process.send_until_answered(&draft.done()).await;
    }
    delete(&process).await;
    pass(&world, KEPT - MINUTE).await;
    assert!(world.store.rows(KeyKind::Producer).len() >= 6_000);
    world.clock.jump_wall(MINUTE);
    pass(&world, 2 * MINUTE).await;
    for sequence in 101..=160 {
        let commit = segment(sequence).slice(partition(1), &[plain(1)]).done();
        process.send_until_answered(&commit).await;
        pass(&world, 200).await;
    }
    pass(&world, 5 * MINUTE).await;
    assert_eq!(rows_of_gone(&world.store), []);
    let mut left = live(&world.store);
    left.retain(|sequence, _| *sequence <= 60);
    assert!(left.values().all(|bytes| *bytes == 0), "{left:?}");
    assert_eq!(process.high_watermark(partition(1)).await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_used_again_is_of_another_topic() {
    let world = World::new();
    let process = world.open().await;
    create(&process).await;
    fill(&process).await;
    delete(&process).await;
    let topic = NewTopic {
        name: TopicName::new("gone").expect("a good name"),
        partitions: 1,
        config: BTreeMap::new(),
        validate_only: false,
    };
    let new = process.create_topic(topic).await.expect("the name is free");
    let at = TopicPartition::new(new.number, PartitionIndex::new(0));
    process
        .send_until_answered(&segment(30).slice(at, &[plain(3)]).done())
        .await;
    pass(&world, KEPT + 3 * MINUTE).await;
    check_purged(&world.store, &process, "the one before").await;
    assert_eq!(process.topic(&by_name()).await.expect("there").id, new.id);
    assert_eq!(process.bounds_of(at).await.high_watermark, Offset::new(3));
    let shard = ShardId::new(0);
    let key = Keyspace::default().live_bytes(crate::manifests::name(30), shard);
    let rows = world.store.rows(KeyKind::LiveBytes);
    assert!(rows.iter().any(|row| row.0 == key));
}
