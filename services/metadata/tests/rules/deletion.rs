//! What is handed out to be deleted from the bucket: only what nothing names and nothing ever will, after a while.

use std::time::Duration;

use tidelog_metadata::keyspace::{
    Counter, DyingRow, KeyKind, Keyspace, LiveBytesRow, NumberRow, OrphansRow, RestoreRow,
    RestoreState,
};
use tidelog_metadata_api::{Deletions, JanitorWork as _, Log as _};
use tidelog_store::Store as _;
use tidelog_types::{
    ClusterGeneration, Incarnation, Offset, SegmentName, SegmentSequence, ShardId, Timestamp,
};

use crate::manifests::{WRITER, name, plain, segment};
use crate::world::{Process, World, partition};

const GRACE_MILLIS: i64 = 10 * 60 * 1_000;

/// Time for whatever happens by itself.
async fn a_while() {
    for _ in 0..70 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What is handed out, now or when the next pass finds it due: the wall clock of these tests stands, and time goes on.
async fn taken(process: &Process) -> Deletions {
    for _ in 0..12 {
        a_while().await;
        let taken = process.deletions().await.expect("the store answers");
        if !taken.is_empty() {
            return taken;
        }
    }
    Deletions::default()
}

fn sequences(deletions: &Deletions) -> Vec<u64> {
    let dead = deletions.dead.iter();
    dead.map(|dead| dead.segment.sequence.get()).collect()
}

/// Sequences of the live bytes that there are, and of the dying rows.
fn left(world: &World) -> (Vec<u64>, Vec<u64>) {
    let of = |kind| {
        let rows = world.store.rows(kind).into_iter();
        let names = rows.map(|(key, _)| Keyspace::receipt_segment(&key).expect("a good key"));
        names.map(|name| name.sequence.get()).collect()
    };
    (of(KeyKind::LiveBytes), of(KeyKind::Dying))
}

async fn put(world: &World, key: bytes::Bytes, value: bytes::Bytes) {
    let mut transaction = world.store.begin().await.expect("the store answers");
    transaction.put(key, value);
    transaction.commit().await.expect("no conflict");
}

/// A process with some segments, of which all but the last have nothing that is named.
async fn with_dead(world: &World, segments: u64) -> Process {
    let process = world.open().await;
    for sequence in 1..=segments {
        let draft = segment(sequence).slice(partition(0), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    }
    let before = Offset::new(segments - 1);
    let deleted = process.delete_records(partition(0), before).await;
    deleted.expect("the owner");
    process
}

async fn raise_floor(process: &Process, floor: u64) {
    let raised = process.raise_floor(WRITER, SegmentSequence::new(floor));
    raised.await.expect("durable");
}

#[tokio::test(start_paused = true)]
async fn a_dead_segment_is_handed_out_after_its_grace_and_forgotten_when_it_is_deleted() {
    let world = World::new();
    let process = with_dead(&world, 4).await;
    // Commits of 3 may still come.
    raise_floor(&process, 3).await;
    assert_eq!(taken(&process).await, Deletions::default());
    world.clock.jump_wall(GRACE_MILLIS - 1);
    assert_eq!(taken(&process).await, Deletions::default());
    world.clock.jump_wall(1);
    let first = taken(&process).await;
    assert_eq!(sequences(&first), [1, 2]);
    assert!(first.orphans.is_empty(), "{first:?}");
    assert_eq!(first.dead[0].dead_since, Timestamp::from_millis(1_000_000));
    assert_eq!(first.dead[0].bytes, 71);
    assert_eq!(left(&world), (vec![1, 2, 3, 4], vec![1, 2, 3]));
    process.deleted(first, false).await.expect("durable");
    assert_eq!(left(&world), (vec![3, 4], vec![3]));
    raise_floor(&process, 4).await;
    assert_eq!(taken(&process).await, Deletions::default());
    world.clock.jump_wall(GRACE_MILLIS);
    assert_eq!(sequences(&taken(&process).await), [3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_reported_is_handed_out_again_by_whoever_is_asked() {
    let world = World::new();
    let process = with_dead(&world, 3).await;
    raise_floor(&process, 3).await;
    a_while().await;
    process.deletions().await.expect("nothing yet");
    world.clock.jump_wall(GRACE_MILLIS);
    let first = taken(&process).await;
    assert_eq!(sequences(&first), [1, 2]);
    let at_once = process.deletions().await.expect("the store answers");
    assert_eq!(at_once, Deletions::default());
    // It died.
    assert_eq!(taken(&process).await, first);
    let new = world.open().await;
    let again = taken(&new).await;
    assert_eq!(again.dead, first.dead);
    // Some of it is done, and noted at another process; what comes late changes nothing.
    let mut some = again.clone();
    some.dead.pop();
    new.deleted(some.clone(), false).await.expect("durable");
    new.deleted(some, false).await.expect("durable");
    assert_eq!(left(&world).1, [2]);
    assert_eq!(sequences(&taken(&new).await), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_another_shard_needs_is_not_dying() {
    let world = World::new();
    let process = with_dead(&world, 3).await;
    let keys = Keyspace::default();
    let other = keys.live_bytes(name(1), ShardId::new(5));
    put(&world, other.clone(), LiveBytesRow::committed(9).encode()).await;
    raise_floor(&process, 9).await;
    a_while().await;
    process.deletions().await.expect("nothing yet");
    assert_eq!(left(&world).1, [2]);
    // The other one writes the row again when it needs the segment no more.
    let nothing = LiveBytesRow {
        bytes: 0,
        committed: 9,
    };
    put(&world, other, nothing.encode()).await;
    put(&world, keys.dying(name(1)), DyingRow::default().encode()).await;
    let last = segment(9).slice(partition(1), &[plain(1)]);
    process.send_until_answered(&last.done()).await;
    raise_floor(&process, 10).await;
    a_while().await;
    process.deletions().await.expect("nothing yet");
    world.clock.jump_wall(GRACE_MILLIS);
    let taken = taken(&process).await;
    assert_eq!(sequences(&taken), [1, 2]);
    assert_eq!(taken.dead[0].bytes, 80);
    process.deleted(taken, false).await.expect("durable");
    assert_eq!(left(&world), (vec![3, 9], vec![]));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_while_a_restore_waits_for_an_operator() {
    let world = World::new();
    let process = with_dead(&world, 3).await;
    raise_floor(&process, 3).await;
    a_while().await;
    process.deletions().await.expect("nothing yet");
    world.clock.jump_wall(GRACE_MILLIS);
    let row = RestoreRow {
        state: RestoreState::Pending,
        nonce: [0xcd; 16],
        step: 7,
        generation: ClusterGeneration::new(1),
        first_incarnation: Incarnation::new(1),
        begun_at: Timestamp::from_millis(1_000_000),
        backup: "nightly".to_owned(),
    };
    let keys = Keyspace::default();
    put(&world, keys.restore(), row.encode()).await;
    assert_eq!(taken(&process).await, Deletions::default());
    let mut transaction = world.store.begin().await.expect("the store answers");
    transaction.delete(keys.restore());
    transaction.commit().await.expect("no conflict");
    assert_eq!(sequences(&taken(&process).await), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_due_nothing_is_looked_for() {
    let world = World::new();
    let process = world.open().await;
    a_while().await;
    process.deletions().await.expect("nothing");
    let day = Duration::from_hours(24);
    let slept = tokio::time::timeout(day, process.due()).await;
    assert!(slept.is_err(), "nothing has happened");
    let draft = segment(1).slice(partition(0), &[plain(1)]);
    process.send_until_answered(&draft.done()).await;
    let slept = tokio::time::timeout(day, process.due()).await;
    assert!(slept.is_err(), "a commit is no reason");
    raise_floor(&process, 1).await;
    let slept = tokio::time::timeout(day, process.due()).await;
    assert!(slept.is_ok(), "there may be orphans");
}

fn orphans_of(deletions: &Deletions) -> (Vec<u64>, u64, bool) {
    let [search] = &deletions.orphans[..] else {
        panic!("one search, not {deletions:?}");
    };
    let sequences = search.sequences.iter().map(|at| at.get()).collect();
    (sequences, search.below.get(), search.is_last)
}

/// Time enough for a round of the search.
async fn searched(world: &World, process: &Process) -> Deletions {
    a_while().await;
    let early = process.deletions().await.expect("the store answers");
    assert_eq!(early, Deletions::default(), "an upload may be on its way");
    world.clock.jump_wall(GRACE_MILLIS);
    taken(process).await
}

#[tokio::test(start_paused = true)]
async fn names_below_a_floor_that_were_not_committed_are_looked_at_once() {
    let world = World::new();
    let process = world.open().await;
    let writer = process.register_writer().await.expect("durable");
    let send = async |process: &Process, sequence| {
        let draft = segment(sequence).writer(writer);
        let draft = draft.slice(partition(0), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    };
    for sequence in [2, 5, 8] {
        send(&process, sequence).await;
    }
    let raised = process.raise_floor(writer, SegmentSequence::new(7));
    raised.await.expect("durable");
    let first = searched(&world, &process).await;
    assert_eq!(orphans_of(&first), (vec![1, 3, 4, 6], 7, false));
    assert!(first.dead.is_empty());
    process
        .deleted(first.clone(), false)
        .await
        .expect("durable");
    assert_eq!(taken(&process).await, Deletions::default());
    // What it has begun later is looked at when it has ended, with what is behind.
    send(&process, 9).await;
    let new = world.open().await;
    let last = searched(&world, &new).await;
    assert_eq!(orphans_of(&last), (vec![7], 10, true));
    // What comes late is of another round, and says nothing.
    let mut late = first;
    late.orphans[0].below = SegmentSequence::new(9);
    new.deleted(late, false).await.expect("durable");
    let row = world.store.rows(KeyKind::Orphans).remove(0).1;
    let row = OrphansRow::decode(row).expect("a good row");
    assert_eq!(row.below.get(), 7);
    new.deleted(last, false).await.expect("durable");
    assert_eq!(taken(&new).await, Deletions::default());
    assert!(world.store.rows(KeyKind::Orphans).is_empty());
    let key = Keyspace::default().counter(Counter::SearchedIncarnation);
    let counters = world.store.rows(KeyKind::Counter);
    let searched = counters
        .into_iter()
        .find(|row| row.0 == key)
        .expect("a row");
    assert_eq!(NumberRow::decode(searched.1), Ok(NumberRow(writer.get())));
}

#[tokio::test(start_paused = true)]
async fn many_missing_names_are_handed_out_in_turns() {
    let world = World::new();
    let process = world.open().await;
    let writer = process.register_writer().await.expect("durable");
    let draft = segment(2_500).writer(writer);
    let draft = draft.slice(partition(0), &[plain(1)]);
    process.send_until_answered(&draft.done()).await;
    let raised = process.raise_floor(writer, SegmentSequence::new(2_500));
    raised.await.expect("durable");
    let mut seen = 0;
    let mut turn = searched(&world, &process).await;
    while !turn.is_empty() {
        let (sequences, below, _) = orphans_of(&turn);
        assert_eq!(below, seen + sequences.len() as u64 + 1);
        seen += sequences.len() as u64;
        process.deleted(turn, false).await.expect("durable");
        turn = taken(&process).await;
    }
    assert_eq!(seen, 2_499);
}

/// Of a generation that a restore has gone over there may be no trace.
#[tokio::test(start_paused = true)]
async fn incarnations_that_were_never_given_out_are_skipped() {
    let world = World::new();
    let keys = Keyspace::default();
    let jump = 1 << 32;
    for counter in [Counter::Incarnation, Counter::OldestLiveIncarnation] {
        put(&world, keys.counter(counter), NumberRow(jump).encode()).await;
    }
    let old = SegmentName::new(Incarnation::new(3), SegmentSequence::new(2));
    let live = keys.live_bytes(old, ShardId::new(0));
    put(&world, live, LiveBytesRow::committed(1).encode()).await;
    let process = world.open().await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let some = searched(&world, &process).await;
        for search in &some.orphans {
            seen.push((search.writer.get(), search.sequences.len(), search.is_last));
        }
        process.deleted(some, false).await.expect("durable");
    }
    assert_eq!(seen, [(3, 1, true)]);
    assert!(world.store.rows(KeyKind::Orphans).is_empty());
}
