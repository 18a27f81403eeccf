//! What clients read of transactions, which producers of Kafka's protocol write.

use std::sync::Arc;

use tidelog_api::v1;
use tidelog_broker_engine::Append;
use tidelog_client::consumer::Isolation;
use tidelog_client::{ConsumerOptions, Start};
use tidelog_format::batch::{BatchView, ProducerStamp};
use tidelog_metadata_api::{
    Decision, ProducerIdentity, TopicInfo, TopicSelector, TransactionMarker, TransactionNumber,
};
use tidelog_types::{PartitionIndex, TopicName, TopicPartition};
use tokio_stream::StreamExt as _;

use Decision::{Abort, Commit};
use v1::Isolation::{Committed, Uncommitted};

use crate::world::{World, batch, entry, ready, records, soon, value};

/// A producer with transactions in partition 0 of `t`.
struct Writer<'a> {
    world: &'a World,
    topic: Arc<TopicInfo>,
    producer: ProducerIdentity,
    sequence: i32,
    number: TransactionNumber,
}

impl<'a> Writer<'a> {
    async fn new(world: &'a World) -> Self {
        let name = TopicSelector::Name(TopicName::new("t").unwrap());
        let topic = world.engine.catalogue().topic(&name).await.unwrap();
        Self {
            world,
            topic,
            producer: world.engine.init_producer().await.unwrap(),
            sequence: 0,
            number: TransactionNumber(1),
        }
    }

    fn stamp(&self) -> ProducerStamp {
        ProducerStamp {
            id: self.producer.id,
            epoch: self.producer.epoch,
            base_sequence: self.sequence,
            transactional: true,
        }
    }

    async fn write(&mut self, values: &[&str]) {
        let batch = batch(values, Some(self.stamp()));
        let hold = self.world.engine.reserve(u64::from(batch.size())).await;
        let mut append = Append {
            topic: Arc::clone(&self.topic),
            partition: PartitionIndex::new(0),
            batch,
            condition: tidelog_metadata_api::BatchCondition::default(),
            order: None,
        };
        append.condition.transaction = Some(self.number);
        let answer = self.world.engine.append(append, Arc::new(hold)).unwrap();
        answer.await.unwrap().unwrap();
        self.sequence += i32::try_from(values.len()).unwrap();
    }

    async fn end(&mut self, decision: Decision) {
        let marker = TransactionMarker {
            partition: TopicPartition::new(self.topic.number, PartitionIndex::new(0)),
            producer: self.producer,
            number: Some(self.number),
            coordinator_epoch: 1,
            decision,
        };
        let ended = self.world.log.end_transactions(vec![marker]).await;
        assert_eq!(ended, [Ok(())]);
        self.number.0 += 1;
    }
}

/// Offsets 0 `a`, 1 `b` and 2 a marker of a transaction that was aborted, 3 `c`, 4 `d` of one that is open.
async fn world() -> World {
    let world = World::with_topic(1).await;
    let mut bad = Writer::new(&world).await;
    bad.write(&["a", "b"]).await;
    bad.end(Abort).await;
    world.produce(entry("c")).await.unwrap();
    let mut open = Writer::new(&world).await;
    open.write(&["d"]).await;
    world
}

async fn fetch(
    world: &World,
    offset: u64,
    isolation: v1::Isolation,
    format: v1::RecordFormat,
) -> v1::PartitionData {
    let request = v1::FetchRequest {
        partitions: vec![v1::FetchPartition {
            topic: "t".to_owned(),
            partition: 0,
            offset,
            max_bytes: 0,
        }],
        record_format: format.into(),
        isolation: isolation.into(),
        ..v1::FetchRequest::default()
    };
    let mut found = world.client.log().fetch(request).await.unwrap();
    found.pop().unwrap()
}

fn values(data: &v1::PartitionData) -> Vec<String> {
    records(data).iter().map(value).collect()
}

fn bases(data: &v1::PartitionData) -> Vec<i64> {
    let Some(v1::partition_data::Data::Batches(batches)) = data.data.clone() else {
        return Vec::new();
    };
    let headers = BatchView::all(batches).map(|batch| batch.unwrap().header().base_offset);
    headers.collect()
}

#[tokio::test]
async fn a_read_hands_out_what_is_committed_unless_it_asks_for_all() {
    let world = world().await;
    for isolation in [v1::Isolation::Unspecified, Committed] {
        let data = fetch(&world, 0, isolation, v1::RecordFormat::Records).await;
        assert_eq!(values(&data), ["c"]);
        assert_eq!((data.next_offset, data.high_watermark), (4, 5));
        assert_eq!(data.last_stable_offset, Some(4));
        let data = fetch(&world, 0, isolation, v1::RecordFormat::Batches).await;
        assert_eq!((bases(&data), data.next_offset), (vec![3], 4));
    }
    let data = fetch(&world, 0, Uncommitted, v1::RecordFormat::Records).await;
    assert_eq!(values(&data), ["a", "b", "c", "d"]);
    assert_eq!(data.next_offset, 5);
    let data = fetch(&world, 0, Uncommitted, v1::RecordFormat::Batches).await;
    assert_eq!(bases(&data), [0, 3, 4], "a marker is no record");
    let request = v1::FetchRequest {
        isolation: 9,
        partitions: vec![v1::FetchPartition {
            topic: "t".to_owned(),
            ..v1::FetchPartition::default()
        }],
        ..v1::FetchRequest::default()
    };
    let error = world.client.log().fetch(request).await.unwrap_err();
    let code = error.code();
    assert_eq!(code, Some(tidelog_client::ErrorCode::InvalidArgument));
}

#[tokio::test]
async fn reading_goes_on_behind_what_is_not_handed_out_and_not_behind_what_is_open() {
    let world = World::with_topic(1).await;
    let mut bad = Writer::new(&world).await;
    bad.write(&["a", "b"]).await;
    for format in [v1::RecordFormat::Records, v1::RecordFormat::Batches] {
        let data = fetch(&world, 0, Committed, format).await;
        assert_eq!((data.next_offset, &data.data), (0, &None));
    }
    bad.end(Abort).await;
    for format in [v1::RecordFormat::Records, v1::RecordFormat::Batches] {
        let data = fetch(&world, 0, Committed, format).await;
        assert_eq!((data.next_offset, &data.data), (3, &None));
        assert_eq!(data.error, None);
    }
}

#[tokio::test]
async fn a_tail_follows_what_is_committed_and_tells_what_it_passes_over() {
    let world = World::with_topic(1).await;
    let mut writer = Writer::new(&world).await;
    writer.write(&["a"]).await;
    let mut raw = world.raw().await;
    let request = v1::TailRequest {
        topic: "t".to_owned(),
        ..v1::TailRequest::default()
    };
    let mut answers = raw.tail(request).await.unwrap().into_inner();
    let first = answers.next().await.unwrap().unwrap();
    let begin = &first.partitions[0];
    assert_eq!((begin.next_offset, begin.high_watermark), (0, 1));
    assert_eq!(begin.last_stable_offset, Some(0));
    writer.end(Commit).await;
    let mut read = Vec::new();
    let mut next_offset = 0;
    let mut follow = async |until| {
        while next_offset < until {
            let answer = soon(answers.next()).await.unwrap().unwrap();
            let data = &answer.partitions[0];
            assert_eq!(data.error, None);
            read.extend(values(data));
            next_offset = data.next_offset;
        }
        (read.clone(), next_offset)
    };
    assert_eq!(follow(2).await, (vec!["a".to_owned()], 2));
    writer.write(&["b"]).await;
    writer.end(Abort).await;
    assert_eq!(follow(4).await, (vec!["a".to_owned()], 4));
    world.produce(entry("c")).await.unwrap();
    let all = vec!["a".to_owned(), "c".to_owned()];
    assert_eq!(follow(5).await, (all, 5));
}

#[tokio::test]
async fn a_tail_until_the_end_ends_where_a_transaction_is_open() {
    let world = world().await;
    let mut raw = world.raw().await;
    let tail = |isolation: v1::Isolation, offset| v1::TailRequest {
        topic: "t".to_owned(),
        start: Some(v1::tail_request::Start::Offset(offset)),
        until_end: true,
        isolation: isolation.into(),
        ..v1::TailRequest::default()
    };
    for (isolation, offset, expected) in [
        (Committed, 0, vec!["c"]),
        (Uncommitted, 0, vec!["a", "b", "c", "d"]),
        (Uncommitted, 1, vec!["b", "c", "d"]),
        // There is something at 5 by and by, but nothing that is committed before the end.
        (Committed, 5, vec![]),
    ] {
        let answers = raw.tail(tail(isolation, offset)).await.unwrap();
        let answers = soon(answers.into_inner().collect::<Vec<_>>()).await;
        let parts = answers
            .into_iter()
            .flat_map(|answer| answer.unwrap().partitions);
        let parts: Vec<_> = parts.collect();
        assert!(parts.iter().all(|data| data.error.is_none()), "{parts:?}");
        let read: Vec<_> = parts.iter().flat_map(values).collect();
        assert_eq!(read, expected, "{isolation:?} from {offset}");
    }
    let beyond = raw.tail(tail(Committed, 6)).await.unwrap().into_inner();
    let answers: Vec<_> = soon(beyond.collect()).await;
    let first: &v1::TailResponse = answers[0].as_ref().unwrap();
    let error = first.partitions[0].error.as_ref().unwrap();
    assert_eq!(error.code(), v1::ErrorCode::OffsetOutOfRange);
}

#[tokio::test]
async fn the_client_reads_what_is_committed_unless_it_asks_for_all() {
    let world = world().await;
    for (isolation, expected, next) in [
        (Isolation::Committed, vec!["c"], 4),
        (Isolation::Uncommitted, vec!["a", "b", "c", "d"], 5),
    ] {
        let options = ConsumerOptions {
            isolation,
            ..ConsumerOptions::all_until_end()
        };
        let mut consumer = world.client.consumer("t", options);
        let mut read = Vec::new();
        while let Some(chunk) = soon(consumer.next()).await.unwrap() {
            let values = chunk.records().map(|record| record.unwrap().value.unwrap());
            read.extend(values);
        }
        assert_eq!(read, expected);
        assert_eq!(consumer.positions()[&0], next);
    }
    // A transaction that was open when reading began at the latest is read once it is committed.
    let options = ConsumerOptions {
        start: Start::Latest,
        ..ConsumerOptions::default()
    };
    let mut consumer = world.client.consumer("t", options);
    consumer.begin().await.unwrap();
    assert_eq!(consumer.positions()[&0], 4);
}

#[tokio::test]
async fn the_last_stable_offset_is_found_by_its_position() {
    let world = world().await;
    let ask = |position: v1::OffsetPosition| v1::ListOffsetsPartition {
        topic: "t".to_owned(),
        partition: 0,
        query: Some(v1::list_offsets_partition::Query::Position(position.into())),
    };
    let asked = vec![
        ask(v1::OffsetPosition::Latest),
        ask(v1::OffsetPosition::LastStable),
    ];
    let found = world.client.log().list_offsets(asked).await.unwrap();
    let found: Vec<_> = found.iter().map(|found| found.offset).collect();
    assert_eq!(found, [Some(5), Some(4)]);
}

#[tokio::test]
async fn nothing_of_a_transaction_is_written_by_those_who_cannot_have_one() {
    let world = World::with_topic(1).await;
    let writer = Writer::new(&world).await;
    let batch = batch(&["a"], Some(writer.stamp()));
    let error = world.produce(ready(batch.to_bytes())).await.unwrap_err();
    assert_eq!(error.code(), v1::ErrorCode::InvalidTransaction);
}
