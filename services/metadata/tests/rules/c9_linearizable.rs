//! C9: linearizable answers follow a lease check or a durable commit begun after the request; no high
//! watermark goes back.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{Log as _, LogError, LookupRequest, OffsetAnswer, OffsetQuery};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{Offset, OffsetRange, Timestamp};

use crate::manifests::{accepted, one, only, plain, segment, token};
use crate::world::{World, partition, settings};

#[tokio::test(start_paused = true)]
async fn latest_is_not_answered_by_an_owner_that_has_lost_its_shard() {
    let (world, old) = World::opened().await;
    old.send_until_answered(&one(1, partition(0), plain(3)))
        .await;
    assert_eq!(old.latest(partition(0)).await, Ok(3));
    let new = world.open_on(&world.store.sibling()).await;
    new.send_until_answered(&one(2, partition(0), plain(4)))
        .await;
    assert_eq!(old.latest(partition(0)).await, Err(LogError::NotOwner));
    assert_eq!(new.latest(partition(0)).await, Ok(7));
}

fn lookup_at(offset: u64) -> LookupRequest {
    LookupRequest {
        partition: partition(0),
        offset: Offset::new(offset),
        bytes_max: 1,
        extents_max: 1,
    }
}

/// A reader that is told so reads on from somewhere else, and never what lies between.
#[tokio::test(start_paused = true)]
async fn an_owner_that_has_lost_its_shard_calls_no_offset_beyond_the_end() {
    let (world, old) = World::opened().await;
    old.send_until_answered(&one(1, partition(0), plain(3)))
        .await;
    let deleted = old.delete_records(partition(0), Offset::new(2)).await;
    deleted.expect("the owner");
    let new = world.open_on(&world.store.sibling()).await;
    new.send_until_answered(&one(2, partition(0), plain(4)))
        .await;
    // Also what is beyond the end at the new owner: the old one cannot know.
    for offset in [4, 6, 7, 8] {
        let error = old.lookup(lookup_at(offset)).await;
        assert_eq!(error.expect_err("not its own"), LogError::NotOwner);
    }
    // The log start only goes up: what lay below it lies below the one that holds.
    let range = |base, next| OffsetRange {
        base: Offset::new(base),
        next: Offset::new(next),
    };
    let out_of = |offset, valid| LogError::OffsetOutOfRange {
        offset: Offset::new(offset),
        valid,
    };
    let error = old.lookup(lookup_at(1)).await;
    assert_eq!(error.expect_err("deleted"), out_of(1, range(2, 3)));
    let error = new.lookup(lookup_at(8)).await;
    assert_eq!(error.expect_err("the owner"), out_of(8, range(2, 7)));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_has_lost_its_shard_says_of_no_time_that_it_is_too_late() {
    let (world, old) = World::opened().await;
    let at = |millis| {
        let mut batch = plain(2);
        batch.min_timestamp = Timestamp::from_millis(millis);
        batch.max_timestamp = Timestamp::from_millis(millis);
        batch
    };
    let later = OffsetQuery::AtTime(Timestamp::from_millis(200));
    old.send_until_answered(&one(1, partition(0), at(100)))
        .await;
    let none = old.offset(partition(0), later).await;
    assert_eq!(none, Ok(OffsetAnswer::None));
    let new = world.open_on(&world.store.sibling()).await;
    new.send_until_answered(&one(2, partition(0), at(300)))
        .await;
    let found = old.offset(partition(0), later).await;
    assert_eq!(found, Err(LogError::NotOwner));
    let found = new.offset(partition(0), later).await;
    assert!(matches!(found, Ok(OffsetAnswer::Within(_))), "{found:?}");
    // What it finds is where it was.
    let earlier = OffsetQuery::AtTime(Timestamp::from_millis(50));
    let found = old.offset(partition(0), earlier).await;
    assert!(matches!(found, Ok(OffsetAnswer::Within(_))), "{found:?}");
}

/// The old owner's check was begun before the takeover and ends after it.
#[tokio::test(start_paused = true)]
async fn a_check_of_the_lease_that_a_takeover_overtakes_gives_no_answer() {
    let (world, old) = World::opened().await;
    let hold = world.store.hold(KeyKind::Lease);
    let latest = old.latest(partition(0));
    let takeover = async {
        hold.reached().await;
        let new = world.open_on(&world.store.sibling()).await;
        new.send_until_answered(&one(1, partition(0), plain(4)))
            .await;
        drop(hold);
    };
    let (latest, ()) = tokio::join!(latest, takeover);
    assert_eq!(latest, Err(LogError::NotOwner));
}

#[tokio::test(start_paused = true)]
async fn latest_sees_every_commit_that_was_queued_before_it() {
    let (world, process) = World::opened().await;
    process.bounds_of(partition(0)).await;
    for round in 1..=5_u64 {
        let queued = process.commit(vec![one(round, partition(0), plain(1))]);
        assert_eq!(process.latest(partition(0)).await, Ok(round));
        assert!(queued.await[0].is_ok());
    }
    let hold = world.store.hold(KeyKind::Tail);
    let in_flight = process.commit(vec![one(6, partition(0), plain(1))]);
    hold.reached().await;
    assert_eq!(process.high_watermark(partition(0)).await, 5, "not durable");
    let latest = process.latest(partition(0));
    let release = async { drop(hold) };
    let (latest, ()) = tokio::join!(latest, release);
    assert_eq!(latest, Ok(6));
    assert!(in_flight.await[0].is_ok());
}

/// A condition on the fencing token that does not hold is an answer like any other.
#[tokio::test(start_paused = true)]
async fn a_token_mismatch_is_not_told_by_an_owner_that_a_takeover_overtook() {
    let (world, old) = World::opened().await;
    let new = world.open_on(&world.store.sibling()).await;
    new.set_fencing_token(partition(0), None, token("new"))
        .await
        .expect("the owner");
    let asked = old
        .set_fencing_token(partition(0), Some(token("new")), token("mine"))
        .await;
    assert_eq!(asked, Err(LogError::NotOwner), "the old one knows no `new`");
}

#[tokio::test(start_paused = true)]
async fn no_high_watermark_goes_back_over_faults_recoveries_and_checkpoints() {
    let world = World::with(settings(2));
    let process = world.open().await;
    let mut shown = 0;
    for sequence in 1..=60_u64 {
        let fault = match sequence % 5 {
            0 => CommitFault::Unknown(Landing::Now),
            1 => CommitFault::Unknown(Landing::Never),
            2 => CommitFault::Conflict,
            3 => CommitFault::Unknown(Landing::Later { after_commits: 0 }),
            _ => CommitFault::TooOld,
        };
        let kinds = [KeyKind::Tail, KeyKind::Partition, KeyKind::Lease];
        world.store.fail(kinds[(sequence % 3) as usize], fault);
        let mut answer = process.commit(vec![one(sequence, partition(0), plain(2))]);
        while futures::poll!(&mut answer).is_pending() {
            for bound in [
                process.high_watermark(partition(0)).await,
                lookup_end(&process, shown).await,
            ] {
                assert!(bound >= shown, "{bound} after {shown}");
                shown = bound;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(process.high_watermark(partition(0)).await, sequence * 2);
        shown = sequence * 2;
    }
}

async fn lookup_end(process: &crate::world::Process, offset: u64) -> u64 {
    let answer = process.lookup(lookup_at(offset)).await;
    let answer = answer.expect("it was shown before");
    answer.bounds.high_watermark.get()
}

#[tokio::test(start_paused = true)]
async fn a_read_token_is_reached_when_its_group_shows_and_not_before() {
    let (world, process) = World::opened().await;
    let first = process
        .send_until_answered(&one(1, partition(0), plain(1)))
        .await;
    process.reached(first.token).await.expect("it shows");
    let mut ahead = first.token;
    ahead.group = tidelog_types::GroupNumber::new(first.token.group.get() + 1);
    let mut waiting = process.reached(ahead);
    assert!(futures::poll!(&mut waiting).is_pending());
    process
        .send_until_answered(&one(2, partition(0), plain(1)))
        .await;
    waiting.await.expect("it shows now");
    // A new owner has reached whatever the old one has answered.
    let new = world.open_on(&world.store.sibling()).await;
    new.reached(ahead).await.expect("it was durable");
}

#[tokio::test(start_paused = true)]
async fn offsets_by_time_are_found_and_end_at_the_log_start() {
    let (_, process) = World::opened().await;
    for (sequence, time) in [(1, 100), (2, 300), (3, 200), (4, 300)] {
        let mut batch = plain(2);
        batch.min_timestamp = Timestamp::from_millis(time);
        batch.max_timestamp = Timestamp::from_millis(time);
        let commit = segment(sequence).slice(partition(0), &[batch]).done();
        process.send_until_answered(&commit).await;
    }
    let base = async |query| match process.offset(partition(0), query).await {
        Ok(OffsetAnswer::Within(extent)) => Some(extent.offsets.base.get()),
        Ok(OffsetAnswer::None) => None,
        other => panic!("{other:?}"),
    };
    let at = |millis| OffsetQuery::AtTime(Timestamp::from_millis(millis));
    assert_eq!(base(at(0)).await, Some(0));
    assert_eq!(base(at(101)).await, Some(2));
    assert_eq!(base(at(301)).await, None);
    assert_eq!(base(OffsetQuery::MaxTimestamp).await, Some(2));
    let deleted = process.delete_records(partition(0), Offset::new(4)).await;
    deleted.expect("the owner");
    assert_eq!(base(at(0)).await, Some(4));
    assert_eq!(base(at(201)).await, Some(6));
    assert_eq!(base(OffsetQuery::MaxTimestamp).await, Some(6));
}

#[tokio::test(start_paused = true)]
async fn commit_times_never_decrease_when_the_wall_clock_goes_back() {
    let (world, process) = World::opened().await;
    let mut times = Vec::new();
    for sequence in 1..=3 {
        let answer = process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
        assert_eq!(only(&answer), accepted(sequence - 1));
        world
            .clock
            .jump_wall(if sequence == 1 { -5_000 } else { 9_000 });
    }
    for (_, value) in world.store.rows(KeyKind::Tail) {
        let row = tidelog_metadata::keyspace::TailRow::decode(value).expect("a good row");
        times.push(row.commit_time().as_millis());
    }
    assert_eq!(times, [1_000_000, 1_000_000, 1_004_000]);
    world.clock.jump_wall(-1_000_000);
    let new = world.open_on(&world.store.sibling()).await;
    new.send_until_answered(&one(9, partition(0), plain(1)))
        .await;
    let last = world.store.rows(KeyKind::Tail).pop().expect("four rows");
    let row = tidelog_metadata::keyspace::TailRow::decode(last.1).expect("a good row");
    assert_eq!(row.commit_time().as_millis(), 1_004_000);
}
