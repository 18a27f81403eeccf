//! C6: manifests below the floor of their incarnation are refused before offsets are assigned.

use tidelog_metadata::keyspace::{Counter, FloorRow, KeyKind, Keyspace, NumberRow};
use tidelog_metadata_api::{CommitError, Log as _};
use tidelog_store::Store as _;
use tidelog_types::{Incarnation, SegmentSequence};

use crate::manifests::{WRITER, accepted, one, only, plain, segment};
use crate::world::{World, partition};

const FLOOR: SegmentSequence = SegmentSequence::new(10);

#[tokio::test(start_paused = true)]
async fn a_manifest_below_the_floor_is_refused_and_takes_no_offset() {
    let (world, process) = World::opened().await;
    process
        .raise_floor(WRITER, FLOOR)
        .await
        .expect("it is durable");
    let answers = process
        .commit(vec![
            one(9, partition(0), plain(5)),
            one(10, partition(0), plain(1)),
        ])
        .await;
    let [Err(below), Ok(at)] = &answers[..] else {
        panic!("the first is below the floor: {answers:?}");
    };
    assert_eq!(*below, CommitError::BelowFloor { floor: FLOOR });
    assert!(!below.may_ask_again());
    assert_eq!(only(at), accepted(0));
    for kind in [KeyKind::Tail, KeyKind::Receipt, KeyKind::LiveBytes] {
        assert_eq!(world.store.rows(kind).len(), 1, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_floor_never_goes_down_and_binds_one_incarnation_only() {
    let (world, process) = World::opened().await;
    process.raise_floor(WRITER, FLOOR).await.expect("durable");
    let lower = SegmentSequence::new(3);
    process.raise_floor(WRITER, lower).await.expect("durable");
    let rows = world.store.rows(KeyKind::Floor);
    assert_eq!(rows.len(), 1);
    let row = FloorRow::decode(rows[0].1.clone()).expect("a good row");
    assert_eq!(row.floor, FLOOR);
    let other = segment(1)
        .writer(Incarnation::new(8))
        .slice(partition(0), &[plain(1)]);
    let answer = process.send(other.done()).await;
    assert_eq!(only(&answer.expect("its floor is 0")), accepted(0));
}

/// Without the serializable read of the floor the group would land below the floor.
#[tokio::test(start_paused = true)]
async fn a_floor_that_rises_under_a_group_in_flight_refuses_its_manifests() {
    let (world, process) = World::opened().await;
    let hold = world.store.hold(KeyKind::Tail);
    let in_flight = process.commit(vec![
        one(9, partition(0), plain(5)),
        one(11, partition(0), plain(1)),
    ]);
    hold.reached().await;
    process.raise_floor(WRITER, FLOOR).await.expect("durable");
    drop(hold);
    let answers = in_flight.await;
    let [Err(CommitError::BelowFloor { floor: FLOOR }), Ok(above)] = &answers[..] else {
        panic!("only the second is at the floor: {answers:?}");
    };
    assert_eq!(only(above), accepted(0), "no offset was lost");
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 1);
}

/// A group that comes soon after another one reads none of this again: it has to find out all the same.
#[tokio::test(start_paused = true)]
async fn what_changes_between_two_groups_binds_the_second_one() {
    let (world, process) = World::opened().await;
    let committed = process.send(one(9, partition(0), plain(5))).await;
    assert_eq!(only(&committed.expect("the owner")), accepted(0));
    process
        .raise_floor(WRITER, SegmentSequence::new(11))
        .await
        .expect("durable");
    let below = process.send(one(10, partition(0), plain(1))).await;
    assert!(
        matches!(below, Err(CommitError::BelowFloor { .. })),
        "{below:?}"
    );
    let committed = process.send(one(11, partition(0), plain(1))).await;
    assert_eq!(only(&committed.expect("at the floor")), accepted(5));
    // Nobody older than a later writer lives any more.
    let mut transaction = world.store.begin().await.expect("it is open");
    let key = Keyspace::default().counter(Counter::OldestLiveIncarnation);
    let later = WRITER.get() + 1;
    transaction.put(key, NumberRow(later).encode());
    transaction.commit().await.expect("nobody else writes it");
    let ended = process.send(one(12, partition(0), plain(1))).await;
    assert_eq!(ended.unwrap_err(), CommitError::WriterEnded);
}

/// A store may make several commits at one version: a floor that rises right behind a group, too.
#[tokio::test(start_paused = true)]
async fn a_floor_that_rises_at_the_very_version_of_a_group_binds_the_next_one() {
    let (world, process) = World::opened().await;
    world.store.share_version(KeyKind::Tail);
    let first = process.send(one(9, partition(0), plain(5)));
    let rise = async {
        world.store.sharing().await;
        process.raise_floor(WRITER, SegmentSequence::new(11)).await
    };
    let (first, risen) = tokio::join!(first, rise);
    assert_eq!(only(&first.expect("the owner")), accepted(0));
    risen.expect("durable");
    let below = process.send(one(10, partition(0), plain(1))).await;
    assert!(
        matches!(below, Err(CommitError::BelowFloor { .. })),
        "{below:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_manifest_committed_before_the_floor_passed_it_keeps_its_receipt() {
    let (world, process) = World::opened().await;
    let commit = one(9, partition(0), plain(5));
    process.send(commit.clone()).await.expect("the owner");
    process.raise_floor(WRITER, FLOOR).await.expect("durable");
    let again = process.send(commit.clone()).await.expect("a receipt");
    assert_eq!(only(&again), accepted(0));
    let new = world.open_on(&world.store.sibling()).await;
    let again = new.send(commit).await.expect("a receipt");
    assert_eq!(only(&again), accepted(0));
}
