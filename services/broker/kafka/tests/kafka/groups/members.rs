//! Facts about members of the classic protocol.

use tidelog_env::CancellationToken;
use tidelog_kafka_codec::messages::find_coordinator_response::Coordinator;
use tidelog_kafka_codec::messages::join_group_request::JoinGroupRequestProtocol;
use tidelog_kafka_codec::messages::leave_group_request::MemberIdentity;
use tidelog_kafka_codec::messages::sync_group_request::SyncGroupRequestAssignment;
use tidelog_kafka_codec::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use tidelog_metadata_api::GroupsError;

use super::world;
use crate::world::{name, soon};

pub(super) fn join(version: i16) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version >= 1 { 60_000 } else { -1 },
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: "wants".into(),
        }],
        group_instance_id: (version >= 5).then(|| "i".into()),
        ..JoinGroupRequest::default()
    }
}

#[tokio::test]
async fn any_broker_coordinates_any_group() {
    let (_world, _fake, mut client) = world().await;
    for version in 0..=6 {
        let mut request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec!["g".into(), "h".into()];
        } else {
            request.key = "g".into();
        }
        let response = client.call(&request, version).await;
        let one = Coordinator {
            error_code: response.error_code,
            node_id: response.node_id,
            host: response.host,
            port: response.port,
            ..Coordinator::default()
        };
        let it = response.coordinators.last().unwrap_or(&one);
        let found = (it.error_code, it.node_id > 0, it.host.to_string(), it.port);
        assert_eq!(
            found,
            (0, true, "here".to_owned(), 9092),
            "version {version}"
        );
    }
    for key_type in [2, 9] {
        let request = FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec!["x".into()],
            ..FindCoordinatorRequest::default()
        };
        let response = client.call(&request, 6).await;
        let code = response.coordinators[0].error_code;
        assert_eq!(name(code), "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn a_member_joins_in_every_version() {
    let (_world, fake, mut client) = world().await;
    for version in 0..=9 {
        let response = client.call(&join(version), version).await;
        assert_eq!((response.error_code, response.generation_id), (0, 7));
        assert_eq!(response.protocol_name.as_deref(), Some("range"));
        assert_eq!((&*response.leader, &*response.member_id), ("m", "m"));
        assert_eq!(&*response.members[0].metadata, b"wants");
        assert_eq!(response.skip_assignment, version >= 9);
        let asked = fake.last();
        let has = |what: &str| assert!(asked.contains(what), "{version}: no {what} in {asked}");
        has(&format!("id_first: {}", version >= 4));
        has(&format!("may_skip_assignment: {}", version >= 9));
        has("session: 10s");
        has(if version >= 1 {
            "rebalance: 60s"
        } else {
            "rebalance: 10s"
        });
        has(r#"client: GroupClient { id: "world", host: "/127.0.0.1" }"#);
        has(if version >= 5 {
            r#"instance: Some("i")"#
        } else {
            "instance: None"
        });
    }
}

#[tokio::test]
async fn a_member_that_may_take_for_ever_to_join_again_may_take_a_day() {
    let (_world, fake, mut client) = world().await;
    let patient = JoinGroupRequest {
        rebalance_timeout_ms: i32::MAX,
        ..join(9)
    };
    client.call(&patient, 9).await;
    assert!(fake.last().contains("rebalance: 86400s"), "{}", fake.last());
}

#[tokio::test]
async fn a_member_that_needs_an_id_hears_it_with_the_error() {
    let (_world, fake, mut client) = world().await;
    fake.fail(GroupsError::MemberIdRequired("new".to_owned()));
    let response = client.call(&join(4), 4).await;
    assert_eq!(name(response.error_code), "MEMBER_ID_REQUIRED");
    assert_eq!(&*response.member_id, "new");
    fake.fail(GroupsError::FencedInstance);
    for (version, protocol) in [(6, Some("")), (7, None)] {
        let request = JoinGroupRequest {
            member_id: "own".into(),
            ..join(version)
        };
        let response = client.call(&request, version).await;
        assert_eq!(name(response.error_code), "FENCED_INSTANCE_ID");
        assert_eq!((&*response.member_id, response.generation_id), ("own", -1));
        assert_eq!(response.protocol_name.as_deref(), protocol);
    }
}

#[tokio::test]
async fn a_member_that_joins_as_nobody_can_is_refused_by_the_broker() {
    let (_world, fake, mut client) = world().await;
    let nameless = JoinGroupRequest {
        group_id: "".into(),
        ..join(9)
    };
    let code = client.call(&nameless, 9).await.error_code;
    assert_eq!(name(code), "INVALID_GROUP_ID");
    let timeless = JoinGroupRequest {
        session_timeout_ms: -1,
        ..join(9)
    };
    let code = client.call(&timeless, 9).await.error_code;
    assert_eq!(name(code), "INVALID_SESSION_TIMEOUT");
    assert!(fake.asked.lock().is_empty());
}

#[tokio::test]
async fn a_member_hears_what_it_has_to_do_in_every_version() {
    let (_world, fake, mut client) = world().await;
    for version in 0..=5 {
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: 7,
            member_id: "m".into(),
            protocol_type: (version >= 5).then(|| "consumer".into()),
            protocol_name: (version >= 5).then(|| "range".into()),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: "m".into(),
                assignment: "has".into(),
            }],
            ..SyncGroupRequest::default()
        };
        let response = client.call(&request, version).await;
        assert_eq!(
            (response.error_code, &*response.assignment),
            (0, &b"has"[..])
        );
        assert!(
            fake.last().contains(r#"assignments: [("m", b"has")]"#),
            "{}",
            fake.last()
        );
        if version >= 5 {
            assert_eq!(response.protocol_name.as_deref(), Some("range"));
            let silent = SyncGroupRequest {
                protocol_name: None,
                ..request
            };
            let code = client.call(&silent, version).await.error_code;
            assert_eq!(name(code), "INCONSISTENT_GROUP_PROTOCOL");
        }
    }
}

#[tokio::test]
async fn a_member_that_lives_while_its_coordinator_loads_is_not_told() {
    let (_world, fake, mut client) = world().await;
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 7,
        member_id: "m".into(),
        ..HeartbeatRequest::default()
    };
    for version in 0..=4 {
        assert_eq!(client.call(&request, version).await.error_code, 0);
    }
    for (error, code) in [
        (GroupsError::Loading, "NONE"),
        (GroupsError::RebalanceInProgress, "REBALANCE_IN_PROGRESS"),
        (GroupsError::GroupNotFound, "UNKNOWN_MEMBER_ID"),
    ] {
        fake.fail(error);
        assert_eq!(name(client.call(&request, 4).await.error_code), code);
    }
}

#[tokio::test]
async fn members_leave_one_by_one_or_together() {
    let (_world, fake, mut client) = world().await;
    let one = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        members: Vec::new(),
    };
    let member = |id: &'static str, instance: Option<&'static str>| MemberIdentity {
        member_id: id.into(),
        group_instance_id: instance.map(Into::into),
        reason: None,
    };
    let two = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![member("m", None), member("", Some("i"))],
        ..LeaveGroupRequest::default()
    };
    for version in 0..=2 {
        assert_eq!(client.call(&one, version).await.error_code, 0);
        assert!(fake.last().contains(r#"member_id: "m""#));
    }
    for version in 3..=5 {
        let response = client.call(&two, version).await;
        let members = response.members.iter();
        let told = members.map(|it| {
            (
                &*it.member_id,
                it.group_instance_id.as_deref(),
                it.error_code,
            )
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [("m", None, 0), ("", Some("i"), 0)]
        );
    }
    *fake.fails_each.lock() = Some(GroupsError::UnknownMember);
    let code = client.call(&one, 2).await.error_code;
    assert_eq!(name(code), "UNKNOWN_MEMBER_ID");
    let response = client.call(&two, 5).await;
    assert_eq!(response.error_code, 0);
    assert_eq!(name(response.members[1].error_code), "UNKNOWN_MEMBER_ID");
    // Of a group that is not there nobody is a member.
    fake.fail(GroupsError::GroupNotFound);
    let code = client.call(&one, 2).await.error_code;
    assert_eq!(name(code), "UNKNOWN_MEMBER_ID");
    let response = client.call(&two, 5).await;
    let codes = response.members.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["UNKNOWN_MEMBER_ID"; 2]);
}

#[tokio::test]
async fn who_waits_for_the_others_keeps_nobody_else_waiting_and_hears_when_the_broker_goes() {
    let (world, fake, mut client) = world().await;
    let lets_in = CancellationToken::new();
    *fake.lets_in.lock() = Some(lets_in.clone());
    let first = client.send(&join(9), 9).await;
    // What comes behind it on its connection waits for it, as everything does there.
    let second = client.send(&join(9), 9).await;
    let mut other = world.client().await;
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        ..HeartbeatRequest::default()
    };
    assert_eq!(other.call(&beat, 4).await.error_code, 0);
    lets_in.cancel();
    for sent in [first, second] {
        let (id, response) = client.receive::<JoinGroupRequest>(9).await;
        assert_eq!((id, response.error_code), (sent, 0));
    }
    *fake.lets_in.lock() = Some(CancellationToken::new());
    let before = fake.asked.lock().len();
    client.send(&join(9), 9).await;
    while fake.asked.lock().len() == before {
        tokio::task::yield_now().await;
    }
    world.stop.cancel();
    let (_, response) = client.receive::<JoinGroupRequest>(9).await;
    assert_eq!(name(response.error_code), "NOT_COORDINATOR");
    soon(world.serving).await.unwrap();
}
