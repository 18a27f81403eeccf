//! Facts about limits: of connections, of time, and of what is not taken.

use std::time::Duration;

use tidelog_broker_kafka::KafkaSettings;
use tidelog_kafka_codec::messages::MetadataRequest;
use tokio::io::AsyncWriteExt as _;

use crate::world::{World, batch, from_t, soon, to_t};

#[tokio::test]
async fn a_connection_too_many_is_closed_and_one_that_ends_leaves_its_place() {
    let settings = KafkaSettings {
        connections_max: 2,
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    let mut first = world.client().await;
    first.call(&MetadataRequest::default(), 9).await;
    let mut second = world.client().await;
    second.call(&MetadataRequest::default(), 9).await;
    assert!(world.client().await.is_closed().await);
    drop(first);
    soon(async {
        loop {
            let mut third = world.client().await;
            third.send(&MetadataRequest::default(), 9).await;
            if third.receive_frame().await.is_some() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_does_not_come_in_time_and_a_connection_without_any_are_closed() {
    let settings = KafkaSettings {
        request_timeout: Duration::from_millis(50),
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    for begun in [&[0][..], &[0, 0, 0, 100, 0]] {
        let mut slow = world.client().await;
        slow.stream.write_all(begun).await.unwrap();
        assert!(slow.is_closed().await);
    }
    let settings = KafkaSettings {
        idle_timeout: Duration::from_millis(50),
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    let mut idle = world.client().await;
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed_and_its_memory_is_the_next_ones() {
    let settings = KafkaSettings {
        stall_timeout: Duration::from_millis(200),
        answer_bytes: 1 << 20,
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1, &[]).await;
    let mut client = world.client().await;
    let long = "x".repeat(900_000);
    for _ in 0..4 {
        client.produce(batch(&[&long], None)).await;
    }
    let mut stuck = Vec::new();
    for _ in 0..3 {
        let mut reader = world.client().await;
        // More answers than the system's buffers take.
        for _ in 0..20 {
            reader.send(&from_t(0, Duration::ZERO), 12).await;
        }
        stuck.push(reader);
    }
    let read = soon(client.fetch(0)).await;
    assert!(read.records.unwrap().len() >= 900_000);
    world.stop.cancel();
    soon(world.serving).await.unwrap();
}

#[tokio::test]
async fn half_requests_keep_nobody_out() {
    let settings = KafkaSettings {
        intake_bytes: 2 << 20,
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1, &[]).await;
    let mut honest = world.client().await;
    let long = "x".repeat(900_000);
    let whole = honest.frame(&to_t(0, batch(&[&long], None)), 9).0;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut client = world.client().await;
        client.stream.write_all(&whole[..15_000]).await.unwrap();
        stalled.push(client);
    }
    // If they were given up one after another, two at a time, this would take most of a minute.
    let answer = soon(honest.produce(batch(&[&long], None))).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    // Those who go on are served as well, all at once.
    let mut late = Vec::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        client.stream.write_all(&whole[..15_000]).await.unwrap();
        late.push(client);
    }
    let rest = whole.slice(15_000..);
    let served = late.into_iter().map(|mut client| {
        let rest = rest.clone();
        async move {
            client.stream.write_all(&rest).await.unwrap();
            client.receive_frame().await
        }
    });
    let served = soon(futures::future::join_all(served)).await;
    assert!(served.iter().all(Option::is_some), "{served:?}");
}
