//! Facts about `Produce` and `ProduceStream`.

use std::collections::BTreeMap;

use tidelog_api::v1;
use tidelog_broker_grpc::GrpcSettings;
use tidelog_client::{ProducerOptions, SendRecord, partition_for_key};
use tidelog_format::batch::ProducerStamp;
use tidelog_types::{ProducerEpoch, ProducerId};
use tokio_stream::StreamExt as _;

use crate::world::{World, batch, entry, entry_of, ready, record, soon};

fn stamp(id: i64, base_sequence: i32) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(0),
        base_sequence,
        transactional: false,
    }
}

#[tokio::test]
async fn records_without_a_partition_go_where_their_keys_say_and_every_one_is_accounted_for() {
    let world = World::with_topic(12).await;
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let mut sent: Vec<_> = keys.iter().map(|key| record(Some(key), key)).collect();
    sent.push(record(None, "no key"));
    let results = world
        .client
        .log()
        .produce(vec![entry_of(sent)])
        .await
        .unwrap();
    let mut places = BTreeMap::new();
    for batch in &results[0].batches {
        let Some(v1::batch_result::Outcome::Appended(appended)) = &batch.outcome else {
            panic!("{batch:?}");
        };
        assert_eq!(
            appended.next_offset - appended.base_offset,
            batch.record_indexes.len() as u64
        );
        for index in &batch.record_indexes {
            assert_eq!(places.insert(*index, batch.partition), None);
        }
    }
    assert_eq!(places.len(), 51);
    for (index, key) in (0..).zip(&keys) {
        assert_eq!(places[&index], partition_for_key(key.as_bytes(), 12));
    }
    let values = world.values(places[&7]).await;
    assert!(values.contains(&"key-7".to_owned()), "{values:?}");
}

#[tokio::test]
async fn a_damaged_batch_is_refused_and_its_neighbours_are_not() {
    let world = World::with_topic(1).await;
    let good = batch(&["good"], None).to_bytes();
    let mut bad = good.to_vec();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let entries = vec![ready(good.clone()), ready(bad), ready(good)];
    let results = world.client.log().produce(entries).await.unwrap();
    let codes = results
        .iter()
        .map(|result| match &result.batches[0].outcome {
            Some(v1::batch_result::Outcome::Error(error)) => Some(error.code()),
            _ => None,
        });
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes, [None, Some(v1::ErrorCode::CorruptBatch), None]);
    assert_eq!(world.values(0).await, ["good", "good"]);
}

/// Every one of the entries is refused with its code, for good, and leaves nothing behind.
async fn refused(
    world: &World,
    cases: impl IntoIterator<Item = (v1::ProduceEntry, v1::ErrorCode)>,
) {
    for (entry, code) in cases {
        let error = world.produce(entry).await.unwrap_err();
        assert_eq!(error.code(), code, "{}", error.message);
        assert!(
            !error.retriable && !error.outcome_unknown,
            "{}",
            error.message
        );
    }
    assert_eq!(world.values(0).await, [""; 0]);
}

#[tokio::test]
async fn entries_whose_fields_contradict_each_other_are_refused() {
    let world = World::with_topic(2).await;
    let ready = || ready(batch(&["x"], None).to_bytes());
    let epoch = v1::ProducerSequence {
        producer_epoch: 40_000,
        ..Default::default()
    };
    let long = Some("x".repeat(37));
    let entries = [
        v1::ProduceEntry {
            data: None,
            ..entry("x")
        },
        v1::ProduceEntry {
            partition: None,
            ..ready()
        },
        v1::ProduceEntry {
            compression: v1::Compression::Zstd.into(),
            ..ready()
        },
        v1::ProduceEntry {
            compression: 77,
            ..entry("x")
        },
        v1::ProduceEntry {
            partition: None,
            expected_next_offset: Some(0),
            ..entry("x")
        },
        v1::ProduceEntry {
            partition: None,
            set_fencing_token: Some("x".into()),
            ..entry("x")
        },
        v1::ProduceEntry {
            fencing_token: long.clone(),
            ..entry("x")
        },
        v1::ProduceEntry {
            set_fencing_token: long,
            ..entry("x")
        },
        v1::ProduceEntry {
            producer: Some(epoch),
            ..entry("x")
        },
        entry_of(Vec::new()),
    ];
    refused(
        &world,
        entries.map(|entry| (entry, v1::ErrorCode::InvalidArgument)),
    )
    .await;
}

#[tokio::test]
async fn entries_that_no_topic_takes_are_refused_with_the_reason() {
    let world = World::with_topic(2).await;
    let bytes = batch(&["x"], None).to_bytes();
    let large = "x".repeat(1_100_000);
    let other = v1::ProduceEntry {
        topic: "other".to_owned(),
        ..entry("x")
    };
    let unnamed = v1::ProduceEntry {
        topic: "a/b".to_owned(),
        ..entry("x")
    };
    let outside = v1::ProduceEntry {
        partition: Some(2),
        ..entry("x")
    };
    let cases = [
        (ready(bytes::Bytes::new()), v1::ErrorCode::InvalidArgument),
        (ready(bytes.slice(..40)), v1::ErrorCode::CorruptBatch),
        (
            ready([&bytes[..], &bytes[..40]].concat()),
            v1::ErrorCode::CorruptBatch,
        ),
        (other, v1::ErrorCode::UnknownTopic),
        (unnamed, v1::ErrorCode::InvalidTopicName),
        (outside, v1::ErrorCode::UnknownPartition),
        (entry(&large), v1::ErrorCode::BatchTooLarge),
        (
            ready(batch(&[&large], None).to_bytes()),
            v1::ErrorCode::BatchTooLarge,
        ),
    ];
    refused(&world, cases).await;
}

#[tokio::test]
async fn a_conditional_append_happens_at_the_expected_offset_or_tells_the_actual_one() {
    let world = World::with_topic(1).await;
    let at = |offset, value| v1::ProduceEntry {
        expected_next_offset: Some(offset),
        ..entry(value)
    };
    assert_eq!(world.produce(at(0, "a")).await.unwrap().base_offset, 0);
    let error = world.produce(at(0, "b")).await.unwrap_err();
    assert_eq!(error.code(), v1::ErrorCode::OffsetMismatch);
    assert_eq!(error.metadata["next_offset"], "1");
    assert_eq!(world.produce(at(1, "b")).await.unwrap().base_offset, 1);
    assert_eq!(world.values(0).await, ["a", "b"]);
}

#[tokio::test]
async fn a_fencing_token_keeps_out_who_does_not_have_it() {
    let world = World::with_topic(1).await;
    let command = v1::ProduceEntry {
        data: None,
        fencing_token: Some(String::new()),
        set_fencing_token: Some("one".to_owned()),
        ..entry("")
    };
    world.produce(command.clone()).await.unwrap();
    let with = |token: &str, value| v1::ProduceEntry {
        fencing_token: Some(token.to_owned()),
        ..entry(value)
    };
    world.produce(with("one", "a")).await.unwrap();
    let error = world.produce(with("two", "b")).await.unwrap_err();
    assert_eq!(error.code(), v1::ErrorCode::FencingTokenMismatch);
    assert_eq!(error.metadata["fencing_token"], "one");
    let error = world.produce(command).await.unwrap_err();
    assert_eq!(error.code(), v1::ErrorCode::FencingTokenMismatch);
    let takeover = v1::ProduceEntry {
        set_fencing_token: Some("two".to_owned()),
        ..with("one", "b")
    };
    world.produce(takeover).await.unwrap();
    world.produce(with("one", "c")).await.unwrap_err();
    world.produce(with("two", "c")).await.unwrap();
    assert_eq!(world.values(0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_repeated_batch_is_a_duplicate_with_its_first_offset_and_a_gap_is_refused() {
    let world = World::with_topic(1).await;
    let (id, _) = world.client.log().init_producer().await.unwrap();
    let sequence = |sequence| ready(batch(&["x", "y"], Some(stamp(id.get(), sequence))).to_bytes());
    let first = world.produce(sequence(0)).await.unwrap();
    assert_eq!((first.base_offset, first.duplicate), (0, false));
    world.produce(sequence(2)).await.unwrap();
    let again = world.produce(sequence(0)).await.unwrap();
    assert_eq!((again.base_offset, again.duplicate), (0, true));
    let error = world.produce(sequence(6)).await.unwrap_err();
    assert_eq!(error.code(), v1::ErrorCode::OutOfOrderSequence);
    let structured = v1::ProduceEntry {
        producer: Some(v1::ProducerSequence {
            producer_id: id.get(),
            producer_epoch: 0,
            base_sequence: 4,
        }),
        ..entry("z")
    };
    assert_eq!(
        world.produce(structured.clone()).await.unwrap().base_offset,
        4
    );
    assert!(world.produce(structured).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_stream_goes_on_when_far_more_is_sent_than_may_be_in_flight() {
    let settings = GrpcSettings {
        stream_bytes_in_flight: 64 * 1024,
        ..GrpcSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 4).await;
    let big = "x".repeat(16 * 1024);
    let messages = (0..200_u64).map(move |number| v1::ProduceStreamRequest {
        entries: vec![v1::ProduceEntry {
            correlation_id: number,
            partition: Some(u32::try_from(number % 4).unwrap()),
            ..entry(&big)
        }],
        ..v1::ProduceStreamRequest::default()
    });
    let mut raw = world.raw().await;
    let mut answers = raw
        .produce_stream(tokio_stream::iter(messages))
        .await
        .unwrap()
        .into_inner();
    let mut offsets = vec![Vec::new(); 4];
    while let Some(answer) = soon(answers.next()).await {
        for result in answer.unwrap().results {
            let batch = &result.batches[0];
            assert_eq!(u64::from(batch.partition), result.correlation_id % 4);
            match &batch.outcome {
                Some(v1::batch_result::Outcome::Appended(appended)) => {
                    offsets[batch.partition as usize].push(appended.base_offset);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let dense: Vec<u64> = (0..50).collect();
    assert!(
        offsets.iter().all(|partition| *partition == dense),
        "{offsets:?}"
    );
}

#[tokio::test]
async fn a_stream_that_is_cut_in_the_middle_leaves_what_was_taken_and_harms_nobody() {
    let world = World::with_topic(1).await;
    let mut raw = world.raw().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = raw.produce_stream(requests).await.unwrap().into_inner();
    let message = v1::ProduceStreamRequest {
        entries: vec![entry("a")],
        ..v1::ProduceStreamRequest::default()
    };
    sender.send(message.clone()).await.unwrap();
    answers.next().await.unwrap().unwrap();
    sender.send(message).await.unwrap();
    drop((answers, sender));
    world.produce(entry("b")).await.unwrap();
    let values = world.values(0).await;
    assert!(
        values == ["a", "b"] || values == ["a", "a", "b"],
        "{values:?}"
    );
}

#[tokio::test]
async fn a_topic_that_is_compacted_takes_no_records_without_a_key() {
    let world = World::new().await;
    let config = [("cleanup.policy", "compact")];
    let admin = world.client.admin();
    admin.create_topic("t", 1, config).await.unwrap();
    let keyed = || record(Some("k"), "v");
    let records = vec![keyed(), record(None, "v"), keyed(), record(None, "v")];
    let on_one = v1::ProduceEntry {
        partition: Some(0),
        ..entry_of(records.clone())
    };
    let ready = ready(batch(&["x", "y"], None).to_bytes());
    let cases = [
        (entry_of(records), "1,3", None),
        (on_one, "1,3", None),
        (ready, "0,1", Some("0")),
    ];
    for (entry, indexes, batch) in cases {
        let error = world.produce(entry).await.unwrap_err();
        assert_eq!(error.code(), v1::ErrorCode::InvalidRecord);
        assert!(!error.retriable && !error.outcome_unknown);
        assert_eq!(error.metadata["record_indexes"], indexes);
        let at = error.metadata.get("batch_index").map(String::as_str);
        assert_eq!(at, batch);
    }
    assert_eq!(world.values(0).await, [""; 0]);
    let taken = world.produce(entry_of(vec![keyed(), keyed()])).await;
    assert_eq!(taken.unwrap().next_offset, 2);
    // Who produces one by one hears the same.
    let producer = world.client.producer("t", ProducerOptions::default()).await;
    let producer = producer.unwrap();
    let sent = producer.send(SendRecord::value(b"v")).await.unwrap();
    let error = sent.wait().await.unwrap_err();
    assert!(error.to_string().contains("without a key"), "{error}");
    let sent = producer.send(SendRecord::keyed(b"k", b"v")).await.unwrap();
    assert_eq!(sent.wait().await.unwrap().offset, 2);
}
