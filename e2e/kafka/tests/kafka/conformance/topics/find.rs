//! Of topics and partitions, and where they are.

use anyhow::Result;
use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::describe_log_dirs_request::DescribableLogDirTopic;
use tidelog_kafka_codec::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::{
    DescribeLogDirsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
};

use crate::conformance::peer::Peer;

/// The first version whose topics may be named by ids.
const BY_ID_FROM: i16 = 12;

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    by_name(peer).await?;
    by_id(peer).await?;
    every_one(peer).await?;
    partitions(peer).await?;
    folders(peer).await
}

fn metadata(topics: Option<Vec<MetadataRequestTopic>>) -> MetadataRequest {
    MetadataRequest {
        topics,
        ..Default::default()
    }
}

fn name(name: &'static str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        name: Some(name.into()),
        ..Default::default()
    }
}

fn id(topic_id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic {
        topic_id,
        name: None,
    }
}

async fn by_name(peer: &mut Peer) -> Result<()> {
    for version in 0..=13 {
        for (what, topics) in [
            ("a topic", vec![name("t")]),
            ("no topic of that name", vec![name("nowhere")]),
            ("a topic and another", vec![name("nowhere"), name("t")]),
            ("a name that cannot be", vec![name("a b")]),
            ("a topic without a name", vec![name("")]),
        ] {
            peer.ask(what, metadata(Some(topics)), version).await?;
        }
        if version > 0 {
            let request = metadata(Some(Vec::new()));
            peer.ask("the cluster without topics", request, version)
                .await?;
        }
    }
    for version in 8..=13 {
        let operations = MetadataRequest {
            include_topic_authorized_operations: true,
            include_cluster_authorized_operations: version <= 10,
            ..metadata(Some(vec![name("t"), name("nowhere")]))
        };
        peer.ask("what may be done with topics", operations, version)
            .await?;
    }
    Ok(())
}

async fn by_id(peer: &mut Peer) -> Result<()> {
    let both = MetadataRequestTopic {
        topic_id: peer.topic,
        ..name("t")
    };
    let known = id(peer.topic);
    let unknown = id(Uuid::from_u128(7));
    for version in BY_ID_FROM..=13 {
        for (what, topics) in [
            ("a topic by its id", vec![known.clone()]),
            ("no topic of that id", vec![unknown.clone()]),
            ("topics by ids", vec![unknown.clone(), known.clone()]),
            ("a topic by its name and its id", vec![both.clone()]),
            ("a topic by nothing", vec![id(Uuid::nil())]),
            ("topics by names and by ids", vec![name("t"), known.clone()]),
        ] {
            peer.ask(what, metadata(Some(topics)), version).await?;
        }
    }
    Ok(())
}

/// All topics, but for those of Apache Kafka itself, in the order of their names.
async fn every_one(peer: &mut Peer) -> Result<()> {
    for version in 0..=13 {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let mut answer = peer.answer(&metadata(topics), version).await?;
        answer.topics.retain(|topic| {
            let name = topic.name.as_deref().unwrap_or_default();
            !name.starts_with("__")
        });
        peer.note_answer(&format!("all topics v{version}"), &answer);
    }
    Ok(())
}

async fn partitions(peer: &mut Peer) -> Result<()> {
    let topics = |names: &[&'static str]| -> Vec<TopicRequest> {
        let names = names.iter().map(|name| TopicRequest {
            name: (*name).into(),
        });
        names.collect()
    };
    let cursor = |topic_name: &'static str, partition_index| {
        Some(Cursor {
            topic_name: topic_name.into(),
            partition_index,
        })
    };
    for (what, names, limit, from) in [
        ("partitions", &["t"][..], 100, None),
        ("partitions of no topic", &["nowhere"], 100, None),
        ("partitions of some", &["t", "nowhere", "t"], 100, None),
        ("one partition", &["t", "u"], 1, None),
        ("no partition", &["t"], 0, None),
        ("the next partition", &["t"], 1, cursor("t", 1)),
        ("partitions behind the last", &["t"], 1, cursor("t", 2)),
        (
            "partitions from another topic on",
            &["t"],
            1,
            cursor("s", 0),
        ),
        ("partitions before a number", &["t"], 1, cursor("t", -5)),
    ] {
        let request = DescribeTopicPartitionsRequest {
            topics: topics(names),
            response_partition_limit: limit,
            cursor: from,
        };
        peer.ask(what, request, 0).await?;
    }
    Ok(())
}

/// The folder has another name, and sizes are not known.
async fn folders(peer: &mut Peer) -> Result<()> {
    for version in 1..=5 {
        for (what, topic, indexes) in [
            ("folders of a topic", "t", vec![0, 1, 9]),
            ("folders of no topic", "nowhere", vec![0]),
        ] {
            let request = DescribeLogDirsRequest {
                topics: Some(vec![DescribableLogDirTopic {
                    topic: topic.into(),
                    partitions: indexes,
                }]),
            };
            let mut answer = peer.answer(&request, version).await?;
            for result in &mut answer.results {
                for topic in &mut result.topics {
                    // Kafka has them in the order of a hash.
                    topic.partitions.sort_by_key(|it| it.partition_index);
                }
                result.log_dir = "FOLDER".into();
                (result.total_bytes, result.usable_bytes) = (-1, -1);
                let partitions = result.topics.iter_mut().flat_map(|it| &mut it.partitions);
                for partition in partitions {
                    partition.partition_size = -1;
                }
            }
            peer.note_answer(&format!("{what} v{version}"), &answer);
        }
    }
    Ok(())
}
