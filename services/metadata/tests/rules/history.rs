//! Memory has only the recent extents; older ones are read from pages, and nobody can tell the two
//! apart but by the numbers.

use std::time::Duration;

use bytes::Bytes;
use tidelog_env::{Rng as _, SeededRng};
use tidelog_format::manifest::BatchEntry;
use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{CheckpointRow, KeyKind, Keyspace, PageRow};
use tidelog_metadata_api::{
    CommitError, Log as _, LogError, LookupAnswer, LookupRequest, OffsetAnswer, OffsetQuery,
    PartitionBounds, ShardCommit,
};
use tidelog_store::memory::{MemoryOptions, MemoryStore};
use tidelog_types::limits::STORE_VALUE_BYTES_MAX;
use tidelog_types::{Offset, Timestamp, TopicNumber, TopicPartition};

use crate::manifests::{accepted, expect_token, one, only, plain, segment, token};
use crate::store::CUT_OFF;
use crate::world::{PARTITIONS, Process, Run, SHARD, World, partition, settings};

fn at_time(records: u32, millis: i64) -> BatchEntry {
    BatchEntry {
        max_timestamp: Timestamp::from_millis(millis),
        ..plain(records)
    }
}

/// Memory for about this many extents, and a checkpoint after as many manifests as said.
fn small(extents: usize, checkpoint_manifests: u32) -> SequencerSettings {
    SequencerSettings {
        extent_bytes: extents * 100,
        ..settings(checkpoint_manifests)
    }
}

fn request(partition: TopicPartition, offset: u64) -> LookupRequest {
    LookupRequest {
        partition,
        offset: Offset::new(offset),
        bytes_max: 300,
        extents_max: 10,
    }
}

/// Slices of one batch each, so that each is an extent of its own.
fn slices(sequence: u64, count: u32) -> ShardCommit {
    let draft = (0..count).fold(segment(sequence), |draft, _| {
        draft.slice(partition(0), &[plain(1)])
    });
    draft.done()
}

/// 10,000 extents of the first partition: more pages than one step of a checkpoint writes.
async fn fill(process: &Process) {
    for sequence in 1..=100 {
        process.send_until_answered(&slices(sequence, 100)).await;
    }
}

/// All that can be asked of a partition: its log from each offset, and each time.
#[derive(Debug, PartialEq)]
struct Everything {
    bounds: PartitionBounds,
    log: Vec<Run>,
    firsts: Vec<Result<Offset, LogError>>,
    times: Vec<OffsetAnswer>,
}

async fn everything(process: &Process, partition: TopicPartition) -> Everything {
    let bounds = process.bounds_of(partition).await;
    let mut firsts = Vec::new();
    for offset in 0..=bounds.high_watermark.get() + 1 {
        let answer = process.lookup(request(partition, offset)).await;
        let first = |answer: LookupAnswer| {
            let first = answer.extents.first().map(|extent| extent.offsets.base);
            first.unwrap_or(answer.bounds.high_watermark)
        };
        firsts.push(answer.map(first));
    }
    let mut times = Vec::new();
    let queries = (0..120).map(|time| OffsetQuery::AtTime(Timestamp::from_millis(time * 10)));
    for query in queries.chain([OffsetQuery::MaxTimestamp]) {
        times.push(process.offset(partition, query).await.expect("the owner"));
    }
    // The largest time of all, to the millisecond: the first that has it is the one.
    if let Some(OffsetAnswer::Within(largest)) = times.last().cloned() {
        let query = OffsetQuery::AtTime(largest.max_timestamp);
        let answer = process.offset(partition, query).await.expect("the owner");
        assert_eq!(answer, OffsetAnswer::Within(largest));
    }
    Everything {
        bounds,
        log: process.log_of(partition).await,
        firsts,
        times,
    }
}

/// Runs of batches over two partitions, with times that go up, down and far ahead, and deletions.
async fn live_through(process: &Process, seed: u64) {
    let rng = SeededRng::new(seed);
    let below = |bound: u64| rng.below(bound);
    for sequence in 1..=150 {
        let mut draft = segment(sequence);
        for index in 0..2 {
            let time = match below(30) {
                0 => 900 + below(200),
                1..=5 => below(800),
                _ => sequence * 5,
            };
            let time = i64::try_from(time).expect("small");
            let records = u32::try_from(1 + below(3)).expect("small");
            let batches = vec![at_time(records, time); usize::try_from(1 + below(2)).expect("few")];
            draft = draft.slice(partition(index), &batches);
        }
        process.send_until_answered(&draft.done()).await;
        if below(40) == 0 {
            let before = Offset::new(below(sequence));
            let deleted = process.delete_records(partition(0), before).await;
            deleted.expect("the owner");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_from_pages_are_those_from_memory() {
    for seed in 0..3 {
        let reference = World::new();
        let all_in_memory = reference.open().await;
        live_through(&all_in_memory, seed).await;
        assert_eq!(all_in_memory.metric("history_reads_total"), 0);
        let mut expected = Vec::new();
        for index in 0..2 {
            expected.push(everything(&all_in_memory, partition(index)).await);
        }
        for settings in [small(0, 1), small(0, 7), small(20, 3), small(60, u32::MAX)] {
            let world = World::with(settings);
            let mut process = world.open().await;
            live_through(&process, seed).await;
            for restart in 0..2 {
                for (index, expected) in (0..2).zip(&expected) {
                    let got = everything(&process, partition(index)).await;
                    let context = format!("seed {seed}, restart {restart}, {settings:?}");
                    assert_eq!(got, *expected, "{context}");
                }
                assert!(process.metric("history_reads_total") > 100, "{settings:?}");
                process = world.open().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn memory_holds_a_window_of_extents_however_long_the_log_is() {
    let bytes_max = 64 * 1024;
    let world = World::with(SequencerSettings {
        extent_bytes: bytes_max,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    for sequence in 1..=400 {
        let mut draft = segment(sequence);
        // Slices of one batch, each an extent of its own.
        for slice in 0..100 {
            draft = draft.slice(partition(slice % PARTITIONS), &[plain(1)]);
        }
        process.send_until_answered(&draft.done()).await;
        // What one group adds comes on top, and vectors grow by doubling.
        let held = process.metric("extent_memory_bytes");
        assert!(held <= 3 * bytes_max as u64, "{held} after {sequence}");
    }
    assert_eq!(process.high_watermark(partition(0)).await, 10_000);
    assert!(process.metric("extents_held") < 1_000);
    // Checkpoints come in time, so that no commit has had to wait for one.
    assert_eq!(process.metric("checkpoints_forced_total"), 0);
    assert_eq!(process.log_of(partition(3)).await.len(), 10_000);
    for (_, value) in world.store.rows(KeyKind::Page) {
        assert!(value.len() < STORE_VALUE_BYTES_MAX / 4);
    }
}

/// What comes faster than checkpoints are written waits for them.
#[tokio::test(start_paused = true)]
async fn a_group_that_fills_memory_is_checkpointed_before_the_next() {
    let world = World::with(small(0, u32::MAX));
    let process = world.open().await;
    // One group, and more pages than one step writes.
    let both = vec![slices(1, 3_400), slices(2, 3_400)];
    for answer in process.commit(both).await {
        assert!(answer.is_ok());
    }
    process.latest(partition(0)).await.expect("the owner");
    assert!(process.metric("checkpoints_forced_total") > 0);
    assert_eq!(process.metric("extents_held"), 0);
    assert_eq!(world.store.rows(KeyKind::Page).len(), 27);
}

/// The part of the tail that a checkpoint has reached is not read: it is damaged, and nobody minds.
#[tokio::test(start_paused = true)]
async fn a_takeover_reads_only_what_is_later_than_the_checkpoint() {
    let world = World::with(settings(50));
    let process = world.open().await;
    live_through(&process, 1).await;
    process.latest(partition(0)).await.expect("the owner");
    let mut before = Vec::new();
    for index in 0..2 {
        before.push(everything(&process, partition(index)).await);
    }
    let checkpoint = world.store.rows(KeyKind::Checkpoint).remove(0).1;
    let checkpoint = CheckpointRow::decode(checkpoint).expect("a good row");
    let keys = Keyspace::default();
    let mut rows = world.store.memory.dump();
    let tail = keys.tail_of(SHARD);
    let later = keys.tail_after(SHARD, checkpoint.group);
    let mut damaged = 0;
    for (key, value) in &mut rows {
        if tail.contains(key) && !later.contains(key) {
            *value = Bytes::from_static(b"nobody reads this");
            damaged += 1;
        }
    }
    assert!(damaged > 100);
    let other = World::on(MemoryStore::with_rows(MemoryOptions::default(), rows));
    let process = other.open().await;
    for (index, before) in (0..2).zip(&before) {
        let got = everything(&process, partition(index)).await;
        assert_eq!(got, *before);
    }
}

/// Pages of a checkpoint that did not come to its end may end elsewhere than those of the next owner.
#[tokio::test(start_paused = true)]
async fn pages_of_a_checkpoint_that_was_cut_off_hide_nothing() {
    for fault in CUT_OFF {
        let world = World::new();
        let process = world.open().await;
        // A short page, which the next owner cannot write on.
        process
            .send_until_answered(&one(99_999, partition(0), plain(1)))
            .await;
        tokio::time::advance(Duration::from_secs(11)).await;
        process.latest(partition(0)).await.expect("the owner");
        assert_eq!(world.store.rows(KeyKind::Page).len(), 1);
        // The partition's row comes later than the first step.
        fill(&process).await;
        let hold = world.store.hold(KeyKind::Checkpoint);
        tokio::time::advance(Duration::from_secs(11)).await;
        hold.reached().await;
        let written = world.store.rows(KeyKind::Page).len();
        assert_eq!(written, 24, "the row and the last pages are on their way");
        world.store.fail(KeyKind::Checkpoint, fault);
        let mut next = world.open_on(&world.store.sibling()).await;
        drop(hold);
        for sequence in 101..=130 {
            let commit = segment(sequence).slice(partition(0), &[plain(1)]);
            next.send_until_answered(&commit.done()).await;
        }
        tokio::time::advance(Duration::from_secs(11)).await;
        next.latest(partition(0)).await.expect("the owner");
        next = world.open().await;
        assert_eq!(next.log_of(partition(0)).await.len(), 10_031, "{fault:?}");
        for offset in (0..10_031).step_by(97) {
            let answer = next.lookup(request(partition(0), offset)).await;
            let extents = answer.expect("in bounds").extents;
            assert_eq!(extents[0].offsets.base.get(), offset, "{fault:?}");
        }
    }
}

/// A quiet partition has one page for many checkpoints, until the page is long enough.
#[tokio::test(start_paused = true)]
async fn a_short_page_goes_on_at_the_next_checkpoint() {
    let world = World::with(settings(1));
    let process = world.open().await;
    for sequence in 1..=64 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
    }
    let pages = world.store.rows(KeyKind::Page);
    let extents = pages.iter().map(|(key, value)| {
        let base = Keyspace::page_base(key).expect("a page's key");
        let page = PageRow::decode(base, value.clone()).expect("a good row");
        page.extents.len()
    });
    assert_eq!(extents.collect::<Vec<_>>(), [32, 32]);
}

#[tokio::test(start_paused = true)]
async fn many_partitions_are_located_at_once_while_the_sequencer_is_busy() {
    let world = World::with(small(0, 1));
    let process = world.open().await;
    for sequence in 1..=10 {
        let commit = segment(sequence)
            .slice(partition(0), &[plain(2)])
            .slice(partition(1), &[plain(3)]);
        process.send_until_answered(&commit.done()).await;
    }
    let hold = world.store.hold(KeyKind::Tail);
    let in_flight = process.commit(vec![one(11, partition(0), plain(1))]);
    hold.reached().await;
    let unknown = TopicPartition::new(TopicNumber::new(99), partition(0).partition);
    let bounds_only = LookupRequest {
        extents_max: 0,
        ..request(partition(1), 1_000)
    };
    let requests = [
        request(partition(1), 4),
        request(unknown, 0),
        request(partition(0), 20),
        bounds_only,
        request(partition(2), 0),
    ];
    let asked = tokio::time::Instant::now();
    let answers = process.locate(&requests).await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    let first = |at: usize| {
        let answer = answers[at].as_ref().expect("in bounds");
        answer.extents.first().map(|extent| extent.offsets.base)
    };
    assert_eq!(answers.len(), requests.len());
    assert_eq!(first(0), Some(Offset::new(3)));
    assert_eq!(
        answers[1].as_ref().err(),
        Some(&LogError::UnknownPartition(unknown))
    );
    assert_eq!(first(2), None);
    assert_eq!(first(3), None);
    let bounds = answers[3].as_ref().expect("any offset will do").bounds;
    assert_eq!(bounds.high_watermark, Offset::new(30));
    assert_eq!(first(4), None);
    // What lies beyond the end may come in a moment, and waits for that, but not for ever.
    let beyond = process.lookup(request(partition(0), 21)).await;
    assert!(matches!(beyond, Err(LogError::Unavailable { .. })));
    drop(hold);
    assert_eq!(
        only(in_flight.await[0].as_ref().expect("the owner")),
        accepted(20)
    );
    assert!(process.lookup(request(partition(0), 21)).await.is_ok());
    let beyond = process.lookup(request(partition(0), 22)).await;
    assert!(matches!(beyond, Err(LogError::OffsetOutOfRange { .. })));
}

#[tokio::test(start_paused = true)]
async fn partitions_leave_memory_after_a_checkpoint_and_come_back_as_they_were() {
    let world = World::with(SequencerSettings {
        partitions_in_memory: 1,
        ..small(0, 1)
    });
    let process = world.open().await;
    process
        .set_fencing_token(partition(2), None, token("mine"))
        .await
        .expect("the owner");
    let mut sequence = 0;
    for round in 0..10 {
        for index in 0..PARTITIONS {
            sequence += 1;
            let commit = segment(sequence).slice(partition(index), &[plain(2)]);
            let commit = if index == 2 {
                commit.condition(0, 0, expect_token("mine"))
            } else {
                commit
            };
            let answer = process.send_until_answered(&commit.done()).await;
            assert_eq!(only(&answer), accepted(round * 2));
            process.latest(partition(index)).await.expect("the owner");
            let held = process.metric("partitions_held");
            assert!(held <= 2, "{held} are held after {sequence}");
        }
    }
    for index in 0..PARTITIONS {
        assert_eq!(process.high_watermark(partition(index)).await, 20);
        assert_eq!(process.log_of(partition(index)).await.len(), 10);
    }
}

/// What has changed since a checkpoint began is in no row yet, so it stays when the checkpoint ends.
#[tokio::test(start_paused = true)]
async fn a_partition_that_changed_during_a_checkpoint_stays_in_memory() {
    let world = World::with(SequencerSettings {
        partitions_in_memory: 0,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    process
        .send_until_answered(&one(99_999, partition(1), plain(100)))
        .await;
    tokio::time::advance(Duration::from_secs(11)).await;
    process.latest(partition(0)).await.expect("the owner");
    assert_eq!(world.store.rows(KeyKind::Checkpoint).len(), 1);
    // None of the partition that changes meanwhile.
    fill(&process).await;
    let hold = world.store.hold(KeyKind::Page);
    tokio::time::advance(Duration::from_secs(11)).await;
    hold.reached().await;
    let deleted = process.delete_records(partition(1), Offset::new(60));
    let set = process.set_fencing_token(partition(2), None, token("mine"));
    let release = async {
        tokio::task::yield_now().await;
        drop(hold);
    };
    let (deleted, set, ()) = tokio::join!(deleted, set, release);
    assert!(deleted.is_ok() && set.is_ok());
    for _ in 0..3 {
        process.latest(partition(0)).await.expect("the owner");
    }
    let checkpoint = world.store.rows(KeyKind::Checkpoint).remove(0).1;
    let checkpoint = CheckpointRow::decode(checkpoint).expect("a good row");
    assert_eq!(checkpoint.group.get(), 101, "it began before the changes");
    let bounds = process.bounds_of(partition(1)).await;
    assert_eq!(bounds.log_start, Offset::new(60));
    let commit = segment(900)
        .slice(partition(1), &[plain(1)])
        .slice(partition(2), &[plain(1)])
        .condition(1, 0, expect_token("mine"))
        .done();
    let answer = process.send_until_answered(&commit).await;
    assert_eq!(answer.outcomes, [accepted(100), accepted(0)]);
    let bounds = process.bounds_of(partition(1)).await;
    assert_eq!(bounds.log_start, Offset::new(60));
}

#[tokio::test(start_paused = true)]
async fn readers_of_many_partitions_fill_no_memory() {
    let world = World::with(SequencerSettings {
        partitions_in_memory: 2,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    for index in 0..PARTITIONS {
        assert_eq!(process.high_watermark(partition(index)).await, 0);
    }
    process
        .send_until_answered(&one(1, partition(3), plain(1)))
        .await;
    process.latest(partition(3)).await.expect("the owner");
    assert_eq!(process.metric("partitions_held"), 3);
}

fn big(sequence: u64) -> ShardCommit {
    let batches: Vec<_> = (0..100).map(|_| plain(1)).collect();
    segment(sequence).slice(partition(0), &batches).done()
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_sequencer_is_bounded_by_bytes_and_may_be_asked_again() {
    let world = World::with(SequencerSettings {
        mailbox_bytes: 20_000,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    let hold = world.store.hold(KeyKind::Tail);
    let first = process.commit(vec![big(1)]);
    hold.reached().await;
    let others = process.commit((2..40).map(big).collect());
    drop(hold);
    assert!(first.await[0].is_ok());
    let answers = others.await;
    let turned_away = answers.iter().filter_map(|answer| answer.as_ref().err());
    let turned_away: Vec<_> = turned_away.collect();
    assert!(turned_away.len() > 30 && turned_away.len() < answers.len());
    for error in turned_away {
        assert!(error.may_ask_again(), "{error}");
        assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
    }
    // Answered commits have given their room back; one that is larger than all of it is taken alone.
    let large: Vec<_> = (0..2_000).map(|_| plain(1)).collect();
    let large = segment(90).slice(partition(1), &large).done();
    assert!(process.send(large).await.is_ok());
    assert_eq!(process.high_watermark(partition(0)).await % 100, 0);
}
