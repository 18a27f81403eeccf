//! Facts about frames: whatever comes, the right answer or the end.

use std::time::Duration;

use tidelog_broker_kafka::KafkaSettings;
use tidelog_kafka_codec::messages::{MetadataRequest, ProduceRequest};
use tokio::io::AsyncWriteExt as _;

use crate::world::{World, batch, from_t, soon, to_t};

#[tokio::test]
async fn a_request_may_come_byte_by_byte_and_many_at_once() {
    let (_world, mut client) = World::with_topic(1).await;
    client.stream.set_nodelay(true).unwrap();
    let (first, one) = client.frame(&to_t(0, batch(&["a"], None)), 9);
    let (second, two) = client.frame(&MetadataRequest::default(), 9);
    let bytes = [&first[..], &second].concat();
    for byte in &bytes {
        client.stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(client.receive::<ProduceRequest>(9).await.0, one);
    assert_eq!(client.receive::<MetadataRequest>(9).await.0, two);
    let mut sent = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..500 {
        let (frame, id) = client.frame(&MetadataRequest::default(), 9);
        sent.extend_from_slice(&frame);
        ids.push(id);
    }
    client.stream.write_all(&sent).await.unwrap();
    for id in ids {
        assert_eq!(client.receive::<MetadataRequest>(9).await.0, id);
    }
}

#[tokio::test]
async fn a_large_request_is_taken_and_one_over_the_limit_is_not_even_read() {
    let settings = KafkaSettings {
        request_bytes_max: 600_000,
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1, &[]).await;
    let mut client = world.client().await;
    let long = "x".repeat(500_000);
    let answer = client.produce(batch(&[&long], None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    let read = client.fetch(0).await;
    assert!(read.records.unwrap().len() > 500_000);
    client
        .stream
        .write_all(&600_001_i32.to_be_bytes())
        .await
        .unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn garbage_ends_the_connection_and_harms_nobody_else() {
    let (world, mut client) = World::with_topic(1).await;
    let whole = client.frame(&to_t(0, batch(&["a"], None)), 9).0;
    let mut short = whole.to_vec();
    short.truncate(40);
    short[..4].copy_from_slice(&36_i32.to_be_bytes());
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0],
        &[0, 0, 0, 12, 0, 3, 0, 9, 0, 0, 0, 1, 0x7f, 0xff, 0, 0],
        &short,
    ];
    for case in cases {
        let mut bad = world.client().await;
        bad.stream.write_all(case).await.unwrap();
        assert!(bad.is_closed().await, "{case:?}");
    }
    assert_eq!(client.produce(batch(&["a"], None)).await.base_offset, 0);
}

#[tokio::test]
async fn bytes_behind_a_request_are_ignored() {
    let (_world, mut client) = World::with_topic(1).await;
    let (frame, id) = client.frame(&MetadataRequest::default(), 13);
    let mut long = frame.to_vec();
    long.extend([0; 3]);
    let length = i32::try_from(long.len() - 4).unwrap();
    long[..4].copy_from_slice(&length.to_be_bytes());
    client.stream.write_all(&long).await.unwrap();
    assert_eq!(client.receive::<MetadataRequest>(13).await.0, id);
    assert_eq!(client.produce(batch(&["a"], None)).await.base_offset, 0);
}

#[tokio::test]
async fn every_cut_and_every_flipped_byte_of_a_request_is_survived() {
    let (world, mut client) = World::with_topic(1).await;
    let frame = client.frame(&from_t(0, Duration::ZERO), 12).0;
    for at in 4..frame.len() {
        let mut bad = world.client().await;
        let mut bytes = frame.to_vec();
        bytes[at] ^= 0xff;
        bad.stream.write_all(&bytes).await.unwrap();
        bad.stream.shutdown().await.unwrap();
        let mut cut = world.client().await;
        cut.stream.write_all(&frame[..at]).await.unwrap();
        drop((bad, cut));
    }
    assert_eq!(client.produce(batch(&["a"], None)).await.error_code, 0);
    world.stop.cancel();
    soon(world.serving).await.unwrap();
}

#[tokio::test]
async fn what_was_taken_is_answered_before_the_end_and_nothing_more_is_read() {
    let (world, mut client) = World::with_topic(1).await;
    client
        .send(&from_t(0, Duration::from_secs(1_000)), 12)
        .await;
    let mut idle = world.client().await;
    let mut other = world.client().await;
    other.produce(batch(&["a"], None)).await;
    let (_, response) = client
        .receive::<tidelog_kafka_codec::messages::FetchRequest>(12)
        .await;
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    client
        .send(&from_t(1, Duration::from_secs(1_000)), 12)
        .await;
    // The server has read a request that came later on another connection.
    other.produce(batch(&["b"], None)).await;
    client
        .receive::<tidelog_kafka_codec::messages::FetchRequest>(12)
        .await;
    client
        .send(&from_t(2, Duration::from_secs(1_000)), 12)
        .await;
    let other_answer = other.call(&MetadataRequest::default(), 9).await;
    assert_eq!(other_answer.brokers.len(), 1);
    world.stop.cancel();
    assert!(idle.is_closed().await);
    soon(world.serving).await.unwrap();
}
