//! Of records that are written.

use anyhow::Result;
use bytes::Bytes;
use tidelog_format::batch::Compression;
use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use tidelog_kafka_codec::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidelog_kafka_codec::messages::{
    IncrementalAlterConfigsRequest, InitProducerIdRequest, ProduceRequest,
};
use tidelog_types::{ProducerEpoch, ProducerId};

use super::batches::{batch, odd, with_header};
use crate::conformance::peer::Peer;

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 13;
const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;

/// A topic by its name and by its id; versions take what they know.
type Topic = (&'static str, Uuid);

fn produce(
    (name, id): Topic,
    batches: &[(i32, Bytes)],
    (acks, version): (i16, i16),
) -> ProduceRequest {
    let partition_data = batches.iter().map(|(index, bytes)| PartitionProduceData {
        index: *index,
        records: Some(bytes.clone().into()),
    });
    let by_id = version >= BY_ID_FROM;
    ProduceRequest {
        acks,
        timeout_ms: 20_000,
        topic_data: vec![TopicProduceData {
            name: if by_id { "" } else { name }.into(),
            topic_id: if by_id { id } else { Uuid::nil() },
            partition_data: partition_data.collect(),
        }],
        ..Default::default()
    }
}

/// Writes, and takes a note of what became of it. Where logs begin is not told here.
async fn write(peer: &mut Peer, what: &str, request: ProduceRequest, version: i16) -> Result<()> {
    let mut answer = peer.answer(&request, version).await?;
    for topic in &mut answer.responses {
        // Kafka has them in the order of a hash of the topic's id.
        topic.partition_responses.sort_by_key(|it| it.index);
        for partition in &mut topic.partition_responses {
            partition.log_start_offset = -1;
        }
    }
    peer.note_answer(&format!("{what} v{version}"), &answer);
    Ok(())
}

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    let t = ("t", peer.topic);
    let now = peer.now;
    let good = |value| batch(now, &[value], Compression::None);
    for version in VERSIONS {
        for (what, topic, batches, acks) in [
            ("a batch", t, vec![(0, good("a"))], -1),
            ("a batch for the leader", t, vec![(0, good("b"))], 1),
            ("batches", t, vec![(1, good("c")), (0, good("d"))], -1),
            ("a batch for two replicas", t, vec![(0, good("e"))], 2),
            (
                "a batch of no partition",
                t,
                vec![(9, good("f")), (0, good("g"))],
                -1,
            ),
            (
                "a batch of less than no partition",
                t,
                vec![(-1, good("h"))],
                -1,
            ),
            (
                "a batch of no topic",
                ("nowhere", Uuid::from_u128(7)),
                vec![(0, good("i"))],
                -1,
            ),
        ] {
            let request = produce(topic, &batches, (acks, version));
            write(peer, what, request, version).await?;
        }
    }
    compressed(peer).await?;
    strange(peer).await?;
    configured(peer).await
}

/// Of batches that no producer makes, in a topic of their own.
async fn strange(peer: &mut Peer) -> Result<()> {
    let t = peer.topic;
    peer.create_topic("odd", 1).await?;
    for (what, bytes) in odd(peer.now) {
        let request = produce(("odd", peer.topic), &[(0, bytes)], (-1, 12));
        let mut answer = peer.answer(&request, 12).await?;
        let topics = answer.responses.iter_mut();
        for partition in topics.flat_map(|topic| &mut topic.partition_responses) {
            // Not each is taken by both, so that offsets are others, and what is wrong is said in other words.
            partition.base_offset = partition.base_offset.min(0);
            partition.log_start_offset = -1;
            partition.record_errors.clear();
        }
        peer.note_answer(what, &answer);
    }
    peer.topic = t;
    Ok(())
}

async fn compressed(peer: &mut Peer) -> Result<()> {
    let t = ("t", peer.topic);
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let bytes = batch(peer.now, &["a", "b", "c"], compression);
        for version in [3, 6, 7, 13] {
            let request = produce(t, &[(0, bytes.clone())], (-1, version));
            let what = format!("a batch with {}", compression.as_str());
            write(peer, &what, request, version).await?;
        }
    }
    Ok(())
}

/// Of topics that want something of records.
async fn configured(peer: &mut Peer) -> Result<()> {
    let t = peer.topic;
    peer.create_topic("configured", 1).await?;
    let own = ("configured", peer.topic);
    let now = peer.now;
    let set = |key: &'static str, value: Option<&'static str>| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "configured".into(),
            configs: vec![AlterableConfig {
                name: key.into(),
                config_operation: i8::from(value.is_none()),
                value: value.map(Into::into),
            }],
        }],
        validate_only: false,
    };
    let large = "x".repeat(2_000);
    for (key, value, text) in [
        ("max.message.bytes", "1000", large.as_str()),
        ("message.timestamp.type", "LogAppendTime", "small"),
    ] {
        peer.ask(&format!("{key} is set"), set(key, Some(value)), 1)
            .await?;
        peer.is_configured("configured", key, value).await?;
        for version in [3, 9, 12] {
            let bytes = batch(now, &[text], Compression::None);
            let request = produce(own, &[(0, bytes)], (-1, version));
            write(
                peer,
                &format!("a batch where {key} is {value}"),
                request,
                version,
            )
            .await?;
        }
        peer.ask(&format!("{key} is default"), set(key, None), 1)
            .await?;
        let default = if key == "max.message.bytes" {
            "1048588"
        } else {
            "CreateTime"
        };
        peer.is_configured("configured", key, default).await?;
    }
    peer.topic = t;
    Ok(())
}

fn number() -> InitProducerIdRequest {
    InitProducerIdRequest {
        transaction_timeout_ms: i32::MAX,
        transactional_id: None,
        ..Default::default()
    }
}

/// Of producers that number their batches.
pub(super) async fn ask_in_order(peer: &mut Peer) -> Result<()> {
    let t = peer.topic;
    peer.create_topic("ordered", 1).await?;
    numbered(peer).await?;
    peer.topic = t;
    Ok(())
}

async fn numbered(peer: &mut Peer) -> Result<()> {
    // Kafka asks its controller for numbers first.
    peer.shows("a number for a producer", &number(), 5, |answer| {
        answer.error_code == 0
    })
    .await?;
    for version in 0..=5 {
        let mut answer = peer.answer(&number(), version).await?;
        answer.producer_id = answer.producer_id.min(0);
        peer.note_answer(&format!("a number for a producer v{version}"), &answer);
    }
    let first = peer.answer(&number(), 5).await?.producer_id;
    for version in [3, 9, 12] {
        // Each version has a producer of its own, and one that the broker has not given out.
        let known = first + i64::from(version) * 10;
        let other = known + 7_000;
        for (what, id, epoch, sequence) in [
            ("the first batch", known, 0, 0),
            ("the second", known, 0, 1),
            ("the second again", known, 0, 1),
            ("the first again", known, 0, 0),
            ("the fourth", known, 0, 3),
            ("the first of the next epoch", known, 1, 0),
            ("the second of the next epoch", known, 1, 1),
            ("one of the epoch before", known, 0, 2),
            ("not the first of an epoch", known, 2, 5),
            ("the last number", known, 1, i32::MAX),
            ("less than no number", known, 1, -1),
            ("an epoch that is none", known, -1, 2),
            ("the first of another", other, 0, 0),
        ] {
            let request = ordered(peer, what, (id, epoch, sequence), version);
            write(peer, &format!("in order: {what}"), request, version).await?;
        }
    }
    // At the end, since only one of both takes it.
    let request = ordered(peer, "late", (first + 9_000, 3, 5), 12);
    write(peer, "in order: not the first of another", request, 12).await
}

/// A batch of a producer in an epoch, with the number of its first record.
fn ordered(
    peer: &Peer,
    value: &str,
    (id, epoch, sequence): (i64, i16, i32),
    version: i16,
) -> ProduceRequest {
    let good = batch(peer.now, &[value], Compression::None);
    let bytes = with_header(&good, |it| {
        it.producer_id = ProducerId::new(id);
        it.producer_epoch = ProducerEpoch::new(epoch);
        it.base_sequence = sequence;
    });
    produce(("ordered", peer.topic), &[(0, bytes)], (-1, version))
}
