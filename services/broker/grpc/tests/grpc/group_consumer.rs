//! Facts about the client's group consumer over a whole broker.

use tidelog_client::{ErrorCode, GroupConsumer, GroupEvent, SubscribeError, SubscribeOptions};

use crate::world::{World, entry, soon};

async fn world(partitions: u32, count: u64) -> World {
    let world = World::with_groups().await;
    world.topic("t", partitions).await;
    for number in 0..count {
        world.produce(entry(&number.to_string())).await.unwrap();
    }
    world
}

fn member(world: &World) -> GroupConsumer {
    let options = SubscribeOptions::from_earliest();
    world.client.subscribe("g", &["t"], options)
}

async fn next(consumer: &mut GroupConsumer) -> GroupEvent {
    soon(consumer.next()).await.unwrap()
}

/// The values of the next chunk; what else comes before is passed over.
async fn values(consumer: &mut GroupConsumer) -> Vec<String> {
    loop {
        if let GroupEvent::Chunk { chunk, .. } = next(consumer).await {
            let values = chunk.records().map(|record| {
                let value = record.unwrap().value.unwrap();
                String::from_utf8(value.to_vec()).unwrap()
            });
            return values.collect();
        }
    }
}

/// Passes events over until partitions are taken away.
async fn revoked(consumer: &mut GroupConsumer) -> u32 {
    loop {
        if let GroupEvent::Revoked(partitions) = next(consumer).await {
            assert_eq!(partitions.len(), 1);
            return partitions[0].partition;
        }
    }
}

#[tokio::test]
async fn what_was_committed_is_not_handed_out_again() {
    let world = world(1, 3).await;
    let mut first = member(&world);
    let assigned = next(&mut first).await;
    assert!(
        matches!(&assigned, GroupEvent::Assigned(partitions) if partitions[0].1 == 0),
        "{assigned:?}"
    );
    let mut read = Vec::new();
    while read.len() < 3 {
        read.extend(values(&mut first).await);
    }
    assert_eq!(read, ["0", "1", "2"]);
    soon(first.commit()).await.unwrap();
    assert_eq!(
        first.positions().map(|(_, next)| next).collect::<Vec<_>>(),
        [3]
    );
    soon(first.leave()).await.unwrap();
    world.produce(entry("3")).await.unwrap();
    let mut second = member(&world);
    assert_eq!(values(&mut second).await, ["3"]);
}

#[tokio::test]
async fn members_share_and_what_is_taken_away_is_committed_before_it_goes() {
    let world = world(2, 3).await;
    let mut first = member(&world);
    let mut read = Vec::new();
    while read.len() < 3 {
        read.extend(values(&mut first).await);
    }
    let mut second = member(&world);
    let (taken, ()) = tokio::join!(revoked(&mut first), async {
        // It is a member, and has nothing yet.
        let early = tokio::time::timeout(std::time::Duration::from_millis(300), second.next());
        assert!(early.await.is_err());
    });
    soon(first.commit()).await.unwrap();
    let first = async {
        let _ = first.next().await;
    };
    let assigned = tokio::select! {
        assigned = next(&mut second) => assigned,
        () = first => panic!("there is nothing more"),
    };
    let GroupEvent::Assigned(partitions) = assigned else {
        panic!("{assigned:?}");
    };
    let start = if taken == 0 { 3 } else { 0 };
    assert_eq!((partitions[0].0.partition, partitions[0].1), (taken, start));
}

#[tokio::test]
async fn a_member_that_is_thrown_out_hears_what_it_lost_and_reads_on_from_the_commit() {
    let world = world(1, 2).await;
    let mut consumer = member(&world);
    values(&mut consumer).await;
    let offsets = vec![tidelog_client::v1::SubscribeOffset {
        topic: "t".to_owned(),
        partition: 0,
        offset: 1,
        ..Default::default()
    }];
    soon(consumer.commit_offsets(offsets)).await.unwrap();
    // Another one takes its place, and goes.
    let mut twin = crate::subscriber::Subscriber::new(
        &world,
        tidelog_client::v1::SubscribeJoin {
            member_id: consumer.member_id().to_owned(),
            ..crate::subscriber::join()
        },
    )
    .await;
    twin.places(1).await;
    twin.leave().await;
    loop {
        match next(&mut consumer).await {
            GroupEvent::Lost(partitions) => {
                assert_eq!(partitions.len(), 1);
                break;
            }
            GroupEvent::Chunk { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(values(&mut consumer).await[0], "1");
}

#[tokio::test]
async fn a_partition_that_cannot_be_read_is_told_of_and_read_after_a_seek() {
    let world = world(1, 2).await;
    let options = SubscribeOptions {
        offset_reset: tidelog_client::OffsetReset::None,
        ..SubscribeOptions::default()
    };
    let mut consumer = world.client.subscribe("g", &["t"], options);
    let error = soon(consumer.next()).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Partition { .. }), "{error}");
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    consumer.seek("t", 0, 1);
    assert_eq!(values(&mut consumer).await, ["1"]);
}

#[tokio::test]
async fn a_batch_larger_than_the_window_comes_and_so_does_what_follows() {
    let world = world(1, 0).await;
    for size in [3000, 10, 3000, 10] {
        world.produce(entry(&"x".repeat(size))).await.unwrap();
    }
    let options = SubscribeOptions {
        window_bytes: 200,
        ..SubscribeOptions::from_earliest()
    };
    let mut consumer = world.client.subscribe("g", &["t"], options);
    let mut sizes = Vec::new();
    while sizes.len() < 4 {
        sizes.extend(values(&mut consumer).await.iter().map(String::len));
    }
    assert_eq!(sizes, [3000, 10, 3000, 10]);
}
