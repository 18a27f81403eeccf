//! Facts about groups as operators see them.

use tidelog_kafka_codec::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
};
use tidelog_metadata_api::GroupsError;

use super::world;
use crate::world::name;

#[tokio::test]
async fn groups_are_listed_page_by_page_with_states_and_types_where_the_version_knows_them() {
    let (_world, _fake, mut client) = world().await;
    for version in 0..=5 {
        let response = client.call(&ListGroupsRequest::default(), version).await;
        assert_eq!(response.error_code, 0);
        let groups = response.groups.iter();
        let told = groups.map(|it| (&*it.group_id, &*it.group_state, &*it.group_type));
        let state = |state: &'static str| if version >= 4 { state } else { "" };
        let kind = |kind: &'static str| if version >= 5 { kind } else { "" };
        let expected = [
            ("a", state("Stable"), kind("classic")),
            ("b", state("Empty"), kind("consumer")),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected, "version {version}");
    }
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let (_world, fake, mut client) = world().await;
    for (states, types, expected) in [
        (&["stable"][..], &[][..], &["a"][..]),
        (&[], &["Consumer"], &["b"]),
        (&["Empty", "Stable"], &["classic"], &["a"]),
        (&["Empty"], &["classic"], &[]),
        (&["Dead"], &[], &[]),
        (&[], &["share"], &[]),
    ] {
        let request = ListGroupsRequest {
            states_filter: states.iter().map(|it| (*it).into()).collect(),
            types_filter: types.iter().map(|it| (*it).into()).collect(),
        };
        let response = client.call(&request, 5).await;
        let names = response.groups.iter().map(|it| &*it.group_id);
        assert_eq!(names.collect::<Vec<_>>(), expected, "{states:?} {types:?}");
    }
    fake.fail(GroupsError::Loading);
    let response = client.call(&ListGroupsRequest::default(), 5).await;
    assert_eq!(name(response.error_code), "COORDINATOR_LOAD_IN_PROGRESS");
}

#[tokio::test]
async fn groups_are_described_and_one_that_is_not_there_is_dead() {
    let (_world, fake, mut client) = world().await;
    let request = |include_authorized_operations| DescribeGroupsRequest {
        groups: vec!["g".into(), "consumer".into(), "".into()],
        include_authorized_operations,
    };
    for version in 0..=6 {
        let response = client.call(&request(version >= 3), version).await;
        let group = &response.groups[0];
        assert_eq!((group.error_code, &*group.group_state), (0, "Stable"));
        assert_eq!(
            (&*group.protocol_type, &*group.protocol_data),
            ("consumer", "range")
        );
        let member = &group.members[0];
        assert_eq!(
            (&*member.member_id, &*member.client_host),
            ("m", "/10.0.0.1")
        );
        assert_eq!(
            (&*member.member_metadata, &*member.member_assignment),
            (&b"wants"[..], &b"has"[..])
        );
        assert_eq!(member.group_instance_id.is_some(), version >= 4);
        let operations = if version >= 3 {
            0b1101_0100_1000
        } else {
            i32::MIN
        };
        assert_eq!(group.authorized_operations, operations);
        // A group of the other protocol, and what is no name of a group.
        for other in &response.groups[1..] {
            assert_eq!(&*other.group_state, "Dead");
            let code = if version >= 6 {
                "GROUP_ID_NOT_FOUND"
            } else {
                "NONE"
            };
            assert_eq!(name(other.error_code), code);
        }
    }
    fake.fail(GroupsError::NotCoordinator);
    let response = client.call(&request(false), 5).await;
    assert_eq!(name(response.groups[0].error_code), "NOT_COORDINATOR");
}

#[tokio::test]
async fn groups_are_deleted_each_once_and_each_with_its_answer() {
    let (_world, fake, mut client) = world().await;
    let request = DeleteGroupsRequest {
        groups_names: vec!["g".into(), "".into(), "g".into(), "h".into()],
    };
    for version in 0..=3 {
        let before = fake.asked.lock().len();
        let response = client.call(&request, version).await;
        let results = response.results.iter();
        let told = results.map(|it| (&*it.group_id, name(it.error_code)));
        let expected = [("g", "NONE"), ("", "GROUP_ID_NOT_FOUND"), ("h", "NONE")];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(fake.asked.lock().len() - before, 2);
    }
    fake.fail(GroupsError::NotEmpty);
    let response = client.call(&request, 2).await;
    assert_eq!(name(response.results[0].error_code), "NON_EMPTY_GROUP");
}
