//! What lies below the log start is taken off the books, each byte once, and what nobody needs then is noted.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow, PartitionRow};
use tidelog_metadata_api::{Log as _, LogError, LookupRequest};
use tidelog_store::Store as _;
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::Offset;

use crate::manifests::{name, one, plain, segment};
use crate::world::{Process, SHARD, World, partition, settings};

/// Time for a checkpoint and for all that comes of it.
async fn a_while() {
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn delete_before(process: &Process, index: u32, before: u64) {
    let deleted = process.delete_records(partition(index), Offset::new(before));
    deleted.await.expect("the owner");
}

/// Live bytes by sequence.
fn live(world: &World) -> BTreeMap<u64, u64> {
    let rows = world.store.rows(KeyKind::LiveBytes).into_iter();
    let bytes = rows.map(|(key, value)| {
        let segment = Keyspace::receipt_segment(&key).expect("a good key");
        let row = LiveBytesRow::decode(value).expect("a good row");
        (segment.sequence.get(), row.bytes)
    });
    bytes.collect()
}

/// Which segments may be dead.
fn dying(world: &World) -> Vec<u64> {
    let rows = world.store.rows(KeyKind::Dying).into_iter();
    let sequence = |key: &[u8]| Keyspace::receipt_segment(key).map(|name| name.sequence.get());
    let sequences = rows.map(|(key, _)| sequence(&key).expect("a good key"));
    sequences.collect()
}

fn row(world: &World, index: u32) -> PartitionRow {
    let key = Keyspace::default().partition(partition(index));
    let rows = world.store.rows(KeyKind::Partition);
    let value = rows.into_iter().find(|row| row.0 == key).expect("a row").1;
    PartitionRow::decode(value).expect("a good row")
}

/// Two partitions in each segment.
async fn send(process: &Process, sequence: u64) {
    let draft = segment(sequence).slice(partition(0), &[plain(2)]);
    let draft = draft.slice(partition(1), &[plain(1)]);
    process.send_until_answered(&draft.done()).await;
}

#[tokio::test(start_paused = true)]
async fn live_bytes_are_lowered_by_what_is_deleted_and_who_has_none_is_dying() {
    let world = World::new();
    let process = world.open().await;
    for sequence in 1..=3 {
        send(&process, sequence).await;
    }
    // Not before it is in pages, and nothing of an extent of which a part is left.
    delete_before(&process, 0, 3).await;
    assert_eq!(live(&world), [(1, 143), (2, 143), (3, 143)].into());
    a_while().await;
    assert_eq!(live(&world), [(1, 71), (2, 143), (3, 143)].into());
    assert_eq!(dying(&world), [0; 0]);
    delete_before(&process, 0, 6).await;
    delete_before(&process, 1, 2).await;
    a_while().await;
    assert_eq!(live(&world), [(1, 0), (2, 0), (3, 71)].into());
    assert_eq!(dying(&world), [1, 2]);
    let row = row(&world, 0);
    assert_eq!((row.reclaimed.get(), row.log_start.get()), (6, 6));
    assert_eq!((row.total, row.reclaimed_bytes), (216, 216));
    assert_eq!(process.metric("reclaimed_bytes_total"), 358);
    // Its only page is gone, and the log goes on.
    assert_eq!(world.store.rows(KeyKind::Page).len(), 1);
    send(&process, 4).await;
    a_while().await;
    for process in [process, world.open().await] {
        assert_eq!(process.log_of(partition(0)).await.len(), 1);
        assert_eq!(process.log_of(partition(1)).await.len(), 2);
    }
    assert_eq!(live(&world), [(1, 0), (2, 0), (3, 71), (4, 143)].into());
}

#[tokio::test(start_paused = true)]
async fn a_segment_whose_batches_were_all_refused_is_dying_from_the_start() {
    let (world, process) = World::opened().await;
    process
        .send_until_answered(&one(1, partition(0), plain(1)))
        .await;
    let refused = segment(2).slice(partition(0), &[plain(1)]);
    let refused = refused.condition(0, 0, crate::manifests::expect_next(9));
    process.send_until_answered(&refused.done()).await;
    assert_eq!(dying(&world), [2]);
}

/// More pages than one step takes off, with commits between the steps.
#[tokio::test(start_paused = true)]
async fn much_is_taken_off_in_steps_between_which_commits_go_on() {
    let world = World::with(SequencerSettings {
        extent_bytes: 0,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    for sequence in 1..=60 {
        let draft = (0..100).fold(segment(sequence), |draft, _| {
            draft.slice(partition(0), &[plain(1)])
        });
        process.send_until_answered(&draft.done()).await;
    }
    let store = &world.store;
    let pages = store.rows(KeyKind::Page).len();
    assert!(pages >= 23, "{pages}");
    delete_before(&process, 0, 5_950).await;
    let mut seen = Vec::new();
    for sequence in 61..=90 {
        let commit = one(sequence, partition(1), plain(1));
        process.send_until_answered(&commit).await;
        seen.push(store.rows(KeyKind::Page).len());
    }
    seen.dedup();
    assert!(seen.len() > 2, "{seen:?}");
    a_while().await;
    assert_eq!(row(&world, 0).reclaimed.get(), 5_950);
    assert_eq!(live(&world)[&59], 0);
    assert_eq!(live(&world)[&60], 50 * 71);
    assert_eq!(dying(&world).len(), 59);
    let pages = store.rows(KeyKind::Page).into_iter();
    let of_first = |key: &[u8]| Keyspace::partition_of(key) == Some(partition(0));
    assert_eq!(pages.filter(|(key, _)| of_first(key)).count(), 1);
    assert_eq!(process.log_of(partition(0)).await.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn each_byte_is_taken_off_once_whatever_becomes_of_a_step() {
    for fault in [
        CommitFault::Conflict,
        CommitFault::Unavailable,
        CommitFault::Unknown(Landing::Now),
        CommitFault::Unknown(Landing::Never),
        CommitFault::Unknown(Landing::Later { after_commits: 0 }),
        CommitFault::Unknown(Landing::Later { after_commits: 1 }),
    ] {
        let world = World::new();
        let process = world.open().await;
        for sequence in 1..=4 {
            send(&process, sequence).await;
        }
        a_while().await;
        world.store.fail(KeyKind::LiveBytes, fault);
        delete_before(&process, 0, 4).await;
        a_while().await;
        assert_eq!(process.metric("keeping_failures_total"), 1, "{fault:?}");
        let expected = [(1, 71), (2, 71), (3, 143), (4, 143)].into();
        assert_eq!(live(&world), expected, "{fault:?}");
        // What was there is not put back by a checkpoint of before.
        send(&process, 5).await;
        a_while().await;
        assert_eq!(row(&world, 0).reclaimed.get(), 4, "{fault:?}");
        assert_eq!(row(&world, 0).reclaimed_bytes, 144, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_takes_off_what_the_one_before_has_left() {
    let world = World::new();
    let process = world.open().await;
    send(&process, 1).await;
    a_while().await;
    let hold = world.store.hold(KeyKind::LiveBytes);
    delete_before(&process, 0, 2).await;
    hold.reached().await;
    let store = world.store.sibling();
    let new = world.open_on(&store).await;
    a_while().await;
    assert_eq!(live(&world), [(1, 71)].into());
    delete_before(&new, 1, 1).await;
    let new = world.open_on(&store.sibling()).await;
    a_while().await;
    assert_eq!(live(&world), [(1, 0)].into());
    drop(hold);
    a_while().await;
    assert_eq!(live(&world), [(1, 0)].into(), "the old one is fenced");
    assert_eq!(new.metric("keeping_failures_total"), 0);
    assert_eq!(new.log_of(partition(0)).await.len(), 0);
}

/// Also what became of the deletion itself may be found out later.
#[tokio::test(start_paused = true)]
async fn a_deletion_of_unknown_outcome_is_taken_off_once_it_is_known() {
    let (world, process) = World::opened().await;
    send(&process, 1).await;
    a_while().await;
    world
        .store
        .fail(KeyKind::Tail, CommitFault::Unknown(Landing::Now));
    delete_before(&process, 0, 2).await;
    a_while().await;
    assert_eq!(live(&world), [(1, 71)].into());
}

/// A checkpoint that was cut off has written pages, and not the row that goes with them.
#[tokio::test(start_paused = true)]
async fn what_the_row_does_not_know_of_is_not_taken_off() {
    let (world, process) = World::opened().await;
    send(&process, 1).await;
    a_while().await;
    for sequence in 2..=71 {
        let draft = (0..100).fold(segment(sequence), |draft, _| {
            draft.slice(partition(0), &[plain(1)])
        });
        process.send_until_answered(&draft.done()).await;
    }
    world
        .store
        .fail_after(1, KeyKind::Page, CommitFault::Unavailable);
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert_eq!(world.store.rows(KeyKind::Page).len(), 25);
    delete_before(&process, 0, 1_000).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = row(&world, 0);
    assert_eq!((before.next.get(), before.reclaimed.get()), (2, 2));
    let process = world.open().await;
    a_while().await;
    assert_eq!(row(&world, 0).reclaimed.get(), 1_000);
    assert_eq!(process.log_of(partition(0)).await.len(), 6_002);
}

/// Bytes are counted by whoever replays the tail as by who has written it.
#[tokio::test(start_paused = true)]
async fn a_new_owner_counts_what_is_in_no_checkpoint() {
    let (world, process) = World::opened().await;
    send(&process, 1).await;
    a_while().await;
    for sequence in 2..=3 {
        send(&process, sequence).await;
    }
    let process = world.open().await;
    send(&process, 4).await;
    a_while().await;
    assert_eq!((row(&world, 0).total, row(&world, 1).total), (288, 284));
}

#[tokio::test(start_paused = true)]
async fn live_bytes_that_are_missing_hold_up_nobody() {
    let (world, process) = World::opened().await;
    send(&process, 1).await;
    a_while().await;
    let mut transaction = world.store.begin().await.expect("it answers");
    transaction.delete(Keyspace::default().live_bytes(name(1), SHARD));
    transaction.commit().await.expect("no conflict");
    delete_before(&process, 0, 2).await;
    a_while().await;
    assert_eq!(process.metric("keeping_failures_total"), 1);
    send(&process, 2).await;
    assert_eq!(process.high_watermark(partition(0)).await, 4);
}

/// A lookup that had found the offset in the log before it was deleted, and comes to the pages afterwards.
#[tokio::test(start_paused = true)]
async fn a_reader_of_what_goes_meanwhile_hears_that_it_is_gone() {
    let world = World::with(SequencerSettings {
        extent_bytes: 0,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    for sequence in 1..=3 {
        send(&process, sequence).await;
        a_while().await;
    }
    let request = |offset| LookupRequest {
        partition: partition(0),
        offset: Offset::new(offset),
        bytes_max: 100,
        extents_max: 10,
    };
    assert!(process.lookup(request(0)).await.is_ok());
    let old = world.open_on(&world.store.sibling()).await;
    assert_eq!(old.high_watermark(partition(0)).await, 6);
    let store = world.store.sibling();
    let new = world.open_on(&store).await;
    delete_before(&new, 0, 6).await;
    a_while().await;
    // The one before does not know of it.
    assert_eq!(old.bounds_of(partition(0)).await.log_start.get(), 0);
    let gone = old.lookup(request(0)).await;
    assert!(
        matches!(gone, Err(LogError::Behind | LogError::NotOwner)),
        "{gone:?}"
    );
    let gone = new.lookup(request(0)).await;
    assert!(matches!(gone, Err(LogError::OffsetOutOfRange { .. })));
}
