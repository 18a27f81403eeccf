//! Facts about records without a key: a topic that is compacted takes none, and says which ones they were.

use bytes::Bytes;
use tidelog_format::batch::{BatchBuilder, Compression};
use tidelog_kafka_codec::messages::ProduceRequest;
use tidelog_kafka_codec::messages::produce_response::PartitionProduceResponse;
use tidelog_types::Timestamp;

use crate::world::{Client, World, name, to_t};

/// Of each record whether it has a key.
fn batch(codec: Compression, keys: &[bool]) -> Bytes {
    let mut builder = BatchBuilder::new(codec, 0);
    for has_key in keys {
        let key = has_key.then_some(&b"k"[..]);
        let time = Timestamp::from_millis(7);
        builder.append(time, key, Some(b"value"), &[]).unwrap();
    }
    builder.finish(None).unwrap().to_bytes()
}

async fn compacted(policy: &str) -> (World, Client) {
    let world = World::new().await;
    world.topic("t", 1, &[("cleanup.policy", policy)]).await;
    let client = world.client().await;
    (world, client)
}

async fn produce(client: &mut Client, bytes: Bytes, version: i16) -> PartitionProduceResponse {
    let request: ProduceRequest = to_t(0, bytes);
    let response = client.call(&request, version).await;
    response.responses[0].partition_responses[0].clone()
}

fn indexes(answer: &PartitionProduceResponse) -> Vec<i32> {
    let errors = answer.record_errors.iter();
    errors.map(|error| error.batch_index).collect()
}

#[tokio::test]
async fn records_without_a_key_are_refused_one_by_one_and_nothing_of_the_batch_is_taken() {
    for policy in ["compact", "compact,delete"] {
        let (_world, mut client) = compacted(policy).await;
        for codec in Compression::ALL {
            let bytes = batch(codec, &[true, false, true, false]);
            let answer = produce(&mut client, bytes, 9).await;
            assert_eq!(name(answer.error_code), "INVALID_RECORD", "{codec}");
            assert_eq!(indexes(&answer), [1, 3], "{codec}");
            assert!(answer.error_message.is_some());
        }
        let good = produce(&mut client, batch(Compression::Lz4, &[true; 3]), 9).await;
        assert_eq!((good.error_code, good.base_offset), (0, 0));
        assert!(indexes(&good).is_empty());
    }
}

#[tokio::test]
async fn versions_without_a_place_for_it_have_the_code_alone() {
    let (_world, mut client) = compacted("compact").await;
    for (version, count) in [(3, 0), (7, 0), (8, 1), (12, 1)] {
        let bytes = batch(Compression::None, &[false, true]);
        let answer = produce(&mut client, bytes, version).await;
        assert_eq!(name(answer.error_code), "INVALID_RECORD", "{version}");
        assert_eq!(indexes(&answer).len(), count, "{version}");
    }
}

#[tokio::test]
async fn other_topics_take_them_and_nobody_looks_at_their_records() {
    let (_world, mut client) = World::with_topic(1).await;
    let answer = produce(&mut client, batch(Compression::Zstd, &[false]), 9).await;
    assert_eq!(answer.error_code, 0);
    // Records that make no sense are the consumer's to complain of, but not where keys are looked at.
    let broken = || {
        let mut bytes = batch(Compression::None, &[true]).to_vec();
        bytes[61] = 1;
        let crc = tidelog_crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    let answer = produce(&mut client, broken(), 9).await;
    assert_eq!(answer.error_code, 0);
    let (_world, mut client) = compacted("compact").await;
    let answer = produce(&mut client, broken(), 9).await;
    assert_eq!(name(answer.error_code), "INVALID_RECORD");
    assert!(indexes(&answer).is_empty());
}
