//! Of a group that has only offsets.

use anyhow::Result;
use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::{DescribeGroupsRequest, ListGroupsRequest};

use super::requests::{beat, commit, delete, delete_offsets, describe, describe_consumer, fetch};
use crate::conformance::peer::Peer;

const SIMPLE: (&str, &str, i32) = ("simple", "", -1);

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    let t = ("t", peer.topic);
    let unknown = ("", Uuid::from_u128(7));
    for version in 2..=10 {
        let request = commit(SIMPLE, t, &[(0, 5), (1, 6)], version);
        peer.ask("nobody commits", request, version).await?;
    }
    peer.ask(
        "a partition that is not there",
        commit(SIMPLE, t, &[(9, 5)], 8),
        8,
    )
    .await?;
    let request = commit(SIMPLE, ("nowhere", Uuid::nil()), &[(0, 5)], 8);
    peer.ask("a topic that is not there", request, 8).await?;
    peer.ask(
        "a topic id that is not there",
        commit(SIMPLE, unknown, &[(0, 5)], 10),
        10,
    )
    .await?;
    let mut long = commit(SIMPLE, t, &[(0, 5)], 8);
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000).into());
    peer.ask("a long note", long, 8).await?;
    peer.ask(
        "a member of a group without",
        commit(("simple", "x", 1), t, &[(0, 5)], 8),
        8,
    )
    .await?;
    for version in 1..=10 {
        let request = fetch(SIMPLE, Some((t, &[1, 0, 7])), version);
        peer.ask("offsets", request, version).await?;
        if version >= 2 {
            peer.ask("all offsets", fetch(SIMPLE, None, version), version)
                .await?;
        }
    }
    let request = fetch(SIMPLE, Some((("nowhere", Uuid::nil()), &[1])), 8);
    peer.ask("offsets of no topic", request, 8).await?;
    peer.ask(
        "offsets of no topic id",
        fetch(SIMPLE, Some((unknown, &[1])), 10),
        10,
    )
    .await?;
    let request = fetch(("simple", "x", 3), Some((t, &[1])), 9);
    peer.ask("offsets for a member", request, 9).await?;
    shown(peer).await
}

async fn shown(peer: &mut Peer) -> Result<()> {
    for version in 0..=5 {
        peer.ask("groups are listed", ListGroupsRequest::default(), version)
            .await?;
    }
    for (state, kind) in [("empty", ""), ("odd", ""), ("", "CLASSIC"), ("", "odd")] {
        let some = |text: &'static str| (!text.is_empty()).then(|| text.into());
        let request = ListGroupsRequest {
            states_filter: some(state).into_iter().collect(),
            types_filter: some(kind).into_iter().collect(),
        };
        peer.ask(&format!("groups that are {state}{kind}"), request, 5)
            .await?;
    }
    let allowed = DescribeGroupsRequest {
        include_authorized_operations: true,
        ..describe("simple")
    };
    peer.ask("a group without members", allowed, 5).await?;
    peer.ask("no consumers", describe_consumer("simple"), 1)
        .await?;
    peer.ask("a heartbeat to nobody", beat("simple", "x", 1), 4)
        .await?;
    let request = delete_offsets("simple", &[("t", &[0, 9]), ("nowhere", &[0])]);
    peer.ask("offsets are deleted", request, 0).await?;
    peer.ask("what is left", fetch(SIMPLE, None, 8), 8).await?;
    peer.ask("a group is deleted", delete("simple"), 2).await?;
    peer.ask("nothing is left", fetch(SIMPLE, None, 8), 8)
        .await?;
    Ok(())
}
