//! What a restore does to a store, and what may go wrong on the way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidelog_metadata::OpenError;
use tidelog_metadata::backup::{RestoreError, RestoreOptions, TakeError, TakeOptions};
use tidelog_metadata::keyspace::{Counter, KeyKind, Keyspace, LeaseRow, NumberRow};
use tidelog_metadata_api::{
    Catalogue as _, CommitError, Log as _, NewTopic, ReadToken, TopicSelector, TopicState,
};
use tidelog_store::memory::{CommitFault, Landing, MemoryStore};
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, Store as _, StoreError};
use tidelog_types::{
    ClusterGeneration, GroupNumber, MemberId, SegmentSequence, ShardId, TopicName, TopicNumber,
};

use super::{Bucket, name, rows_of};
use crate::manifests::{WRITER, accepted, one, only, plain};
use crate::world::{Process, SHARD, World, partition};

/// A store with a short history, and its backup `b`.
async fn backed_up() -> (World, Process, Bucket) {
    let (world, process) = World::opened().await;
    for sequence in 1..=30 {
        let commit = one(sequence, partition(0), plain(2));
        process.send_until_answered(&commit).await;
    }
    process.register_writer().await.expect("it answers");
    process.init_producer().await.expect("it answers");
    let bucket = Bucket::new();
    bucket.take(&world.store.memory, "b").await;
    (world, process, bucket)
}

#[tokio::test(start_paused = true)]
async fn a_restore_begins_a_generation_with_numbers_of_its_own() {
    let (_, before, bucket) = backed_up().await;
    let mut seen = Vec::new();
    for generation in [2, 3] {
        let (store, restored) = bucket.restored("b").await;
        assert_eq!(restored.generation, ClusterGeneration::new(generation));
        let keys = Keyspace::default();
        let lease = rows_of(&store, KeyKind::Lease).remove(0).1;
        let lease = LeaseRow::decode(lease).expect("a good row");
        assert_eq!(lease.owner, LeaseRow::RELEASED);
        assert!(lease.epoch > u64::from(generation - 1) << 32);
        let oldest = keys.counter(Counter::OldestLiveIncarnation);
        let rows = store.dump();
        let oldest = rows.iter().find(|(key, _)| *key == oldest);
        let oldest = oldest.expect("it is written").1.clone();
        let first = restored.first_incarnation.get();
        assert_eq!(NumberRow::decode(oldest), Ok(NumberRow(first)));

        let process = World::on(store).open().await;
        assert_eq!(process.cluster().1, restored.generation);
        let numbers = (
            process.register_writer().await.expect("it answers"),
            process.init_producer().await.expect("it answers").id,
        );
        assert_eq!(numbers.0, restored.first_incarnation);
        assert!(!seen.contains(&numbers));
        seen.push(numbers);
        let topic = new_topic(&process, "new").await;
        assert!(topic.get() > 1 << 32, "{topic}");
    }
    let lived_on = before.init_producer().await.expect("it answers").id;
    assert!(seen.iter().all(|(_, producer)| *producer != lived_on));
}

async fn new_topic(process: &Process, text: &str) -> TopicNumber {
    let topic = NewTopic {
        name: TopicName::new(text).expect("a good name"),
        partitions: 1,
        config: [].into(),
        validate_only: false,
    };
    process.create_topic(topic).await.expect("new").number
}

#[tokio::test(start_paused = true)]
async fn writers_of_before_are_refused_and_a_new_one_goes_on_where_the_log_ends() {
    let (_, process, bucket) = backed_up().await;
    let lost = one(31, partition(0), plain(1));
    process.send_until_answered(&lost).await;
    let (store, restored) = bucket.restored("b").await;
    let process = World::on(store).open().await;
    let retried = process.send(lost).await;
    assert!(
        matches!(retried, Err(CommitError::WriterEnded)),
        "{retried:?}"
    );
    let known = process.send(one(30, partition(0), plain(2))).await;
    assert_eq!(only(&known.expect("a receipt")), accepted(58));
    let mut new = one(1, partition(0), plain(1));
    new.manifest.segment.incarnation = restored.first_incarnation;
    process.register_writer().await.expect("it answers");
    let answer = process.send_until_answered(&new).await;
    assert_eq!(only(&answer), accepted(60));
    assert_eq!(process.log_of(partition(0)).await.len(), 31);
}

/// A token of the generation before, of a group that this one may never reach, waits for nothing.
#[tokio::test(start_paused = true)]
async fn a_token_of_the_generation_before_waits_for_nothing() {
    let (_, process, bucket) = backed_up().await;
    let (_, generation) = process.cluster();
    let (store, _) = bucket.restored("b").await;
    let process = World::on(store).open().await;
    let token = ReadToken {
        generation,
        shard: SHARD,
        group: GroupNumber::new(1_000_000),
    };
    let reached = tokio::time::timeout(Duration::from_secs(1), process.reached(token)).await;
    reached.expect("it does not wait").expect("it is no error");
}

#[tokio::test(start_paused = true)]
async fn a_store_with_rows_is_left_alone_unless_they_may_go() {
    let (_, _, bucket) = backed_up().await;
    let (expected, _) = bucket.restored("b").await;
    let (world, process) = World::opened().await;
    for sequence in 1..=40 {
        let commit = one(sequence, partition(1), plain(1));
        process.send_until_answered(&commit).await;
    }
    let store = &world.store.memory;
    let before = store.dump();
    let refused = bucket.try_restore(store, "b", false).await;
    assert!(
        matches!(refused, Err(RestoreError::NotEmpty)),
        "{refused:?}"
    );
    assert_eq!(store.dump(), before);

    let restored = bucket.try_restore(store, "b", true).await;
    assert_eq!(restored.expect("it answers").generation.get(), 3);
    // The process that had the shard has lost it, and what it says then changes nothing.
    let late = process.send(one(41, partition(1), plain(1))).await;
    assert!(matches!(late, Err(CommitError::NotOwner)), "{late:?}");
    for kind in [
        KeyKind::Tail,
        KeyKind::Receipt,
        KeyKind::Topic,
        KeyKind::LiveBytes,
    ] {
        assert_eq!(rows_of(store, kind), rows_of(&expected, kind), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_processes_beat_is_left_alone() {
    let (_, _, bucket) = backed_up().await;
    let store = MemoryStore::new();
    let beat = async |text: &'static str| {
        let mut transaction = store.begin().await.expect("it answers");
        let key = Keyspace::default().member(MemberId::from_bytes([1; 16]));
        transaction.put(key, Bytes::from_static(text.as_bytes()));
        transaction.commit().await.expect("no conflict");
    };
    beat("1").await;
    let name = name("b");
    let options = RestoreOptions {
        env: &bucket.env,
        store: &store,
        name: &name,
        wipe: true,
        watch: Duration::from_secs(3),
    };
    let beats = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        beat("2").await;
    };
    let (restored, ()) = tokio::join!(bucket.backups.restore(&options), beats);
    assert!(matches!(restored, Err(RestoreError::InUse)), "{restored:?}");
    let restored = bucket.backups.restore(&options).await;
    restored.expect("nobody beats any more");
    assert!(rows_of(&store, KeyKind::Member).is_empty());
}

/// A process that was opened before has a cluster in mind that is no more.
#[tokio::test(start_paused = true)]
async fn a_process_of_the_generation_before_changes_nothing() {
    let (_, _, bucket) = backed_up().await;
    let (world, before) = World::opened().await;
    let store = &world.store.memory;
    bucket
        .try_restore(store, "b", true)
        .await
        .expect("it answers");
    let restored = store.dump();
    for sequence in 100..103 {
        let late = before.send(one(sequence, partition(1), plain(1))).await;
        assert!(late.is_err(), "{late:?}");
        tokio::time::advance(Duration::from_secs(11)).await;
    }
    assert_eq!(store.dump(), restored);
}

#[tokio::test(start_paused = true)]
async fn a_half_restored_store_is_refused_until_the_restore_is_run_again() {
    let (_, _, bucket) = backed_up().await;
    let (expected, _) = bucket.restored("b").await;
    // The commits of a whole restore.
    for interrupted_at in 1..3 {
        let store = MemoryStore::new();
        for attempt in 0..40 {
            let fault = CommitFault::Unavailable;
            store.faults().fail_commit(interrupted_at + attempt, fault);
        }
        let failed = bucket.try_restore(&store, "b", false).await;
        assert!(matches!(failed, Err(RestoreError::Commit(_))), "{failed:?}");
        store.faults().clear();
        assert!(rows_of(&store, KeyKind::Cluster).is_empty());
        let world = World::on(store.clone());
        let opened = world.try_open_on(&world.store).await;
        assert!(
            matches!(&opened, Err(OpenError::HalfRestored { backup }) if backup == "b"),
            "{opened:?}"
        );
        let taken = bucket
            .try_take(&store, "half", TakeOptions::default())
            .await;
        assert!(matches!(taken, Err(TakeError::Unfinished(_))), "{taken:?}");
        let accepted = tidelog_metadata::backup::accept_restore(&store, &bucket.env).await;
        assert!(accepted.is_err());

        let restored = bucket.try_restore(&store, "b", false).await;
        restored.expect("it begins anew");
        for kind in [KeyKind::Tail, KeyKind::Topic, KeyKind::LiveBytes] {
            assert_eq!(rows_of(&store, kind), rows_of(&expected, kind), "{kind:?}");
        }
        World::on(store).open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn commits_of_unknown_outcome_harm_nothing() {
    let (_, _, bucket) = backed_up().await;
    let (expected, _) = bucket.restored("b").await;
    for landing in [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
        Landing::Later { after_commits: 1 },
        Landing::Later { after_commits: 2 },
    ] {
        for at in 0..4 {
            let (world, _process) = World::opened().await;
            let store = &world.store.memory;
            store
                .faults()
                .fail_commit(at, CommitFault::Unknown(landing));
            let restored = bucket.try_restore(store, "b", true).await;
            restored.expect("it is settled");
            for kind in KeyKind::ALL {
                let is_same = rows_of(store, kind).len() == rows_of(&expected, kind).len();
                assert!(is_same, "{kind:?} at {at}, {landing:?}");
            }
            for kind in [KeyKind::Tail, KeyKind::Topic, KeyKind::LiveBytes] {
                assert_eq!(rows_of(store, kind), rows_of(&expected, kind), "{kind:?}");
            }
        }
    }
}

/// Topics of one name that were live one after the other, each when it was read.
#[derive(Debug)]
struct Between<'a> {
    store: MemoryStore,
    process: &'a Process,
    is_done: AtomicBool,
}

#[async_trait]
impl RowSource for Between<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let after_red = KeyRange::successor(&Keyspace::default().topic(TopicNumber::new(2)));
        if range.start == after_red && !self.is_done.swap(true, Ordering::Relaxed) {
            let red = TopicSelector::Name(TopicName::new("red").expect("a good name"));
            self.process.delete_topic(&red).await.expect("live");
            new_topic(self.process, "red").await;
        }
        self.store.page(range, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_topics_of_one_name_the_first_was_deleted() {
    let (world, process) = World::opened().await;
    assert_eq!(new_topic(&process, "red").await.get(), 2);
    new_topic(&process, "blue").await;
    world.clock.jump_wall(5_000);
    let source = Between {
        store: world.store.memory.clone(),
        process: &process,
        is_done: AtomicBool::new(false),
    };
    let bucket = Bucket::new();
    let options = TakeOptions {
        page_rows: 1,
        ..TakeOptions::default()
    };
    let taken = bucket.try_take(&source, "b", options);
    taken.await.expect("it answers");
    let (store, _) = bucket.restored("b").await;
    super::judge::check_catalogue(&store);
    let process = World::on(store).open().await;
    let by_name = TopicSelector::Name(TopicName::new("red").expect("a good name"));
    let second = process.topic(&by_name).await.expect("live");
    assert_eq!(second.number.get(), 4);
    let first = TopicSelector::Number(TopicNumber::new(2));
    let first = process.topic(&first).await.expect("it is kept");
    assert!(
        matches!(first.state, TopicState::Deleted { at, .. } if at == second.created_at),
        "{first:?}"
    );
}

/// Entries of a tail that go while it is read leave a gap, and the backup is given up and deleted.
#[tokio::test(start_paused = true)]
async fn a_gap_in_the_tail_gives_the_backup_up() {
    let (world, _, bucket) = backed_up().await;
    let keys = Keyspace::default();
    let mut transaction = world.store.memory.begin().await.expect("it answers");
    transaction.delete(keys.tail(ShardId::new(0), GroupNumber::new(3), 0));
    transaction.commit().await.expect("no conflict");
    let options = TakeOptions::default();
    let store = &world.store.memory;
    let taken = bucket.try_take(store, "gap", options);
    let error = taken.await.expect_err("group 3 is missing");
    assert!(
        matches!(error, TakeError::Gap { after, found, .. } if after.get() == 2 && found.get() == 4),
        "{error}"
    );
    let pins = bucket.backups.pins().await.expect("it answers");
    let far = tidelog_types::SegmentName::new(WRITER, SegmentSequence::new(99));
    assert!(!pins.name(far), "the failed backup still pins");
}
