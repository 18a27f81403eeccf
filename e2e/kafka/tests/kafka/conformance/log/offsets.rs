//! Of offsets that are looked for, and of records that are deleted.

use anyhow::Result;
use tidelog_kafka_codec::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use tidelog_kafka_codec::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidelog_kafka_codec::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use tidelog_kafka_codec::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use crate::conformance::peer::Peer;

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    listed(peer).await?;
    epochs(peer).await?;
    deleted(peer).await?;
    listed(peer).await
}

fn list(name: &'static str, partitions: &[(i32, i64)]) -> ListOffsetsRequest {
    let partitions = partitions
        .iter()
        .map(|(index, timestamp)| ListOffsetsPartition {
            partition_index: *index,
            timestamp: *timestamp,
            ..Default::default()
        });
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: name.into(),
            partitions: partitions.collect(),
        }],
        ..Default::default()
    }
}

async fn listed(peer: &mut Peer) -> Result<()> {
    let now = peer.now;
    peer.call_it(&format!("timestamp: {now},"), "timestamp: NOW,");
    peer.call_it(&format!("timestamp: {},", now + 1), "timestamp: NOW + 1,");
    peer.call_it(&format!("timestamp: {},", now + 2), "timestamp: NOW + 2,");
    for version in 1..=11 {
        for time in -8..=0 {
            let what = format!("the offset {time}");
            peer.ask(&what, list("t", &[(0, time)]), version).await?;
        }
        for (what, time) in [
            ("the offset of now", now),
            ("the offset a millisecond later", now + 1),
            ("the offset two milliseconds later", now + 2),
            ("the offset of tomorrow", now + 86_400_000),
            ("the offset at the end of time", i64::MAX),
            ("the offset before all time", i64::MIN),
        ] {
            peer.ask(what, list("t", &[(0, time)]), version).await?;
        }
        for (what, request) in [
            ("offsets of both", list("t", &[(1, -1), (0, -2)])),
            ("offsets of no partition", list("t", &[(9, -1), (0, -1)])),
            ("offsets of no topic", list("nowhere", &[(0, -1)])),
            ("an offset twice", list("t", &[(0, -1), (0, -2)])),
        ] {
            peer.ask(what, request, version).await?;
        }
    }
    for version in 4..=11 {
        for epoch in [0, 5] {
            let mut request = list("t", &[(0, -1)]);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            let what = format!("the offset of the leader of epoch {epoch}");
            peer.ask(&what, request, version).await?;
        }
        let committed = ListOffsetsRequest {
            isolation_level: 1,
            ..list("t", &[(0, -1)])
        };
        peer.ask("the offset that is committed", committed, version)
            .await?;
    }
    Ok(())
}

async fn epochs(peer: &mut Peer) -> Result<()> {
    for version in 2..=4 {
        for (what, name, partition, current, epoch) in [
            ("the end of the epoch", "t", 0, -1, 0),
            ("the end of the epoch of its leader", "t", 0, 0, 0),
            ("the end of a later epoch", "t", 0, -1, 5),
            ("the end of no epoch", "t", 0, -1, -1),
            ("the end of the epoch of a later leader", "t", 0, 5, 0),
            ("the end of the epoch of no partition", "t", 9, -1, 0),
            ("the end of the epoch of no topic", "nowhere", 0, -1, 0),
        ] {
            let request = OffsetForLeaderEpochRequest {
                topics: vec![OffsetForLeaderTopic {
                    topic: name.into(),
                    partitions: vec![OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch: current,
                        leader_epoch: epoch,
                    }],
                }],
                replica_id: if version >= 3 { -1 } else { -2 },
            };
            peer.ask(what, request, version).await?;
        }
    }
    Ok(())
}

async fn deleted(peer: &mut Peer) -> Result<()> {
    for version in 0..=2 {
        let to = i64::from(version) + 1;
        for (what, name, index, offset) in [
            ("records are deleted", "t", 0, to),
            ("records are deleted again", "t", 0, to),
            ("records are deleted that are gone", "t", 0, 0),
            ("records are deleted behind the end", "t", 0, 77_777),
            ("records are deleted before the beginning", "t", 0, -5),
            ("records of no partition are deleted", "t", 9, 1),
            ("records of no topic are deleted", "nowhere", 0, 1),
        ] {
            let request = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: name.into(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: index,
                        offset,
                    }],
                }],
                timeout_ms: 10_000,
            };
            peer.ask(what, request, version).await?;
        }
    }
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 1,
                offset: -1,
            }],
        }],
        timeout_ms: 10_000,
    };
    peer.ask("all records are deleted", request, 2).await?;
    Ok(())
}
