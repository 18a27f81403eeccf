//! Offsets by time: exact to the record, whatever the batch is compressed with.

use tidelog_broker_engine::Isolation;
use tidelog_format::batch::Compression;
use tidelog_metadata_api::OffsetQuery;
use tidelog_types::{Offset, Timestamp};

use crate::batches::batch_at;
use crate::world::{World, settings, soon};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// The offset and the timestamp that a query finds in partition 0.
async fn find(world: &World, query: OffsetQuery) -> Option<(u64, Option<i64>)> {
    let found = soon(
        &world.env,
        world
            .engine
            .offset(world.partition(0), query, Isolation::Uncommitted),
    )
    .await;
    let found = found.expect("it has an answer")?;
    Some((
        found.offset.get(),
        found.timestamp.map(Timestamp::as_millis),
    ))
}

async fn at(world: &World, millis: i64) -> Option<(u64, Option<i64>)> {
    find(world, OffsetQuery::AtTime(Timestamp::from_millis(millis))).await
}

/// Three batches: offsets 0 to 2, 3 to 5 and 6. The latest record is in the middle of the second.
async fn written(codec: Compression) -> World {
    let world = World::new().await;
    let batches: [&[(i64, &str)]; 3] = [
        &[(100, "a"), (110, "b"), (120, "c")],
        &[(130, "d"), (190, "e"), (150, "f")],
        &[(160, "g")],
    ];
    for records in batches {
        let sent = world.send_batch(0, batch_at(records, codec, None), None);
        sent.result().await.expect("it is appended");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_time_finds_the_first_record_that_is_as_late() {
    for codec in CODECS {
        let world = written(codec).await;
        for (time, offset, found) in [
            (0, 0, 100),
            (100, 0, 100),
            (101, 1, 110),
            (120, 2, 120),
            (121, 3, 130),
            (131, 4, 190),
            (190, 4, 190),
        ] {
            assert_eq!(
                at(&world, time).await,
                Some((offset, Some(found))),
                "{codec} {time}"
            );
        }
        assert_eq!(at(&world, 191).await, None, "{codec}");
        let latest = find(&world, OffsetQuery::MaxTimestamp).await;
        assert_eq!(latest, Some((4, Some(190))), "{codec}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_below_the_log_start_are_not_found() {
    for codec in CODECS {
        let world = written(codec).await;
        for (start, offset, found) in [(1, 1, 110), (3, 3, 130), (4, 4, 190), (5, 5, 150)] {
            let partition = world.partition(0);
            let start = Offset::new(start);
            let deleted = world.engine.delete_records(partition, Some(start)).await;
            deleted.expect("the store answers");
            assert_eq!(
                at(&world, 0).await,
                Some((offset, Some(found))),
                "{codec} {start}"
            );
            let earliest = find(&world, OffsetQuery::Earliest).await;
            assert_eq!(earliest, Some((start.get(), None)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_partition_has_ends_and_no_times() {
    let world = World::new().await;
    assert_eq!(find(&world, OffsetQuery::Earliest).await, Some((0, None)));
    assert_eq!(find(&world, OffsetQuery::Latest).await, Some((0, None)));
    assert_eq!(at(&world, 0).await, None);
    assert_eq!(find(&world, OffsetQuery::MaxTimestamp).await, None);
    assert_eq!(world.send(0, "a").offset().await, 0);
    assert_eq!(find(&world, OffsetQuery::Latest).await, Some((1, None)));
}

/// A batch of a few bytes that becomes a megabyte, with its latest record at time 200.
async fn written_large(decode_bytes: u64) -> World {
    let mut settings = settings();
    settings.fetch.decode_bytes = decode_bytes;
    let world = World::with(settings).await;
    let value = "x".repeat(1_000_000);
    let records = [(100, value.as_str()), (200, "late")];
    let batch = batch_at(&records, Compression::Zstd, None);
    assert!(batch.size() < 10_000);
    let sent = world.send_batch(0, batch, None);
    sent.result().await.expect("it is appended");
    world
}

// Time is not paused: it would go on while another thread works.
#[tokio::test]
async fn a_search_waits_for_memory_to_decompress_in() {
    for decode_bytes in [64 << 20, 1 << 20] {
        let world = written_large(decode_bytes).await;
        let all = world.engine.decoding().share().hold(u64::MAX).await;
        let mut search = std::pin::pin!(at(&world, 150));
        for _ in 0..100 {
            assert!(futures::poll!(&mut search).is_pending());
            tokio::task::yield_now().await;
        }
        drop(all);
        assert_eq!(search.await, Some((1, Some(200))));
        assert_eq!(world.engine.decoding().share().free_bytes(), decode_bytes);
    }
}
