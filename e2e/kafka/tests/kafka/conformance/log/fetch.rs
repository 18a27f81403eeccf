//! Of records that are read.

use anyhow::Result;
use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic};
use tidelog_kafka_codec::messages::{FetchRequest, FetchResponse};

use crate::conformance::peer::Peer;

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 13;

/// A topic by its name and by its id; versions take what they know.
pub(super) type Topic = (&'static str, Uuid);

pub(super) fn topic((name, topic_id): Topic, partitions: Vec<FetchPartition>) -> FetchTopic {
    FetchTopic {
        topic: name.into(),
        topic_id,
        partitions,
    }
}

/// A request without a session, for what is there.
pub(super) fn fetch(topics: Vec<FetchTopic>, version: i16) -> FetchRequest {
    let by_id = version >= BY_ID_FROM;
    let topics = topics.into_iter().map(|topic| FetchTopic {
        topic: if by_id { "".into() } else { topic.topic },
        topic_id: if by_id { topic.topic_id } else { Uuid::nil() },
        ..topic
    });
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: topics.collect(),
        ..Default::default()
    }
}

/// From an offset of a partition on.
pub(super) fn from(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

/// Takes a note of an answer and of the bytes of its records. Whether a partition that has none of them, because of an
/// error, has a list of aborted transactions is left out: Kafka does it in both ways.
pub(super) fn note(peer: &mut Peer, what: &str, version: i16, mut answer: FetchResponse) {
    // Kafka has them in the order of a hash of ids, and errors first.
    answer
        .responses
        .sort_by_key(|it| (it.topic.to_string(), it.topic_id));
    for topic in &mut answer.responses {
        topic.partitions.sort_by_key(|it| it.partition_index);
    }
    let partitions = answer
        .responses
        .iter_mut()
        .flat_map(|it| &mut it.partitions);
    let mut bytes = Vec::new();
    for partition in partitions {
        if partition.error_code != 0 {
            partition.aborted_transactions = None;
        }
        let records = partition.records.take();
        let records = records.map(|records| {
            let sum = tidelog_crc32c::crc32c(&records.to_bytes());
            format!("{} bytes {sum:08x}", records.len())
        });
        bytes.push(records.unwrap_or_else(|| "none".to_owned()));
    }
    peer.note_answer(&format!("{what} v{version}"), &answer);
    peer.note(&format!("{what}: records v{version}"), bytes.join(", "));
}

async fn read(peer: &mut Peer, what: &str, request: FetchRequest, version: i16) -> Result<()> {
    let answer = peer.answer(&request, version).await?;
    note(peer, what, version, answer);
    Ok(())
}

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    let t = ("t", peer.topic);
    let nowhere = ("nowhere", Uuid::from_u128(7));
    for version in 4..=18 {
        for (what, topics) in [
            ("records", vec![topic(t, vec![from(0, 0)])]),
            (
                "records of both",
                vec![topic(t, vec![from(1, 1), from(0, 3)])],
            ),
            (
                "records behind the end",
                vec![topic(t, vec![from(0, 7_777)])],
            ),
            (
                "records before the beginning",
                vec![topic(t, vec![from(0, -5)])],
            ),
            (
                "records of no partition",
                vec![topic(t, vec![from(9, 0), from(0, 2)])],
            ),
            (
                "records of no topic",
                vec![topic(nowhere, vec![from(0, 0)])],
            ),
            (
                "records of a topic and of none",
                vec![topic(nowhere, vec![from(0, 0)]), topic(t, vec![from(0, 1)])],
            ),
            ("records of nothing", Vec::new()),
        ] {
            read(peer, what, fetch(topics, version), version).await?;
        }
        let committed = FetchRequest {
            isolation_level: 1,
            ..fetch(vec![topic(t, vec![from(0, 0)])], version)
        };
        read(peer, "records that are committed", committed, version).await?;
    }
    limited(peer).await?;
    epochs(peer).await
}

async fn limited(peer: &mut Peer) -> Result<()> {
    let t = ("t", peer.topic);
    for version in [4, 12, 13, 18] {
        let both = || vec![topic(t, vec![from(0, 0), from(1, 0)])];
        let one = || vec![topic(t, vec![from(0, 0)])];
        let few = FetchRequest {
            max_bytes: 1,
            ..fetch(one(), version)
        };
        read(peer, "a byte of records", few, version).await?;
        let none = FetchRequest {
            max_bytes: 0,
            ..fetch(one(), version)
        };
        read(peer, "no byte of records", none, version).await?;
        let mut of_one = one();
        of_one[0].partitions[0].partition_max_bytes = 1;
        let request = fetch(of_one, version);
        read(peer, "a byte of a partition", request, version).await?;
        let waits = FetchRequest {
            max_wait_ms: 50,
            min_bytes: 1 << 19,
            ..fetch(both(), version)
        };
        read(peer, "records that are waited for", waits, version).await?;
    }
    Ok(())
}

/// What a client knows of leaders.
async fn epochs(peer: &mut Peer) -> Result<()> {
    let t = ("t", peer.topic);
    for version in [9, 11, 12, 13, 18] {
        for epoch in [-1, 0, 5] {
            let partition = FetchPartition {
                current_leader_epoch: epoch,
                ..from(0, 1)
            };
            let request = fetch(vec![topic(t, vec![partition])], version);
            let what = format!("records of the leader of epoch {epoch}");
            read(peer, &what, request, version).await?;
        }
    }
    for version in [12, 18] {
        for epoch in [-1, 0, 5] {
            let partition = FetchPartition {
                last_fetched_epoch: epoch,
                ..from(0, 1)
            };
            let request = fetch(vec![topic(t, vec![partition])], version);
            let what = format!("records behind those of epoch {epoch}");
            read(peer, &what, request, version).await?;
        }
    }
    Ok(())
}
