//! What readers are told: up to where everything is decided, and what of it was aborted.

use tidelog_metadata_api::{Log as _, LookupRequest, OffsetAnswer, OffsetQuery};
use tidelog_types::{Offset, ProducerId, Timestamp};

use super::{Sender, abort, commit, inside, with_epoch};
use crate::manifests::{at_epoch, plain, sent};
use crate::world::{Process, World, partition, settings};

#[tokio::test(start_paused = true)]
async fn the_last_stable_offset_is_where_the_oldest_open_transaction_begins() {
    let (_, process) = World::opened().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, plain(3), None).await;
    assert_eq!(process.all_bounds(0).await, (0, 3, 3, 0));
    sender.send(&process, 0, inside(1, 0, 0, 2), Some(1)).await;
    assert_eq!(process.all_bounds(0).await, (0, 3, 5, 0));
    sender.send(&process, 0, inside(2, 0, 0, 2), Some(1)).await;
    sender.send(&process, 0, plain(3), None).await;
    assert_eq!(process.all_bounds(0).await, (0, 3, 10, 0));
    assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
    assert_eq!(process.all_bounds(0).await, (0, 5, 11, 0));
    // The log starts behind its beginning: that is stable, since nobody can read before it.
    let deleted = process.delete_records(partition(0), Offset::new(6)).await;
    let (bounds, _) = deleted.expect("the owner");
    assert_eq!(bounds.last_stable, Offset::new(6));
    assert_eq!(process.end(abort(partition(0), 2, 1)).await, Ok(()));
    assert_eq!(process.all_bounds(0).await, (6, 12, 12, 12));
}

/// Four transactions that lie in one another.
async fn tangle(process: &Process) {
    let mut sender = Sender::default();
    for (producer, records) in [(1, 2), (2, 1), (3, 1), (4, 1)] {
        // They begin at 0, 2, 3 and 4.
        let first = inside(producer, 0, 0, records);
        sender.send(process, 0, first, Some(1)).await;
    }
    // Markers at 5, 6, 7; after them the oldest open one begins at 0, 0, 0.
    for producer in [3, 2] {
        assert_eq!(process.end(abort(partition(0), producer, 1)).await, Ok(()));
    }
    assert_eq!(process.end(commit(partition(0), 4, 1)).await, Ok(()));
    // Its second transaction begins at 8.
    sender.send(process, 0, inside(3, 0, 1, 2), Some(2)).await;
    // Markers at 10 and 11.
    assert_eq!(process.end(abort(partition(0), 1, 1)).await, Ok(()));
    assert_eq!(process.end(abort(partition(0), 3, 2)).await, Ok(()));
    sender.send(process, 0, plain(5), None).await;
}

#[tokio::test(start_paused = true)]
async fn the_aborted_list_has_each_transaction_with_a_record_in_the_range() {
    let all = [(3, 3, 5), (2, 2, 6), (1, 0, 10), (3, 8, 11)];
    for settings in [settings(u32::MAX), settings(1)] {
        let world = World::with(settings);
        let mut process = world.open().await;
        tangle(&process).await;
        for restarts in [false, true] {
            if restarts {
                process = world.open().await;
            }
            assert_eq!(process.all_bounds(0).await, (0, 17, 17, 12));
            for base in 0..=17 {
                for next in base..=17 {
                    let has = |(_, first, last): &(i64, u64, u64)| *first < next && *last >= base;
                    let is_some = base < next;
                    let expected: Vec<_> =
                        all.into_iter().filter(|it| is_some && has(it)).collect();
                    let aborted = process.aborted_in(0, base, next).await;
                    assert_eq!(aborted, expected, "{base}..{next}");
                }
            }
            assert!(process.aborted_in(1, 0, 9).await.is_empty());
        }
    }
}

/// Readers that come late ask far from the end: the answer reads no more rows than it needs.
#[tokio::test(start_paused = true)]
async fn a_long_list_of_aborted_transactions_is_read_in_pieces() {
    let world = World::with(settings(50));
    let process = world.open().await;
    let mut sender = Sender::default();
    // An old one stays open, so that none of the rows says that all before it is decided.
    sender.send(&process, 0, inside(9, 0, 0, 1), Some(1)).await;
    for number in 1..=200_u64 {
        let sequence = i32::try_from(number - 1).expect("small");
        let batch = inside(1, 0, sequence, 1);
        sender.send(&process, 0, batch, Some(number)).await;
        assert_eq!(process.end(abort(partition(0), 1, number)).await, Ok(()));
    }
    assert_eq!(process.end(abort(partition(0), 9, 1)).await, Ok(()));
    let begins = world.store.memory.dump().len();
    assert!(begins > 200);
    assert_eq!(process.aborted_in(0, 0, 1).await, [(9, 0, 401)]);
    assert_eq!(process.aborted_in(0, 390, 402).await.len(), 7);
    assert_eq!(process.aborted_in(0, 0, 402).await.len(), 201);
}

/// As in Apache Kafka, where a control batch is a batch like any other to a search by time.
#[tokio::test(start_paused = true)]
async fn searches_by_time_find_markers() {
    for settings in [settings(u32::MAX), settings(1)] {
        let world = World::with(settings);
        let mut process = world.open().await;
        let mut sender = Sender::default();
        sender.send(&process, 0, inside(1, 0, 0, 2), Some(1)).await;
        assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
        sender.send(&process, 0, plain(1), None).await;
        sender.send(&process, 0, plain(1), None).await;
        // The clock stands at 1,000,000, the records at 200.
        for restarts in [false, true] {
            if restarts {
                process = world.open().await;
            }
            for query in [
                OffsetQuery::MaxTimestamp,
                OffsetQuery::AtTime(Timestamp::from_millis(201)),
                OffsetQuery::AtTime(Timestamp::from_millis(1_000_000)),
            ] {
                let found = process.offset(partition(0), query).await;
                let Ok(OffsetAnswer::Within(extent)) = found else {
                    panic!("{query:?} finds {found:?}");
                };
                assert_eq!(extent.offsets.base, Offset::new(2), "{query:?}");
                assert_eq!(extent.max_timestamp, Timestamp::from_millis(1_000_000));
            }
            let later = OffsetQuery::AtTime(Timestamp::from_millis(1_000_001));
            let found = process.offset(partition(0), later).await;
            assert_eq!(found, Ok(OffsetAnswer::None));
        }
    }
}

/// A marker has no bytes, so that a lookup with few bytes goes past it and one with few extents does not.
#[tokio::test(start_paused = true)]
async fn lookups_go_over_markers() {
    for settings in [settings(u32::MAX), settings(1)] {
        let world = World::with(settings);
        let process = world.open().await;
        tangle(&process).await;
        let lookup = async |offset, bytes_max, extents_max| {
            let request = LookupRequest {
                partition: partition(0),
                offset: Offset::new(offset),
                bytes_max,
                extents_max,
            };
            let answer = process.lookup(request).await.expect("in bounds");
            let extents = answer.extents.iter();
            extents.map(|it| it.offsets.base.get()).collect::<Vec<_>>()
        };
        assert_eq!(lookup(5, 1, 100).await, [5, 6, 7, 8]);
        assert_eq!(lookup(5, 1_000, 2).await, [5, 6]);
        assert_eq!(lookup(11, 1_000, 9).await, [11, 12]);
    }
}

#[tokio::test(start_paused = true)]
async fn producers_are_shown_as_the_partition_knows_them() {
    for settings in [settings(u32::MAX), settings(1)] {
        let mut settings = settings;
        settings.producers_in_memory = 2;
        let world = World::with(settings);
        let mut process = world.open().await;
        let mut sender = Sender::default();
        for id in 10..20 {
            sender.send(&process, 0, sent(id, 0, 3), None).await;
        }
        sender.send(&process, 0, at_epoch(3, 2, 0, 1), None).await;
        sender.send(&process, 0, inside(5, 0, 0, 2), Some(4)).await;
        assert_eq!(
            process.end(with_epoch(abort(partition(0), 4, 9), 1)).await,
            Ok(())
        );
        sender.send(&process, 1, sent(77, 0, 1), None).await;
        world.clock.jump_wall(1_000);
        for restarts in [false, true] {
            if restarts {
                process = world.open().await;
            }
            let shown = process.producers(partition(0)).await.expect("the owner");
            let ids: Vec<_> = shown.iter().map(|it| it.producer.id.get()).collect();
            assert_eq!(ids, [3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
            let [three, four, five, ten] = [shown[0], shown[1], shown[2], shown[3]];
            assert_eq!(three.producer.to_string(), "3/2");
            assert_eq!((three.last_sequence, three.open_from), (Some(0), None));
            assert_eq!(four.producer.to_string(), "4/1");
            assert_eq!(
                (four.last_sequence, four.coordinator_epoch),
                (None, Some(5))
            );
            assert_eq!(five.open_from, Some(Offset::new(31)));
            assert_eq!(
                (five.last_sequence, five.coordinator_epoch),
                (Some(1), None)
            );
            assert_eq!(ten.last_sequence, Some(2));
            assert_eq!(ten.last_used, Timestamp::from_millis(1_000_000));
        }
        let new = world.open_on(&world.store.sibling()).await;
        sender.send(&new, 0, sent(1, 0, 1), None).await;
        let shown = new.producers(partition(0)).await.expect("the owner");
        assert_eq!(shown[0].producer.id, ProducerId::new(1));
    }
}

/// C9: an owner that was replaced does not show what it remembers.
#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_shows_no_producers() {
    let (world, process) = World::opened().await;
    process.latest(partition(0)).await.expect("the owner");
    let _new = world.open_on(&world.store.sibling()).await;
    assert!(process.producers(partition(0)).await.is_err());
}
