//! Of members of the classic protocol.

use anyhow::Result;
use bytes::Bytes;
use tidelog_kafka_codec::messages::join_group_request::JoinGroupRequestProtocol;
use tidelog_kafka_codec::messages::sync_group_request::SyncGroupRequestAssignment;
use tidelog_kafka_codec::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    SyncGroupRequest,
};

use super::requests::{
    beat, commit, delete, delete_offsets, describe, describe_consumer, fetch, join, leave, sync,
};
use crate::conformance::peer::Peer;

fn assignment(member: &str) -> SyncGroupRequestAssignment {
    let assigned = b"\x00\x01\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff";
    SyncGroupRequestAssignment {
        member_id: member.into(),
        assignment: Bytes::from_static(assigned),
    }
}

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    let entered = peer.answer(&join("g", "", 9), 9).await?;
    let member = entered.member_id.to_string();
    peer.call_it(&member, "MEMBER");
    // Kafka names the member before the group is stored.
    peer.shows("the group `g`", &describe("g"), 5, |answer| {
        answer
            .groups
            .iter()
            .all(|group| group.group_state != "Dead")
    })
    .await?;
    peer.ask("a member is awaited", describe("g"), 5).await?;
    let joined = peer.ask("a member joins", join("g", &member, 9), 9).await?;
    let generation = joined.generation_id;
    peer.ask("an assignment is awaited", describe("g"), 5)
        .await?;
    peer.ask(
        "a heartbeat before the sync",
        beat("g", &member, generation),
        4,
    )
    .await?;
    let t = ("t", peer.topic);
    let request = commit(("g", &member, generation), t, &[(0, 5)], 8);
    peer.ask("a commit before the sync", request, 8).await?;
    peer.ask("a sync with another generation", sync("g", &member, 77), 5)
        .await?;
    let odd = SyncGroupRequest {
        protocol_name: Some("odd".into()),
        ..sync("g", &member, generation)
    };
    peer.ask("a sync with another protocol", odd, 5).await?;
    let leader = SyncGroupRequest {
        assignments: vec![assignment(&member)],
        ..sync("g", &member, generation)
    };
    peer.ask("the leader assigns", leader, 5).await?;
    peer.ask("a sync again", sync("g", &member, generation), 5)
        .await?;
    peer.ask("a stable group", describe("g"), 5).await?;
    peer.ask(
        "a stable group in the list",
        ListGroupsRequest::default(),
        5,
    )
    .await?;
    at_work(peer, &member, generation).await?;
    leaves(peer, &member, generation).await
}

async fn at_work(peer: &mut Peer, member: &str, generation: i32) -> Result<()> {
    let t = ("t", peer.topic);
    peer.ask("a heartbeat", beat("g", member, generation), 4)
        .await?;
    peer.ask(
        "a heartbeat of another generation",
        beat("g", member, 77),
        4,
    )
    .await?;
    peer.ask("a heartbeat of nobody", beat("g", "x", generation), 4)
        .await?;
    let instance = HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..beat("g", member, generation)
    };
    peer.ask("a heartbeat of an unknown instance", instance, 4)
        .await?;
    for (what, by, version) in [
        ("a commit", ("g", member, generation), 8),
        ("a commit of another generation", ("g", member, 77), 8),
        ("a commit of a stranger", ("g", "x", generation), 9),
        ("a commit of nobody", ("g", "", -1), 8),
        ("a commit without a generation", ("g", member, -1), 8),
    ] {
        peer.ask(what, commit(by, t, &[(0, 5)], version), version)
            .await?;
    }
    let request = fetch(("g", member, generation), Some((t, &[0])), 9);
    peer.ask("a member asks where it was", request, 9).await?;
    let request = delete_offsets("g", &[("t", &[0])]);
    peer.ask("offsets of a topic that is read", request, 0)
        .await?;
    peer.ask("a group with members is deleted", delete("g"), 2)
        .await?;
    let odd = JoinGroupRequest {
        protocols: vec![JoinGroupRequestProtocol {
            name: "odd".into(),
            metadata: Bytes::new(),
        }],
        ..join("g", "", 9)
    };
    peer.ask("one joins with another protocol", odd, 9).await?;
    let odd = JoinGroupRequest {
        protocol_type: "connect".into(),
        ..join("g", "", 9)
    };
    peer.ask("one joins with another type", odd, 9).await?;
    peer.ask("no consumers in a classic group", describe_consumer("g"), 1)
        .await?;
    Ok(())
}

async fn leaves(peer: &mut Peer, member: &str, generation: i32) -> Result<()> {
    let strangers = [("x", None), (member, Some("i")), ("", Some("i"))];
    peer.ask("strangers leave", leave("g", &strangers), 5)
        .await?;
    let one = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: member.into(),
        ..Default::default()
    };
    peer.ask("the member leaves", one.clone(), 2).await?;
    peer.ask("the member leaves again", one, 2).await?;
    peer.ask("an empty group", describe("g"), 5).await?;
    peer.ask(
        "a heartbeat of one who left",
        beat("g", member, generation),
        4,
    )
    .await?;
    let t = ("t", peer.topic);
    let request = commit(("g", member, generation), t, &[(0, 5)], 8);
    peer.ask("a commit of one who left", request, 8).await?;
    peer.ask(
        "nobody commits to an empty group",
        commit(("g", "", -1), t, &[(0, 15)], 8),
        8,
    )
    .await?;
    peer.ask("an empty group is deleted", delete("g"), 2)
        .await?;
    Ok(())
}

/// A member with an instance id, and another one of the same.
pub(super) async fn ask_static(peer: &mut Peer) -> Result<()> {
    let enter = |member: &str| JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join("static", member, 5)
    };
    let instance = |member: &str, generation| SyncGroupRequest {
        group_instance_id: Some("i".into()),
        protocol_type: None,
        protocol_name: None,
        ..sync("static", member, generation)
    };
    let first = peer.answer(&enter(""), 5).await?;
    let old = first.member_id.to_string();
    peer.call_it(&old, "OLD");
    let leader = SyncGroupRequest {
        assignments: vec![assignment(&old)],
        ..instance(&old, first.generation_id)
    };
    peer.ask("a static member assigns", leader, 3).await?;
    let again = peer.answer(&enter(""), 5).await?;
    let new = again.member_id.to_string();
    peer.call_it(&new, "NEW");
    let generation = again.generation_id;
    let told = format!("{generation} {} {}", again.error_code, again.members.len());
    peer.notes
        .push(("a static member comes again v5".to_owned(), told));
    peer.shows("the group `static`", &describe("static"), 5, |answer| {
        answer
            .groups
            .iter()
            .all(|group| group.group_state != "Dead")
    })
    .await?;
    let beat = HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..beat("static", &old, generation)
    };
    peer.ask("a heartbeat of the old one", beat, 4).await?;
    let t = ("t", peer.topic);
    let commit = OffsetCommitRequest {
        group_instance_id: Some("i".into()),
        ..commit(("static", &old, generation), t, &[(0, 5)], 8)
    };
    peer.ask("a commit of the old one", commit, 8).await?;
    peer.ask("the old one joins", enter(&old), 5).await?;
    peer.ask("a sync of the old one", instance(&old, generation), 3)
        .await?;
    peer.ask("a group with a static member", describe("static"), 5)
        .await?;
    peer.ask(
        "an operator removes it",
        leave("static", &[("", Some("i"))]),
        5,
    )
    .await?;
    peer.ask("its group is deleted", delete("static"), 2)
        .await?;
    Ok(())
}
