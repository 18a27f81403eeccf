//! Of groups that are not there, and of requests that cannot be.

use anyhow::Result;
use tidelog_kafka_codec::messages::{DescribeGroupsRequest, JoinGroupRequest, SyncGroupRequest};

use super::requests::{
    beat, commit, delete, delete_offsets, describe, describe_consumer, fetch, join, leave, sync,
};
use crate::conformance::peer::Peer;

const NOBODY: (&str, &str, i32) = ("none", "x", 1);

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    let two = DescribeGroupsRequest {
        groups: vec!["none".into(), "".into()],
        ..Default::default()
    };
    peer.ask("no group is described", two, 5).await?;
    peer.ask("no group is described", describe("none"), 6)
        .await?;
    peer.ask("no consumers are described", describe_consumer("none"), 1)
        .await?;
    peer.ask("no group is deleted", delete("none"), 2).await?;
    peer.ask("no offsets are deleted", delete_offsets("none", &[]), 0)
        .await?;
    peer.ask(
        "a nameless group's offsets are deleted",
        delete_offsets("", &[]),
        0,
    )
    .await?;
    let t = ("t", peer.topic);
    for version in 2..=10 {
        let request = commit(NOBODY, t, &[(0, 5)], version);
        peer.ask("a commit to no group", request, version).await?;
    }
    for version in 1..=10 {
        let request = fetch(("none", "", -1), Some((t, &[0, 7])), version);
        peer.ask("offsets of no group", request, version).await?;
        if version >= 2 {
            let request = fetch(("none", "", -1), None, version);
            peer.ask("all offsets of no group", request, version)
                .await?;
        }
    }
    let request = fetch(NOBODY, Some((t, &[0])), 9);
    peer.ask("offsets of no group for a member", request, 9)
        .await?;
    members(peer).await
}

async fn members(peer: &mut Peer) -> Result<()> {
    peer.ask("a heartbeat to no group", beat("none", "x", 1), 4)
        .await?;
    peer.ask("a heartbeat to a nameless group", beat("", "x", 1), 4)
        .await?;
    let one = tidelog_kafka_codec::messages::LeaveGroupRequest {
        group_id: "none".into(),
        member_id: "x".into(),
        ..Default::default()
    };
    peer.ask("one leaves no group", one, 2).await?;
    peer.ask("one leaves no group", leave("none", &[("x", None)]), 5)
        .await?;
    peer.ask("a sync with no group", sync("none", "x", 1), 5)
        .await?;
    let silent = SyncGroupRequest {
        protocol_name: None,
        ..sync("none", "x", 1)
    };
    peer.ask("a sync without a protocol", silent, 5).await?;
    for version in [5, 9] {
        let request = join("none", "x", version);
        peer.ask("an unknown member joins no group", request, version)
            .await?;
    }
    peer.ask("one joins a nameless group", join("", "", 9), 9)
        .await?;
    let short = JoinGroupRequest {
        session_timeout_ms: 1,
        ..join("refused", "", 9)
    };
    peer.ask("one joins for a moment", short, 9).await?;
    let mute = JoinGroupRequest {
        protocols: Vec::new(),
        ..join("refused", "", 9)
    };
    peer.ask("one joins without protocols", mute, 9).await?;
    let odd = JoinGroupRequest {
        protocol_type: "".into(),
        ..join("refused", "", 9)
    };
    peer.ask("one joins without a type", odd, 9).await?;
    // Apache Kafka has made an empty group of these; see the page on compatibility.
    peer.answer(&delete("refused"), 2).await?;
    Ok(())
}
