//! What readers see of transactions.

use std::time::Duration;

use tidelog_broker_engine::{FetchRequest, FetchedPartition, Isolation};
use tidelog_format::batch::BatchView;
use tidelog_metadata_api::{AbortedTransaction, Decision, OffsetQuery, ProducerIdentity};
use tidelog_types::{Offset, Timestamp};

use Decision::{Abort, Commit};
use Isolation::{Committed, Uncommitted};

use crate::batches::{batch_at, transactional, values_in};
use crate::world::{World, soon};

const WAIT: Duration = Duration::from_secs(20);

fn request(world: &World, offset: u64, isolation: Isolation) -> FetchRequest {
    FetchRequest {
        partitions: vec![world.want(0, offset, u64::MAX)],
        bytes_max: u64::MAX,
        bytes_min: 0,
        wait_max: Duration::ZERO,
        isolation,
    }
}

/// What is found in partition 0 from an offset on.
async fn read(world: &World, offset: u64, isolation: Isolation) -> FetchedPartition {
    let request = request(world, offset, isolation);
    let fetched = soon(&world.env, world.engine.fetch(&request)).await;
    let found = fetched.partitions.into_iter().next();
    found.expect("one was asked for").expect("it is read")
}

async fn values(world: &World, isolation: Isolation) -> Vec<String> {
    values_in(&read(world, 0, isolation).await)
}

async fn ends(world: &World) -> (u64, u64) {
    let bounds = read(world, 0, Uncommitted).await.bounds;
    (bounds.last_stable.get(), bounds.high_watermark.get())
}

fn aborted(producer: ProducerIdentity, first: u64, last: u64) -> AbortedTransaction {
    AbortedTransaction {
        producer: producer.id,
        first: Offset::new(first),
        last: Offset::new(last),
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_what_is_committed_ends_where_a_transaction_is_open() {
    let world = World::new().await;
    let producer = world.producer().await;
    world.send(0, "a").offset().await;
    let sent = transactional(&["b"], producer, 0);
    assert_eq!(world.send_in(0, sent, 1).await, 1);
    world.send(0, "c").offset().await;
    assert_eq!(ends(&world).await, (1, 3));
    assert_eq!(values(&world, Committed).await, ["a@0"]);
    assert_eq!(read(&world, 0, Committed).await.next_offset, Offset::new(1));
    assert_eq!(values(&world, Uncommitted).await, ["a@0", "b@1", "c@2"]);
    for offset in [1, 2, 3] {
        let found = read(&world, offset, Committed).await;
        assert!(found.batches.is_empty(), "at {offset}");
        assert_eq!(found.next_offset, Offset::new(offset));
    }
    world.end(0, producer, 1, Commit).await;
    assert_eq!(ends(&world).await, (4, 4));
    let all = ["a@0", "b@1", "c@2", "marker@3"];
    assert_eq!(values(&world, Committed).await, all);
    assert_eq!(values(&world, Uncommitted).await, all);
    assert!(read(&world, 0, Committed).await.aborted.is_empty());
}

/// Batches that came in one segment lie in one extent.
#[tokio::test(start_paused = true)]
async fn a_reader_of_what_is_committed_ends_inside_an_extent() {
    let world = World::new().await;
    let producer = world.producer().await;
    let plain = world.send(0, "a");
    let sent = transactional(&["b"], producer, 0);
    assert_eq!(world.send_in(0, sent, 1).await, 1);
    plain.offset().await;
    assert_eq!(world.places(0).await.len(), 1);
    let found = read(&world, 0, Committed).await;
    assert_eq!(values_in(&found), ["a@0"]);
    assert_eq!(found.next_offset, Offset::new(1));
    world.end(0, producer, 1, Commit).await;
    assert_eq!(values(&world, Committed).await, ["a@0", "b@1", "marker@2"]);
}

#[tokio::test(start_paused = true)]
async fn a_marker_is_read_as_a_control_batch_at_its_offset_and_time() {
    let world = World::new().await;
    let producer = world.producer().await;
    world
        .send_in(0, transactional(&["a"], producer, 0), 1)
        .await;
    let before = world.env.clock.wall();
    world.end(0, producer, 1, Abort).await;
    let found = read(&world, 1, Uncommitted).await;
    let batches = BatchView::all(found.batches.to_bytes());
    let batches: Vec<BatchView> = batches.map(|batch| batch.expect("whole")).collect();
    assert_eq!(batches.len(), 1);
    batches[0].check_crc().expect("a sound batch");
    let header = batches[0].header();
    assert!(header.attributes.is_control() && header.attributes.is_transactional());
    assert_eq!((header.base_offset, header.offset_count()), (1, 1));
    assert_eq!(header.producer_id, producer.id);
    assert_eq!(header.producer_epoch, producer.epoch);
    assert!(header.max_timestamp >= before);
    assert_eq!(found.next_offset, Offset::new(2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_the_aborted_transactions_in_it_and_what_is_visible_is_without_them() {
    let world = World::new().await;
    let (bad, good) = (world.producer().await, world.producer().await);
    world
        .send_in(0, transactional(&["a", "b"], bad, 0), 1)
        .await;
    world.send_in(0, transactional(&["c"], good, 0), 1).await;
    world.send(0, "d").offset().await;
    world.send_in(0, transactional(&["e"], bad, 2), 1).await;
    world.end(0, bad, 1, Abort).await;
    world.end(0, good, 1, Commit).await;
    // The next one of the same producer is committed.
    world.send_in(0, transactional(&["f"], bad, 3), 2).await;
    world.end(0, bad, 2, Commit).await;
    // And that of another one, of which an earlier one is committed, is not.
    world.send_in(0, transactional(&["g"], good, 1), 2).await;
    world.end(0, good, 2, Abort).await;
    let named = [aborted(bad, 0, 5), aborted(good, 9, 10)];
    let found = read(&world, 0, Committed).await;
    assert_eq!(*found.aborted, named);
    assert_eq!(found.next_offset, Offset::new(11));
    let visible = found.visible();
    assert_eq!(values_in(&visible), ["c@2", "d@3", "f@7"]);
    assert_eq!(visible.next_offset, Offset::new(11));
    assert_eq!(visible.estimate.records, 3);
    // From inside of an aborted batch, and from behind the first one.
    for (offset, left) in [(1, vec!["c@2", "d@3", "f@7"]), (4, vec!["f@7"])] {
        let found = read(&world, offset, Committed).await;
        assert_eq!(*found.aborted, named, "from {offset}");
        assert_eq!(values_in(&found.visible()), left, "from {offset}");
    }
    let found = read(&world, 0, Uncommitted).await;
    assert!(found.aborted.is_empty());
    let all = ["a@0", "b@1", "c@2", "d@3", "e@4", "f@7", "g@9"];
    assert_eq!(values_in(&found.visible()), all, "markers are no records");
}

/// A reader that never sees the marker of an aborted transaction would leave out what its producer commits later.
#[tokio::test(start_paused = true)]
async fn an_answer_names_no_aborted_transaction_before_it_or_behind_it() {
    let world = World::new().await;
    let (one, other) = (world.producer().await, world.producer().await);
    for (producer, value, sequence, number, decision) in [
        (one, "a", 0, 1, Abort),
        (one, "b", 1, 2, Commit),
        (other, "c", 0, 1, Abort),
        (one, "d", 2, 3, Abort),
    ] {
        let sent = transactional(&[value], producer, sequence);
        world.send_in(0, sent, number).await;
        world.end(0, producer, number, decision).await;
    }
    let [first, second, third] = [aborted(one, 0, 1), aborted(other, 4, 5), aborted(one, 6, 7)];
    let found = read(&world, 0, Committed).await;
    assert_eq!(*found.aborted, [first, second, third]);
    assert_eq!(values_in(&found.visible()), ["b@2"]);
    let found = read(&world, 2, Committed).await;
    assert_eq!(*found.aborted, [second, third], "the first one is past");
    assert_eq!(values_in(&found.visible()), ["b@2"]);
    let mut few = request(&world, 0, Committed);
    few.partitions = vec![world.want(0, 0, 1)];
    let fetched = soon(&world.env, world.engine.fetch(&few)).await;
    let found = fetched.partitions[0].as_ref().expect("it is read");
    assert_eq!(values_in(found), ["a@0"]);
    assert_eq!(*found.aborted, [first], "the others come later");
}

/// A transaction that is aborted later is none of those that an earlier answer names.
#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_aborted_transactions_where_there_are_none() {
    let world = World::new().await;
    let (bad, good) = (world.producer().await, world.producer().await);
    world.send_in(0, transactional(&["a"], bad, 0), 1).await;
    world.end(0, bad, 1, Abort).await;
    world.send(0, "b").offset().await;
    world.send_in(0, transactional(&["c"], good, 0), 1).await;
    world.end(0, good, 1, Commit).await;
    read(&world, 0, Uncommitted).await;
    assert_eq!(world.log.asked_for_aborted(), 0, "it reads all");
    let found = read(&world, 2, Committed).await;
    assert_eq!(values_in(&found), ["b@2", "c@3", "marker@4"]);
    assert_eq!(world.log.asked_for_aborted(), 0, "it is behind the last");
    for _ in 0..3 {
        let found = read(&world, 0, Committed).await;
        assert_eq!(*found.aborted, [aborted(bad, 0, 1)]);
    }
    assert_eq!(world.log.asked_for_aborted(), 1, "the answer is kept");
    // Without transactional batches in the answer.
    world.send(1, "plain").offset().await;
    let late = world.producer().await;
    world.send_in(1, transactional(&["x"], late, 0), 1).await;
    world.end(1, late, 1, Abort).await;
    let mut first = request(&world, 0, Committed);
    first.partitions = vec![world.want(1, 0, 1)];
    let fetched = soon(&world.env, world.engine.fetch(&first)).await;
    let found = fetched.partitions[0].as_ref().expect("it is read");
    assert_eq!(values_in(found), ["plain@0"]);
    assert_eq!(world.log.asked_for_aborted(), 1, "nothing of it was read");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_committed_is_woken_by_the_marker_and_not_by_records() {
    let world = World::new().await;
    let producer = world.producer().await;
    world
        .send_in(0, transactional(&["a"], producer, 0), 1)
        .await;
    let waiting = FetchRequest {
        bytes_min: 1,
        wait_max: WAIT,
        ..request(&world, 0, Committed)
    };
    let start = world.env.clock.now();
    let later = async {
        world.pass(WAIT / 4).await;
        let asked = world.log.asked_for_bounds();
        world.send(0, "b").offset().await;
        world.pass(WAIT / 4).await;
        assert_eq!(world.log.asked_for_bounds(), asked, "nobody looks again");
        world.end(0, producer, 1, Commit).await;
    };
    let (fetched, ()) = tokio::join!(soon(&world.env, world.engine.fetch(&waiting)), later);
    let took = world.env.clock.now() - start;
    assert!((WAIT / 2..WAIT * 6 / 10).contains(&took), "{took:?}");
    let found = fetched.partitions[0].as_ref().expect("it is read");
    assert_eq!(values_in(found), ["a@0", "b@1", "marker@2"]);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_those_that_a_reader_sees() {
    let world = World::new().await;
    let producer = world.producer().await;
    let partition = world.partition(0);
    let find = async |query, isolation| {
        let found = world.engine.offset(partition, query, isolation);
        let found = soon(&world.env, found).await.expect("it has an answer");
        found.map(|found| found.offset.get())
    };
    let at = |millis| OffsetQuery::AtTime(Timestamp::from_millis(millis));
    world.send(0, "a").offset().await;
    world
        .send_in(0, transactional(&["b"], producer, 0), 1)
        .await;
    let late = batch_at(
        &[(500, "c")],
        tidelog_format::batch::Compression::None,
        None,
    );
    world.send_batch(0, late, None).offset().await;
    for (query, all, committed) in [
        (OffsetQuery::Earliest, Some(0), Some(0)),
        (OffsetQuery::Latest, Some(3), Some(1)),
        (at(100), Some(0), Some(0)),
        (at(500), Some(2), None),
        (OffsetQuery::MaxTimestamp, Some(2), None),
    ] {
        assert_eq!(find(query, Uncommitted).await, all, "{query:?}");
        assert_eq!(find(query, Committed).await, committed, "{query:?}");
    }
    // The time of a marker counts as that of a record does.
    let ended = world.env.clock.wall().as_millis();
    world.end(0, producer, 1, Abort).await;
    for query in [at(ended.max(501)), OffsetQuery::MaxTimestamp] {
        assert_eq!(find(query, Committed).await, Some(3), "{query:?}");
    }
    assert_eq!(find(OffsetQuery::Latest, Committed).await, Some(4));
}

/// Markers have bytes in answers, though none in the bucket.
#[tokio::test(start_paused = true)]
async fn markers_count_against_the_bytes_of_an_answer() {
    let world = World::new().await;
    let producer = world.producer().await;
    for number in 1..=8 {
        world.end(0, producer, number, Abort).await;
    }
    let marker = read(&world, 7, Uncommitted).await.batches.len() as u64;
    assert_eq!(marker, 78);
    for (bytes_max, markers) in [(1, 1), (marker, 1), (3 * marker, 3), (4 * marker - 1, 3)] {
        let fetched = world
            .fetch(vec![world.want(0, 0, u64::MAX)], bytes_max)
            .await;
        assert_eq!(fetched.bytes(), markers * marker, "of {bytes_max}");
    }
}
