//! Of members of the consumer protocol. Epochs are counted in other ways and left out.

use anyhow::Result;
use tidelog_kafka_codec::messages::consumer_group_heartbeat_request::TopicPartitions;
use tidelog_kafka_codec::messages::{ConsumerGroupHeartbeatRequest, ListGroupsRequest};

use super::requests::{
    beat, commit, consumer, consumer_joins, delete, delete_offsets, describe, describe_consumer,
    fetch, leave, sync,
};
use crate::conformance::peer::Peer;

/// Notes an answer without its epochs.
async fn note(peer: &mut Peer, what: &str, request: ConsumerGroupHeartbeatRequest) -> Result<i32> {
    let answer = peer.ask(what, request, 1).await?;
    let epoch = answer.member_epoch;
    if epoch > 0
        && let Some((_, text)) = peer.notes.last_mut()
    {
        *text = text.replace(&format!("member_epoch: {epoch},"), "member_epoch: +,");
    }
    Ok(epoch)
}

async fn refused(peer: &mut Peer) -> Result<()> {
    let joins = || consumer_joins("c", "m");
    let cases = [
        ("one joins a nameless group", consumer_joins("", "m")),
        ("one joins without an id", consumer_joins("c", "")),
        ("a heartbeat of nobody", consumer(("c", "m", 3))),
        ("nobody leaves", consumer(("c", "m", -1))),
        (
            "one without an instance leaves for a while",
            consumer(("c", "m", -2)),
        ),
        ("an odd epoch", consumer(("c", "m", -3))),
        (
            "one joins without topics",
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                ..joins()
            },
        ),
        (
            "one joins without a time",
            ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: -1,
                ..joins()
            },
        ),
        (
            "one joins with an odd assignor",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("odd".into()),
                ..joins()
            },
        ),
        (
            "one joins with an odd pattern",
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                subscribed_topic_regex: Some("[".into()),
                ..joins()
            },
        ),
    ];
    for (what, request) in cases {
        note(peer, &format!("consumer: {what}"), request).await?;
    }
    Ok(())
}

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    refused(peer).await?;
    let epoch = note(peer, "a consumer joins", consumer_joins("c", "m")).await?;
    note(peer, "a consumer lives", consumer(("c", "m", epoch))).await?;
    let owned = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic_id: peer.topic,
            partitions: vec![0, 1],
        }]),
        ..consumer(("c", "m", epoch))
    };
    note(peer, "a consumer has what it was given", owned).await?;
    note(
        peer,
        "a consumer of another epoch",
        consumer(("c", "m", 77)),
    )
    .await?;
    peer.ask("no classic group", describe("c"), 6).await?;
    let consumers = ListGroupsRequest {
        types_filter: vec!["consumer".into()],
        ..Default::default()
    };
    peer.ask("groups of consumers", consumers, 5).await?;
    at_work(peer, epoch).await?;
    note(peer, "a second consumer", consumer_joins("c", "n")).await?;
    for member in ["m", "n"] {
        note(peer, "a consumer leaves", consumer(("c", member, -1))).await?;
    }
    peer.ask("a group without consumers is deleted", delete("c"), 2)
        .await?;
    peer.ask("no consumers any more", describe_consumer("c"), 1)
        .await?;
    Ok(())
}

async fn at_work(peer: &mut Peer, epoch: i32) -> Result<()> {
    let t = ("t", peer.topic);
    for (what, by, version) in [
        ("a commit of a consumer", ("c", "m", epoch), 9),
        ("a commit of a consumer of another epoch", ("c", "m", 77), 9),
        ("a commit of no consumer", ("c", "x", epoch), 9),
        ("a commit of nobody among consumers", ("c", "", -1), 9),
        ("an old commit of a consumer", ("c", "m", epoch), 8),
    ] {
        peer.ask(what, commit(by, t, &[(0, 5)], version), version)
            .await?;
    }
    for (what, by) in [
        ("a consumer asks where it was", ("c", "m", epoch)),
        ("a consumer of another epoch asks", ("c", "m", 77)),
        ("no consumer asks", ("c", "x", epoch)),
        ("nobody asks", ("c", "", -1)),
    ] {
        peer.ask(what, fetch(by, Some((t, &[0])), 9), 9).await?;
    }
    peer.ask("a classic heartbeat of a consumer", beat("c", "m", 1), 4)
        .await?;
    peer.ask("a classic sync of a consumer", sync("c", "m", 1), 5)
        .await?;
    peer.ask("no consumer leaves", leave("c", &[("x", None)]), 5)
        .await?;
    let request = delete_offsets("c", &[("t", &[0])]);
    peer.ask("offsets of a topic that consumers read", request, 0)
        .await?;
    peer.ask("a group with consumers is deleted", delete("c"), 2)
        .await?;
    Ok(())
}

/// A consumer with an instance id, and another one of the same.
pub(super) async fn ask_static(peer: &mut Peer) -> Result<()> {
    let with = |request: ConsumerGroupHeartbeatRequest| ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..request
    };
    let first = with(consumer_joins("s", "one"));
    let epoch = note(peer, "a static consumer joins", first).await?;
    let second = with(consumer_joins("s", "two"));
    note(peer, "another of the same instance", second.clone()).await?;
    let away = with(consumer(("s", "one", -2)));
    note(peer, "the first leaves for a while", away).await?;
    note(peer, "the other takes its place", second).await?;
    let old = with(consumer(("s", "one", epoch)));
    note(peer, "the first is back", old).await?;
    let gone = with(consumer(("s", "two", -1)));
    note(peer, "the other leaves for good", gone).await?;
    peer.ask("its group of consumers is deleted", delete("s"), 2)
        .await?;
    Ok(())
}
