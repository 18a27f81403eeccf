//! Fetches: budgets, places in the middle, waits, and errors that stay where they belong.

use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_broker_engine::{
    EngineSettings, FetchError, FetchRequest, Fetched, Isolation, RecordsEstimate,
};
use tidelog_format::batch::Compression;
use tidelog_metadata_api::LogError;
use tidelog_types::{ErrorCode, Offset, OffsetRange};

use crate::batches::{batch, batch_at, values_in};
use crate::world::{World, settings, soon};

const WAIT: Duration = Duration::from_secs(20);

/// The values of each partition of an answer.
fn values(fetched: &Fetched) -> Vec<Vec<String>> {
    let found = fetched.partitions.iter();
    found
        .map(|found| values_in(found.as_ref().expect("it has an answer")))
        .collect()
}

/// Four partitions with three batches of one size each. Tells the size.
async fn filled() -> (World, u64) {
    let world = World::new().await;
    let value = "x".repeat(1_000);
    let size = u64::from(batch(&[&value]).size());
    for _ in 0..3 {
        for index in 0..4 {
            let sent = world.send_batch(index, batch(&[&value]), None);
            sent.result().await.expect("it is appended");
        }
    }
    (world, size)
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_spent_over_all_partitions() {
    let (world, size) = filled().await;
    let all: Vec<_> = (0..4).map(|index| world.want(index, 0, u64::MAX)).collect();
    let batches =
        |fetched: &Fetched| -> Vec<usize> { values(fetched).iter().map(Vec::len).collect() };
    let fetched = world.fetch(all.clone(), 4 * size).await;
    assert_eq!(batches(&fetched), [1, 1, 1, 1]);
    let fetched = world.fetch(all.clone(), 8 * size).await;
    assert_eq!(batches(&fetched), [2, 2, 2, 2]);
    assert_eq!(fetched.bytes(), 8 * size);
    let fetched = world.fetch(all, u64::MAX).await;
    assert_eq!(batches(&fetched), [3, 3, 3, 3]);
    let mut limited: Vec<_> = (0..4).map(|index| world.want(index, 0, u64::MAX)).collect();
    limited[2].bytes_max = 2 * size;
    let fetched = world.fetch(limited, u64::MAX).await;
    assert_eq!(batches(&fetched), [3, 3, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_first_batch_larger_than_the_limit_is_served_and_every_partition_has_its_turn() {
    let (world, size) = filled().await;
    let mut served = [0_usize; 4];
    for _ in 0..4 {
        let all = (0..4).map(|index| world.want(index, 1, u64::MAX));
        let fetched = world.fetch(all.collect(), 1).await;
        assert_eq!(fetched.bytes(), size, "one batch and no more");
        for (served, values) in served.iter_mut().zip(values(&fetched)) {
            *served += values.len();
        }
    }
    assert_eq!(served, [1, 1, 1, 1]);
    let fetched = world.fetch(vec![world.want(0, 2, 1)], u64::MAX).await;
    assert_eq!(fetched.bytes(), size);
}

#[tokio::test(start_paused = true)]
async fn an_offset_in_the_middle_of_a_batch_gives_the_whole_batch() {
    let world = World::new().await;
    world.send(0, "before").offset().await;
    let sent = world.send_batch(0, batch(&["a", "b", "c"]), None);
    assert_eq!(sent.offset().await, 1);
    world.send(0, "after").offset().await;
    let fetched = world
        .fetch(vec![world.want(0, 2, u64::MAX)], u64::MAX)
        .await;
    assert_eq!(values(&fetched), [["a@1", "b@2", "c@3", "after@4"]]);
    let found = fetched.partitions[0].as_ref().expect("it has an answer");
    assert_eq!(found.next_offset, Offset::new(5));
    assert_eq!(found.bounds.high_watermark, Offset::new(5));
}

#[tokio::test(start_paused = true)]
async fn batches_of_one_segment_are_read_from_the_one_that_is_wanted() {
    let world = World::new().await;
    let sent = [
        world.send_batch(0, batch(&["a", "b"]), None),
        world.send_batch(0, batch(&["c", "d"]), None),
        world.send_batch(0, batch(&["e"]), None),
    ];
    for answer in sent {
        answer.offset().await;
    }
    assert_eq!(world.puts(), 1);
    let fetched = world.fetch(vec![world.want(0, 3, 1)], u64::MAX).await;
    assert_eq!(values(&fetched), [["c@2", "d@3"]]);
    let found = fetched.partitions[0].as_ref().expect("it has an answer");
    assert_eq!(found.next_offset, Offset::new(4));
}

fn waiting(world: &World) -> FetchRequest {
    FetchRequest {
        partitions: vec![world.want(0, 0, u64::MAX), world.want(1, 0, u64::MAX)],
        bytes_max: u64::MAX,
        bytes_min: 1,
        wait_max: WAIT,
        isolation: Isolation::Uncommitted,
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_woken_by_a_commit() {
    let world = World::new().await;
    let start = world.env.clock.now();
    let send_later = async {
        world.pass(WAIT / 4).await;
        world.send(2, "not waited for").offset().await;
        world.pass(WAIT / 4).await;
        world.send(1, "waited for").offset().await;
    };
    let wanted = waiting(&world);
    let poll = soon(&world.env, world.engine.fetch(&wanted));
    let (fetched, ()) = tokio::join!(poll, send_later);
    let took = world.env.clock.now() - start;
    assert!((WAIT / 2..WAIT * 6 / 10).contains(&took), "{took:?}");
    assert_eq!(values(&fetched), [vec![], vec!["waited for@0"]]);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_at_its_deadline_with_what_there_is() {
    let world = World::new().await;
    let start = world.env.clock.now();
    let fetched = soon(&world.env, world.engine.fetch(&waiting(&world))).await;
    assert_eq!(values(&fetched), [Vec::<String>::new(), vec![]]);
    let took = world.env.clock.now() - start;
    assert!((WAIT..WAIT + WAIT / 100).contains(&took), "{took:?}");
    world.send(0, "too little").offset().await;
    let start = world.env.clock.now();
    let request = FetchRequest {
        bytes_min: 1_000_000,
        ..waiting(&world)
    };
    let fetched = soon(&world.env, world.engine.fetch(&request)).await;
    assert_eq!(values(&fetched), [vec!["too little@0"], vec![]]);
    assert!(world.env.clock.now() - start >= WAIT);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_partition_leaves_the_others_alone_and_waits_for_nothing() {
    let world = World::new().await;
    world
        .send_batch(0, batch(&["a", "b", "c"]), None)
        .offset()
        .await;
    world.send(1, "good").offset().await;
    let partition = world.partition(0);
    let deleted = world
        .engine
        .delete_records(partition, Some(Offset::new(2)))
        .await;
    deleted.expect("the store answers");
    let start = world.env.clock.now();
    let request = FetchRequest {
        partitions: vec![
            world.want(0, 1, u64::MAX),
            world.want(1, 0, u64::MAX),
            world.want(9, 0, u64::MAX),
            world.want(0, 4, u64::MAX),
            world.want(0, 2, u64::MAX),
        ],
        bytes_min: 1_000_000,
        ..waiting(&world)
    };
    let fetched = soon(&world.env, world.engine.fetch(&request)).await;
    assert!(world.env.clock.now() - start < WAIT / 100);
    let valid = OffsetRange {
        base: Offset::new(2),
        next: Offset::new(3),
    };
    for (at, offset) in [(0, 1), (3, 4)] {
        let (_, error) = fetched.partitions[at].as_ref().expect_err("not in range");
        let expected = LogError::OffsetOutOfRange {
            offset: Offset::new(offset),
            valid,
        };
        assert!(
            matches!(error, FetchError::Log(error) if *error == expected),
            "{error}"
        );
        assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    }
    let (_, error) = fetched.partitions[2].as_ref().expect_err("unknown");
    assert_eq!(error.code(), ErrorCode::UnknownPartition);
    let good = fetched.partitions[1].as_ref().expect("it has an answer");
    assert_eq!(values_in(good), ["good@0"]);
    let rest = fetched.partitions[4].as_ref().expect("it has an answer");
    assert_eq!(values_in(rest).last().expect("records"), "c@2");
}

/// Eight segments of one batch each in one partition. Tells the size of a batch.
async fn eight_segments(settings: EngineSettings) -> (World, u64) {
    let world = World::with(settings).await;
    let value = "x".repeat(100 * 1024);
    for _ in 0..8 {
        let sent = world.send_batch(0, batch(&[&value]), None);
        sent.result().await.expect("it is appended");
    }
    let size = u64::from(batch(&[&value]).size());
    (world, size)
}

#[tokio::test(start_paused = true)]
async fn a_reader_finds_the_next_pages_on_their_way() {
    let (world, size) = eight_segments(settings()).await;
    let first = world.fetch(vec![world.want(0, 0, 7 * size)], 1).await;
    assert_eq!(first.bytes(), size);
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(world.gets(), 3, "the page wanted and two behind it");
    let second = world.fetch(vec![world.want(0, 1, size)], u64::MAX).await;
    assert_eq!((second.bytes(), world.gets()), (size, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_for_a_reader_that_stopped_is_given_up() {
    let (world, size) = eight_segments(settings()).await;
    let slow = Fault::Delay(Duration::from_hours(1));
    world.fetch(vec![world.want(0, 0, size)], size).await;
    world.pass(Duration::from_millis(1)).await;
    world.way.inject(FaultRule::new(slow).on(Operation::Get));
    let second = world.fetch(vec![world.want(0, 1, size)], size).await;
    assert_eq!(second.bytes(), size);
    world.pass(Duration::from_secs(9)).await;
    assert!(world.pages.fetches() > 0, "they are on their way");
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.pages.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn readers_that_keep_their_answers_cost_the_others_a_copy_and_no_more() {
    let mut settings = settings();
    // Half of it are two pages.
    settings.fetch.pages_bytes = 16 << 20;
    let (world, size) = eight_segments(settings).await;
    let mut kept = Vec::new();
    for offset in 0..8 {
        let fetch = world.fetch(vec![world.want(0, offset, size)], size);
        let (partitions, hold) = soon(&world.env, fetch).await.into_parts();
        assert_eq!(hold.is_some(), offset >= 2, "at offset {offset}");
        let found = partitions.into_iter().next().expect("one was asked for");
        kept.push(found.expect("it has an answer").batches);
    }
    kept.truncate(1);
    let fetch = world.fetch(vec![world.want(0, 7, size)], size);
    let (_, hold) = soon(&world.env, fetch).await.into_parts();
    assert!(hold.is_none(), "what they gave back is used again");
}

/// Whoever takes records apart holds memory by what an answer says of them.
#[tokio::test(start_paused = true)]
async fn an_answer_says_how_many_records_it_has_and_what_they_may_become() {
    let world = World::new().await;
    let plain = world.send_batch(0, batch(&["a", "b", "c"]), None);
    plain.result().await.expect("it is appended");
    let compressed = batch_at(&[(100, "d"), (101, "e")], Compression::Zstd, None);
    let size = u64::from(compressed.size());
    let sent = world.send_batch(0, compressed, None);
    sent.result().await.expect("it is appended");
    for (offset, records) in [(0, 5), (3, 2)] {
        let fetched = world
            .fetch(vec![world.want(0, offset, u64::MAX)], u64::MAX)
            .await;
        let found = fetched.partitions[0].as_ref().expect("it has an answer");
        assert_eq!(found.estimate.records, records);
        assert!(found.estimate.inflated_bytes > size);
    }
    let first = world.fetch(vec![world.want(0, 0, 1)], 1).await;
    let found = first.partitions[0].as_ref().expect("it has an answer");
    let estimate = RecordsEstimate {
        records: 3,
        inflated_bytes: 0,
    };
    assert_eq!(found.estimate, estimate);
}

#[tokio::test(start_paused = true)]
async fn where_bytes_lie_is_asked_anew_after_a_minute() {
    let (world, _) = filled().await;
    let read = async || {
        let before = world.log.asked_for_extents();
        let fetched = world
            .fetch(vec![world.want(0, 0, u64::MAX)], u64::MAX)
            .await;
        assert_eq!(values(&fetched)[0].len(), 3);
        world.log.asked_for_extents() - before
    };
    assert_eq!(read().await, 1, "nobody has read there before");
    world.pass(Duration::from_secs(59)).await;
    assert_eq!(read().await, 0, "it is in memory");
    world.pass(Duration::from_secs(1)).await;
    // By now it may be merged, or compacted.
    assert_eq!(read().await, 1);
    assert_eq!(read().await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_the_end_asks_nobody_however_long_ago_the_last_record_was() {
    let (world, _) = filled().await;
    world
        .fetch(vec![world.want(0, 3, u64::MAX)], u64::MAX)
        .await;
    let before = world.log.asked_for_extents();
    world.pass(Duration::from_hours(1)).await;
    let fetched = world
        .fetch(vec![world.want(0, 3, u64::MAX)], u64::MAX)
        .await;
    assert_eq!(values(&fetched)[0].len(), 0);
    assert_eq!(world.log.asked_for_extents(), before);
}

#[tokio::test(start_paused = true)]
async fn the_last_page_of_a_segment_comes_with_the_one_before_it() {
    let mut settings = settings();
    settings.append.segment_bytes = 16 << 20;
    let world = World::with(settings).await;
    let value = "x".repeat(1_000_000);
    let sent = |_| world.send_batch(0, batch(&[&value]), None).result();
    for answer in futures::future::join_all((0..11).map(sent)).await {
        answer.expect("it is appended");
    }
    let places = world.places(0).await;
    let last = places.last().expect("there are some");
    let end = last.position + last.length;
    assert_eq!((last.sequence, end / (4 << 20)), (1, 2));
    for offset in 0..11 {
        let fetched = world.fetch(vec![world.want(0, offset, 1)], 1).await;
        assert_eq!(values(&fetched)[0].len(), 1);
        world.pass(Duration::from_millis(1)).await;
    }
    assert_eq!(world.gets(), 2, "of three pages");
}
