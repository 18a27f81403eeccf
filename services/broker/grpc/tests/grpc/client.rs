//! Facts about the Rust client over a whole broker.

use tidelog_client::{
    Compression, ConsumerOptions, ProducerOptions, SendRecord, Start, partition_for_key,
};
use tidelog_types::Timestamp;

use crate::world::{World, batch, ready};

#[tokio::test]
async fn the_client_reads_what_it_wrote_keyed_and_compressed_over_twelve_partitions() {
    let world = World::with_topic(12).await;
    for compression in Compression::ALL {
        let options = ProducerOptions {
            compression,
            batch_bytes: 4096,
            ..ProducerOptions::default()
        };
        let producer = world.client.producer("t", options).await.unwrap();
        for number in 0..2000_u32 {
            let key = (number % 37).to_be_bytes();
            let value = number.to_be_bytes();
            producer
                .send(SendRecord::keyed(&key, &value))
                .await
                .unwrap();
        }
        producer.close().await.unwrap();
    }
    let mut consumer = world.client.consumer("t", ConsumerOptions::all_until_end());
    let mut last = [0; 12];
    let mut count = 0;
    while let Some(chunk) = consumer.next().await.unwrap() {
        for record in chunk.records() {
            let record = record.unwrap();
            let key = record.key.unwrap();
            assert_eq!(chunk.partition, partition_for_key(&key, 12));
            let next = &mut last[chunk.partition as usize];
            assert_eq!(record.offset.get(), *next);
            *next += 1;
            count += 1;
        }
    }
    assert_eq!(count, 5 * 2000);
}

#[tokio::test]
async fn the_client_follows_from_a_time_and_hears_of_a_partition_that_cannot_be_read() {
    let world = World::with_topic(2).await;
    world
        .produce(ready(batch(&["a", "b", "c"], None).to_bytes()))
        .await
        .unwrap();
    let options = ConsumerOptions {
        start: Start::Timestamp(Timestamp::from_millis(102)),
        ..ConsumerOptions::default()
    };
    let mut consumer = world.client.consumer("t", options);
    consumer.begin().await.unwrap();
    assert_eq!(
        consumer.positions().into_iter().collect::<Vec<_>>(),
        [(0, 2), (1, 0)]
    );
    let chunk = consumer.next().await.unwrap().unwrap();
    let values: Vec<_> = chunk
        .records()
        .map(|record| record.unwrap().value.unwrap())
        .collect();
    assert_eq!(values, ["c"]);

    let options = ConsumerOptions {
        start: Start::Offset(9),
        ..ConsumerOptions::default()
    };
    let mut consumer = world.client.consumer("t", options);
    for _ in 0..2 {
        let error = consumer.next().await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(tidelog_client::ErrorCode::OffsetOutOfRange),
            "{error}"
        );
    }
    assert!(
        consumer.next().await.unwrap().is_none(),
        "no partition is left"
    );
}
