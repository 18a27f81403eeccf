//! Facts about `Fetch`, `Tail`, `ListOffsets` and `DeleteRecords`.

use std::time::Duration;

use tidelog_api::v1;
use tidelog_client::Compression;
use tidelog_format::batch::{Attributes, BatchBuf, BatchRules};
use tokio_stream::StreamExt as _;

use crate::world::{World, batch, entry, ready, records, soon, value};

fn partition(topic: &str, partition: u32, offset: u64) -> v1::FetchPartition {
    v1::FetchPartition {
        topic: topic.to_owned(),
        partition,
        offset,
        max_bytes: 0,
    }
}

fn follow() -> v1::TailRequest {
    v1::TailRequest {
        topic: "t".to_owned(),
        ..v1::TailRequest::default()
    }
}

#[tokio::test]
async fn ready_batches_come_back_byte_by_byte_but_for_their_offsets() {
    let world = World::with_topic(1).await;
    world.produce(entry("first")).await.unwrap();
    let sent = batch(&["a", "b"], None);
    world.produce(ready(sent.to_bytes())).await.unwrap();
    let data = world.fetch(0, 2, v1::RecordFormat::Batches).await;
    let Some(v1::partition_data::Data::Batches(bytes)) = data.data else {
        panic!("{data:?}")
    };
    let (read, rest) = BatchBuf::parse(bytes, &BatchRules::stored()).unwrap();
    assert!(rest.is_empty());
    assert_eq!(read.header().base_offset, 1);
    assert_eq!(read.header().crc, sent.header().crc);
    assert_eq!(read.body(), sent.body());
    let data = world.fetch(0, 2, v1::RecordFormat::Records).await;
    assert_eq!(records(&data).iter().map(value).collect::<Vec<_>>(), ["b"]);
    assert_eq!(
        (data.next_offset, data.high_watermark, data.log_start_offset),
        (3, 3, 0)
    );
}

#[tokio::test]
async fn the_error_of_one_partition_fails_no_other() {
    let world = World::with_topic(2).await;
    world.produce(entry("a")).await.unwrap();
    let request = v1::FetchRequest {
        partitions: vec![
            partition("nowhere", 0, 0),
            partition("t", 0, 0),
            partition("t", 7, 0),
            partition("t", 1, 5),
        ],
        max_wait: Some(Duration::from_secs(30).try_into().unwrap()),
        ..v1::FetchRequest::default()
    };
    let found = world.client.log().fetch(request).await.unwrap();
    let codes: Vec<_> = found
        .iter()
        .map(|data| data.error.as_ref().map(v1::Error::code))
        .collect();
    assert_eq!(
        codes,
        [
            Some(v1::ErrorCode::UnknownTopic),
            None,
            Some(v1::ErrorCode::UnknownPartition),
            Some(v1::ErrorCode::OffsetOutOfRange),
        ]
    );
    assert_eq!(records(&found[1]).len(), 1);
    let range = &found[3].error.as_ref().unwrap().metadata;
    assert_eq!(
        (&*range["log_start_offset"], &*range["high_watermark"]),
        ("0", "0")
    );
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_is_woken_by_them() {
    let world = World::with_topic(1).await;
    let request = v1::FetchRequest {
        partitions: vec![partition("t", 0, 0)],
        max_wait: Some(Duration::from_secs(20).try_into().unwrap()),
        ..v1::FetchRequest::default()
    };
    let log = world.client.log();
    let (found, produced) = tokio::join!(log.fetch(request), world.produce(entry("a")));
    produced.unwrap();
    assert_eq!(records(&found.unwrap()[0]).len(), 1);
}

#[tokio::test]
async fn requests_to_read_that_break_a_rule_are_refused() {
    let world = World::with_topic(1).await;
    let log = world.client.log();
    let twice = vec![partition("t", 0, 0), partition("t", 0, 1)];
    for partitions in [Vec::new(), twice] {
        let request = v1::FetchRequest {
            partitions,
            ..v1::FetchRequest::default()
        };
        let error = log.fetch(request).await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(tidelog_client::ErrorCode::InvalidArgument),
            "{error}"
        );
    }
    let mut raw = world.raw().await;
    let offset = |partition| v1::PartitionOffset {
        partition,
        offset: 0,
    };
    for request in [
        v1::TailRequest {
            partitions: vec![0, 0],
            ..follow()
        },
        v1::TailRequest {
            offsets: vec![offset(0), offset(0)],
            ..follow()
        },
        v1::TailRequest {
            offsets: vec![offset(1)],
            ..follow()
        },
        v1::TailRequest {
            record_format: 9,
            ..follow()
        },
        v1::TailRequest {
            token: vec![1, 2, 3].into(),
            ..follow()
        },
    ] {
        let status = raw.tail(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{request:?}");
    }
    let request = v1::TailRequest {
        partitions: vec![1],
        ..follow()
    };
    assert_eq!(
        raw.tail(request).await.unwrap_err().code(),
        tonic::Code::NotFound
    );
}

#[tokio::test]
async fn a_tail_names_where_it_begins_and_follows_what_comes() {
    let world = World::with_topic(2).await;
    world.produce(entry("before")).await.unwrap();
    let mut raw = world.raw().await;
    let mut answers = raw.tail(follow()).await.unwrap().into_inner();
    let first = answers.next().await.unwrap().unwrap();
    let starts: Vec<_> = first
        .partitions
        .iter()
        .map(|data| {
            (
                data.partition,
                data.next_offset,
                data.high_watermark,
                data.data.is_some(),
            )
        })
        .collect();
    assert_eq!(starts, [(0, 1, 1, false), (1, 0, 0, false)]);
    for number in 0..3 {
        let sent = number.to_string();
        world.produce(entry(&sent)).await.unwrap();
        let next = soon(answers.next()).await.unwrap().unwrap();
        assert_eq!(
            records(&next.partitions[0])
                .iter()
                .map(value)
                .collect::<Vec<_>>(),
            [sent]
        );
    }
}

#[tokio::test]
async fn a_tail_until_the_end_ends_there() {
    let world = World::with_topic(3).await;
    for value in ["a", "b", "c"] {
        world.produce(entry(value)).await.unwrap();
    }
    let request = v1::TailRequest {
        start: Some(v1::tail_request::Start::Offset(0)),
        offsets: vec![v1::PartitionOffset {
            partition: 0,
            offset: 1,
        }],
        until_end: true,
        ..follow()
    };
    let mut raw = world.raw().await;
    let answers = raw.tail(request).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    let read: Vec<_> = answers
        .iter()
        .flat_map(|answer| &answer.partitions)
        .flat_map(records)
        .collect();
    assert_eq!(read.iter().map(value).collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn offsets_are_found_by_position_and_by_time() {
    let world = World::with_topic(1).await;
    world
        .produce(ready(batch(&["a", "b", "c"], None).to_bytes()))
        .await
        .unwrap();
    world
        .produce(ready(batch(&["d"], None).to_bytes()))
        .await
        .unwrap();
    let ask = |query| v1::ListOffsetsPartition {
        topic: "t".to_owned(),
        partition: 0,
        query: Some(query),
    };
    let position = |position: v1::OffsetPosition| {
        ask(v1::list_offsets_partition::Query::Position(position.into()))
    };
    let time = |millis| ask(v1::list_offsets_partition::Query::TimestampMs(millis));
    let asked = vec![
        position(v1::OffsetPosition::Earliest),
        position(v1::OffsetPosition::Latest),
        position(v1::OffsetPosition::MaxTimestamp),
        time(0),
        time(101),
        time(103),
    ];
    let found = world.client.log().list_offsets(asked).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|found| (found.offset, found.timestamp_ms))
        .collect();
    assert_eq!(
        found,
        [
            (Some(0), None),
            (Some(4), None),
            (Some(2), Some(102)),
            (Some(0), Some(100)),
            (Some(1), Some(101)),
            (None, None),
        ]
    );
    let missing = v1::ListOffsetsPartition {
        query: None,
        ..time(0)
    };
    let found = world
        .client
        .log()
        .list_offsets(vec![missing])
        .await
        .unwrap();
    assert_eq!(
        found[0].error.as_ref().unwrap().code(),
        v1::ErrorCode::InvalidArgument
    );
}

#[tokio::test]
async fn deleted_records_cannot_be_read_and_the_future_cannot_be_deleted() {
    let world = World::with_topic(1).await;
    for value in ["a", "b", "c"] {
        world.produce(entry(value)).await.unwrap();
    }
    let log = world.client.log();
    let before = |before_offset| {
        vec![v1::DeleteRecordsPartition {
            topic: "t".to_owned(),
            partition: 0,
            before_offset,
        }]
    };
    let deleted = log.delete_records(before(Some(2))).await.unwrap();
    assert_eq!((deleted[0].log_start_offset, &deleted[0].error), (2, &None));
    let error = world
        .fetch(0, 1, v1::RecordFormat::Records)
        .await
        .error
        .unwrap();
    assert_eq!(error.code(), v1::ErrorCode::OffsetOutOfRange);
    assert_eq!(error.metadata["log_start_offset"], "2");
    let data = world.fetch(0, 2, v1::RecordFormat::Records).await;
    assert_eq!(records(&data).iter().map(value).collect::<Vec<_>>(), ["c"]);
    let error = log
        .delete_records(before(Some(4)))
        .await
        .unwrap()
        .pop()
        .unwrap()
        .error
        .unwrap();
    assert_eq!(error.code(), v1::ErrorCode::OffsetOutOfRange);
    let deleted = log.delete_records(before(None)).await.unwrap();
    assert_eq!(deleted[0].log_start_offset, 3);
}

#[tokio::test]
async fn what_a_producer_compressed_wrongly_can_be_passed_over() {
    let world = World::with_topic(1).await;
    let mut bytes = batch(&["not zstd at all"], None).to_bytes().to_vec();
    bytes[21..23].copy_from_slice(&Attributes::new(Compression::Zstd).bits().to_be_bytes());
    let crc = tidelog_crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    world.produce(entry("before")).await.unwrap();
    world.produce(ready(bytes)).await.unwrap();
    world.produce(entry("after")).await.unwrap();
    let data = world.fetch(0, 0, v1::RecordFormat::Records).await;
    assert_eq!((records(&data).len(), data.next_offset), (1, 1));
    let error = world
        .fetch(0, 1, v1::RecordFormat::Records)
        .await
        .error
        .unwrap();
    assert_eq!(error.code(), v1::ErrorCode::CorruptBatch);
    assert!(
        error.message.contains("go on from offset `2`"),
        "{}",
        error.message
    );
    let data = world.fetch(0, 2, v1::RecordFormat::Records).await;
    assert_eq!(
        records(&data).iter().map(value).collect::<Vec<_>>(),
        ["after"]
    );
    let data = world.fetch(0, 1, v1::RecordFormat::Batches).await;
    assert!(data.error.is_none() && data.data.is_some());
}
