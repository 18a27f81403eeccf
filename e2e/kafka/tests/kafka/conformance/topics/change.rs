//! Of topics that are made, widened and deleted.

use anyhow::Result;
use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use tidelog_kafka_codec::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use tidelog_kafka_codec::messages::create_topics_response::CreatableTopicResult;
use tidelog_kafka_codec::messages::delete_topics_request::DeleteTopicState;
use tidelog_kafka_codec::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
};

use crate::conformance::peer::{Peer, first};

/// The first version of `DeleteTopics` whose topics may be named by ids.
const BY_STATE_FROM: i16 = 6;

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    refused(peer).await?;
    made(peer).await?;
    widened(peer).await?;
    deleted(peer).await
}

fn topic(name: &'static str) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    }
}

fn with(name: &'static str, key: &'static str, value: Option<&'static str>) -> CreatableTopic {
    CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: key.into(),
            value: value.map(Into::into),
        }],
        ..topic(name)
    }
}

/// With partitions at brokers.
fn assigned(name: &'static str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = partitions
        .iter()
        .map(|(index, brokers)| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: brokers.to_vec(),
        });
    CreatableTopic {
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        ..topic(name)
    }
}

/// What is told of one that is made, without its configuration, which is asked about elsewhere.
async fn create(
    peer: &mut Peer,
    what: &str,
    topics: Vec<CreatableTopic>,
    (validate_only, version): (bool, i16),
) -> Result<Vec<CreatableTopicResult>> {
    let request = CreateTopicsRequest {
        topics,
        timeout_ms: 10_000,
        validate_only,
    };
    let mut answer = peer.answer(&request, version).await?;
    answer.topics.sort_by_key(|it| it.name.to_string());
    for topic in &mut answer.topics {
        if !topic.topic_id.is_nil() {
            peer.call_it(&topic.topic_id.to_string(), "MADE");
        }
        topic.configs = topic.configs.as_ref().map(|_| Vec::new());
    }
    peer.note_answer(&format!("{what} v{version}"), &answer);
    Ok(answer.topics)
}

async fn refused(peer: &mut Peer) -> Result<()> {
    let numbers = |num_partitions, replication_factor| CreatableTopic {
        num_partitions,
        replication_factor,
        ..topic("wrong")
    };
    let both = CreatableTopic {
        num_partitions: 1,
        ..assigned("wrong", &[(0, &[1])])
    };
    for (what, topics) in [
        ("a topic that is there is made", vec![topic("t")]),
        ("a topic is made without a name", vec![topic("")]),
        ("a topic is made with an odd name", vec![topic("a b")]),
        ("a topic is made with two points", vec![topic("..")]),
        (
            "a topic is made twice",
            vec![topic("wrong"), topic("wrong")],
        ),
        ("a topic is made without partitions", vec![numbers(0, 1)]),
        ("a topic has less than no partitions", vec![numbers(-2, 1)]),
        ("a topic is made without replicas", vec![numbers(1, 0)]),
        ("a topic has less than no replicas", vec![numbers(1, -2)]),
        ("a topic has numbers and assignments", vec![both]),
        (
            "a topic is assigned twice",
            vec![assigned("wrong", &[(0, &[1]), (0, &[1])])],
        ),
        (
            "a topic is assigned with a gap",
            vec![assigned("wrong", &[(1, &[1])])],
        ),
        (
            "a topic is assigned to nobody",
            vec![assigned("wrong", &[(0, &[])])],
        ),
        (
            "a topic is made with an odd key",
            vec![with("wrong", "odd", Some("1"))],
        ),
        (
            "a topic is made with an odd value",
            vec![with("wrong", "retention.ms", Some("odd"))],
        ),
        (
            "a topic is made with no value",
            vec![with("wrong", "retention.ms", None)],
        ),
        (
            "one of two is made",
            vec![topic("right"), with("wrong", "odd", Some("1"))],
        ),
    ] {
        create(peer, what, topics, (true, 7)).await?;
    }
    Ok(())
}

async fn made(peer: &mut Peer) -> Result<()> {
    for (version, name) in (2..=7).zip(["m2", "m3", "m4", "m5", "m6", "m7"]) {
        let topics = || vec![with(name, "retention.ms", Some("7200000")), topic("t")];
        create(peer, "a topic is tried", topics(), (true, version)).await?;
        create(peer, "a topic is made", topics(), (false, version)).await?;
        peer.has_partitions(name, 1).await?;
        create(peer, "a topic is made again", topics(), (false, version)).await?;
    }
    Ok(())
}

async fn widened(peer: &mut Peer) -> Result<()> {
    let to = |name: &'static str, count, assigned: Option<usize>| CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assigned.map(|count| {
            let one = CreatePartitionsAssignment {
                broker_ids: vec![1],
            };
            vec![one; count]
        }),
    };
    for (what, topics) in [
        ("as many partitions", vec![to("m2", 1, None)]),
        ("fewer partitions", vec![to("t", 1, None)]),
        ("no partitions at all", vec![to("t", 0, None)]),
        ("less than no partitions", vec![to("t", -1, None)]),
        ("more partitions", vec![to("t", 3, None)]),
        ("more partitions of no topic", vec![to("nowhere", 3, None)]),
        (
            "more partitions with too few places",
            vec![to("t", 5, Some(1))],
        ),
        (
            "more partitions with too many places",
            vec![to("t", 3, Some(2))],
        ),
        (
            "more partitions twice",
            vec![to("t", 3, None), to("t", 4, None)],
        ),
        (
            "more partitions of some",
            vec![to("m2", 2, None), to("m3", 1, None)],
        ),
    ] {
        let request = CreatePartitionsRequest {
            topics,
            timeout_ms: 10_000,
            validate_only: true,
        };
        let mut answer = peer.answer(&request, 3).await?;
        answer.results.sort_by_key(|it| it.name.to_string());
        peer.note_answer(what, &answer);
    }
    for version in 0..=3 {
        let count = i32::from(version) + 2;
        let request = CreatePartitionsRequest {
            topics: vec![to("m2", count, None)],
            timeout_ms: 10_000,
            validate_only: false,
        };
        peer.ask("partitions are added", request, version).await?;
        peer.has_partitions("m2", count).await?;
    }
    Ok(())
}

async fn deleted(peer: &mut Peer) -> Result<()> {
    for version in 1..BY_STATE_FROM {
        let name = ["m2", "m3", "m4", "m5", "m6"][usize::try_from(version - 1)?];
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into(), "nowhere".into()],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let mut answer = peer.answer(&request, version).await?;
        answer.responses.sort_by_key(|it| it.error_code);
        peer.note_answer(&format!("topics are deleted v{version}"), &answer);
    }
    let both = create(peer, "one to be deleted", vec![topic("d")], (false, 7)).await?;
    peer.has_partitions("d", 1).await?;
    let id = first(&both)?.topic_id;
    for (what, name, topic_id) in [
        ("a topic without a name is deleted", Some(""), Uuid::nil()),
        ("nothing is deleted", None, Uuid::nil()),
        ("no topic is deleted", Some("nowhere"), Uuid::nil()),
        ("no topic id is deleted", None, Uuid::from_u128(7)),
        ("a name and an id are deleted", Some("m7"), id),
        ("an odd name is deleted", Some("a b"), Uuid::nil()),
        ("a topic is deleted by name", Some("m7"), Uuid::nil()),
        ("a topic is deleted by id", None, id),
        ("a topic is deleted again", None, id),
    ] {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: name.map(Into::into),
                topic_id,
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        peer.ask(what, request, BY_STATE_FROM).await?;
    }
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into(), "t".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    peer.ask("a topic is deleted twice", request, 5).await?;
    Ok(())
}
