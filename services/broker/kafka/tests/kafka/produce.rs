//! Facts about producing.

use std::num::NonZeroU32;
use std::time::Duration;

use tidelog_broker_engine::AppendSettings;
use tidelog_broker_kafka::KafkaSettings;
use tidelog_format::batch::{Compression, ProducerStamp};
use tidelog_kafka_codec::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidelog_kafka_codec::messages::{InitProducerIdRequest, ProduceRequest};
use tidelog_types::{ProducerEpoch, ProducerId};

use crate::world::{World, batch, compressed, from_t, name, soon, to_t};

#[tokio::test]
async fn what_is_produced_is_read_byte_for_byte_with_its_offset() {
    let (_world, mut client) = World::with_topic(1).await;
    let sent = [
        compressed(&["a", "b"], None, Compression::None),
        compressed(&["c", "d", "e"], None, Compression::Zstd),
    ];
    let first = client.produce(sent[0].clone()).await;
    assert_eq!((first.error_code, first.base_offset), (0, 0));
    let second = client.produce(sent[1].clone()).await;
    assert_eq!((second.error_code, second.base_offset), (0, 2));
    let read = client.fetch(0).await;
    let mut expected = [sent[0].to_vec(), sent[1].to_vec()];
    for (batch, offset) in expected.iter_mut().zip([0_i64, 2]) {
        // The offset and the leader epoch, which are not in the checksum.
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        batch[12..16].copy_from_slice(&[0; 4]);
    }
    assert_eq!(read.records.unwrap().to_bytes(), expected.concat());
    assert_eq!((read.high_watermark, read.last_stable_offset), (5, 5));
    // From the middle of a batch, all of it.
    let read = client.fetch(3).await;
    assert_eq!(read.records.unwrap().to_bytes(), expected[1]);
}

#[tokio::test]
async fn each_partition_has_its_own_answer() {
    let (world, mut client) = World::with_topic(2).await;
    let data = |index, records: Option<bytes::Bytes>| PartitionProduceData {
        index,
        records: records.map(Into::into),
    };
    let topic = |name: &str, partition_data| TopicProduceData {
        name: name.into(),
        partition_data,
        ..TopicProduceData::default()
    };
    let mut damaged = batch(&["x"], None).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let mut old = batch(&["x"], None).to_vec();
    old[16] = 1;
    world
        .topic("small", 1, &[("max.message.bytes", "70")])
        .await;
    let long = "x".repeat(80);
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 20_000,
        topic_data: vec![
            topic(
                "t",
                vec![
                    data(0, Some(damaged.into())),
                    data(1, Some(batch(&["y"], None))),
                    data(2, Some(batch(&["y"], None))),
                    data(-1, Some(batch(&["y"], None))),
                    data(0, Some(old.into())),
                    data(0, None),
                ],
            ),
            topic("nowhere", vec![data(0, Some(batch(&["y"], None)))]),
            topic("no/name", vec![data(0, Some(batch(&["y"], None)))]),
            topic("small", vec![data(0, Some(batch(&[&long], None)))]),
        ],
        ..ProduceRequest::default()
    };
    let response = client.call(&request, 9).await;
    let answers = response.responses.iter().flat_map(|topic| {
        let partitions = topic.partition_responses.iter();
        partitions.map(|it| (it.index, name(it.error_code), it.base_offset))
    });
    let expected = [
        (0, "CORRUPT_MESSAGE", -1),
        (1, "NONE", 0),
        (2, "UNKNOWN_TOPIC_OR_PARTITION", -1),
        (-1, "UNKNOWN_TOPIC_OR_PARTITION", -1),
        (0, "INVALID_RECORD", -1),
        (0, "INVALID_RECORD", -1),
        (0, "UNKNOWN_TOPIC_OR_PARTITION", -1),
        (0, "INVALID_TOPIC_EXCEPTION", -1),
        (0, "MESSAGE_TOO_LARGE", -1),
    ];
    assert_eq!(answers.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_topic_is_found_by_its_id_and_another_id_is_unknown() {
    let (world, mut client) = World::with_topic(1).await;
    let topic = world.topic("u", 1, &[]).await;
    let mut request = to_t(0, batch(&["x"], None));
    request.topic_data[0].name = "".into();
    request.topic_data[0].topic_id = *topic.id.as_uuid();
    let response = client.call(&request, 13).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(response.responses[0].topic_id, *topic.id.as_uuid());
    request.topic_data[0].topic_id = tidelog_kafka_codec::Uuid::from_u128(5);
    let response = client.call(&request, 13).await;
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(name(answer.error_code), "UNKNOWN_TOPIC_ID");
}

#[tokio::test]
async fn an_idempotent_producer_is_checked_and_its_retry_has_the_first_offset() {
    let (_world, mut client) = World::with_topic(1).await;
    let request = InitProducerIdRequest {
        transactional_id: None,
        ..InitProducerIdRequest::default()
    };
    let producer = client.call(&request, 4).await;
    assert_eq!(producer.error_code, 0);
    let stamp = |base_sequence| ProducerStamp {
        id: ProducerId::new(producer.producer_id),
        epoch: ProducerEpoch::new(producer.producer_epoch),
        base_sequence,
        transactional: false,
    };
    let first = batch(&["a", "b"], Some(stamp(0)));
    assert_eq!(client.produce(first.clone()).await.base_offset, 0);
    let second = client.produce(batch(&["c"], Some(stamp(2)))).await;
    assert_eq!((second.error_code, second.base_offset), (0, 2));
    let again = client.produce(first).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    let gap = client.produce(batch(&["d"], Some(stamp(9)))).await;
    assert_eq!(name(gap.error_code), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert!(gap.error_message.is_some());
    assert_eq!(client.fetch(0).await.high_watermark, 3);
}

#[tokio::test]
async fn who_wants_no_answer_gets_none_and_is_cut_off_if_it_fails() {
    let (_world, mut client) = World::with_topic(1).await;
    let silent = |records| ProduceRequest {
        acks: 0,
        ..to_t(0, records)
    };
    client.send(&silent(batch(&["a"], None)), 9).await;
    // The next answer is that of the next request.
    let answer = client.produce(batch(&["b"], None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    client.send(&silent(b"junk".as_slice().into()), 9).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn other_numbers_of_acknowledgements_are_refused_and_zstd_needs_a_client_that_knows_it() {
    let (_world, mut client) = World::with_topic(1).await;
    let request = ProduceRequest {
        acks: 2,
        ..to_t(0, batch(&["a"], None))
    };
    let answer = client.call(&request, 9).await;
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(name(code), "INVALID_REQUIRED_ACKS");
    let zstd = to_t(0, compressed(&["a"], None, Compression::Zstd));
    let answer = client.call(&zstd, 6).await;
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(name(code), "UNSUPPORTED_COMPRESSION_TYPE");
    assert_eq!(client.fetch(0).await.high_watermark, 0);
}

#[tokio::test]
async fn log_append_time_is_told_and_stands_in_the_batch() {
    let (world, mut client) = World::with_topic(1).await;
    let config = [("message.timestamp.type", "LogAppendTime")];
    world.topic("timed", 1, &config).await;
    let mut request = to_t(0, batch(&["a"], None));
    request.topic_data[0].name = "timed".into();
    let response = client.call(&request, 9).await;
    let answer = &response.responses[0].partition_responses[0];
    assert!(answer.log_append_time_ms > 1_000_000_000_000);
    let plain = client.produce(batch(&["a"], None)).await;
    assert_eq!(plain.log_append_time_ms, -1);
}

#[tokio::test]
async fn requests_that_are_sent_without_waiting_are_answered_in_their_order() {
    let (_world, mut client) = World::with_topic(1).await;
    let mut sent = Vec::new();
    for at in 0..40 {
        let value = at.to_string();
        sent.push(client.send(&to_t(0, batch(&[&value], None)), 9).await);
        if at % 10 == 9 {
            // What reads behind them sees them.
            let id = client.send(&from_t(0, Duration::ZERO), 12).await;
            sent.push(-id);
        }
    }
    let mut offset = 0;
    for id in sent {
        if id < 0 {
            let (got, response) = client
                .receive::<tidelog_kafka_codec::messages::FetchRequest>(12)
                .await;
            assert_eq!(got, -id);
            assert_eq!(response.responses[0].partitions[0].high_watermark, offset);
            continue;
        }
        let (got, response) = soon(client.receive::<ProduceRequest>(9)).await;
        assert_eq!(got, id);
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
        offset += 1;
    }
}

/// A world in which a segment is open for so long, after the first.
async fn lingering(linger: Duration) -> World {
    let append = AppendSettings {
        linger,
        flush_rate: NonZeroU32::MIN,
        flush_burst: NonZeroU32::MIN,
        ..AppendSettings::default()
    };
    let world = World::with_engine(KafkaSettings::default(), append).await;
    world.topic("t", 1, &[]).await;
    world
}

#[tokio::test]
async fn requests_of_one_connection_do_not_wait_for_each_other_to_be_stored() {
    let linger = Duration::from_millis(400);
    let world = lingering(linger).await;
    let mut client = world.client().await;
    let began = std::time::Instant::now();
    let count = 30;
    for at in 0..count {
        let value = at.to_string();
        client.send(&to_t(0, batch(&[&value], None)), 9).await;
    }
    for offset in 0..count {
        let (_, response) = client.receive::<ProduceRequest>(9).await;
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
    assert!(began.elapsed() < linger * 5);
}

#[tokio::test]
async fn who_waits_for_all_replicas_waits_as_long_as_it_says_and_the_others_until_it_is_stored() {
    let world = lingering(Duration::from_millis(300)).await;
    let mut client = world.client().await;
    // The first one closes its segment at once, and nothing else does for a second.
    client.produce(batch(&["a"], None)).await;
    for (acks, expected) in [(-1, "REQUEST_TIMED_OUT"), (1, "NONE")] {
        let request = ProduceRequest {
            acks,
            timeout_ms: 1,
            ..to_t(0, batch(&["b"], None))
        };
        let response = client.call(&request, 9).await;
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(name(answer.error_code), expected, "{acks}");
    }
}
