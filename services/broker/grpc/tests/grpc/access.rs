//! Every RPC asks the authorizer and the quota; a new one fails here until it does.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tidelog_api::v1::cluster_service_client::ClusterServiceClient;
use tidelog_api::v1::group_service_client::GroupServiceClient;
use tidelog_api::v1::topic_service_client::TopicServiceClient;
use tidelog_api::{ApiError, FILE_DESCRIPTOR_SET, v1};
use tidelog_client::ErrorCode;
use tidelog_runtime::access::Allowance;
use tokio_stream::StreamExt as _;
use tonic::{Response, Status};

use crate::world::{World, entry};

/// Service and method of every RPC that the proto files declare.
fn declared() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            service
                .method
                .iter()
                .map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .collect()
}

/// The error of the RPC as a whole, as far as it has one.
fn whole<T>(answer: Result<Response<T>, Status>) -> Result<T, ErrorCode> {
    answer
        .map(Response::into_inner)
        .map_err(|status| ApiError::from_status(&status).code)
}

/// The error of the one item of an RPC over many.
fn item(error: Option<&v1::Error>) -> Result<(), ErrorCode> {
    error.map_or(
        Ok(()),
        |error| Err(ApiError::from_proto(error.clone()).code),
    )
}

fn result(result: &v1::ProduceResult) -> Result<(), ErrorCode> {
    match &result.batches[0].outcome {
        Some(v1::batch_result::Outcome::Error(error)) => item(Some(error)),
        _ => Ok(()),
    }
}

/// Makes one sensible call of an RPC and answers how the service judged it.
#[expect(clippy::too_many_lines, reason = "one arm for each RPC, all alike")]
async fn call(world: &World, rpc: &str) -> Result<(), ErrorCode> {
    let mut log = world.raw().await;
    let mut topics = TopicServiceClient::new(world.channel().await);
    let mut groups = GroupServiceClient::new(world.channel().await);
    let mut cluster = ClusterServiceClient::new(world.channel().await);
    let t = || "t".to_owned();
    match rpc {
        "LogService/Produce" => {
            let request = v1::ProduceRequest {
                entries: vec![entry("x")],
                ..Default::default()
            };
            result(&whole(log.produce(request).await)?.results[0])
        }
        "LogService/ProduceStream" => {
            let entries = vec![entry("x")];
            let request = v1::ProduceStreamRequest {
                entries,
                ..Default::default()
            };
            let requests = tokio_stream::iter([request]);
            let mut answers = whole(log.produce_stream(requests).await)?;
            result(&answers.next().await.unwrap().unwrap().results[0])
        }
        "LogService/Fetch" => {
            let wanted = v1::FetchPartition {
                topic: t(),
                ..Default::default()
            };
            let request = v1::FetchRequest {
                partitions: vec![wanted],
                ..Default::default()
            };
            item(
                whole(log.fetch(request).await)?.partitions[0]
                    .error
                    .as_ref(),
            )
        }
        "LogService/Tail" => {
            let request = v1::TailRequest {
                topic: t(),
                until_end: true,
                ..Default::default()
            };
            whole(log.tail(request).await).map(drop)
        }
        "LogService/ListOffsets" => {
            let position = v1::OffsetPosition::Earliest.into();
            let query = Some(v1::list_offsets_partition::Query::Position(position));
            let wanted = v1::ListOffsetsPartition {
                topic: t(),
                partition: 0,
                query,
            };
            let request = v1::ListOffsetsRequest {
                partitions: vec![wanted],
                ..Default::default()
            };
            item(
                whole(log.list_offsets(request).await)?.results[0]
                    .error
                    .as_ref(),
            )
        }
        "LogService/DeleteRecords" => {
            let wanted = v1::DeleteRecordsPartition {
                topic: t(),
                ..Default::default()
            };
            let request = v1::DeleteRecordsRequest {
                partitions: vec![wanted],
                ..Default::default()
            };
            item(
                whole(log.delete_records(request).await)?.results[0]
                    .error
                    .as_ref(),
            )
        }
        "LogService/InitProducer" => {
            whole(log.init_producer(v1::InitProducerRequest::default()).await).map(drop)
        }
        "TopicService/CreateTopic" => {
            let request = v1::CreateTopicRequest {
                name: "new".to_owned(),
                ..Default::default()
            };
            whole(topics.create_topic(request).await).map(drop)
        }
        "TopicService/GetTopic" => {
            let request = v1::GetTopicRequest {
                name: t(),
                ..Default::default()
            };
            whole(topics.get_topic(request).await).map(drop)
        }
        "TopicService/ListTopics" => {
            whole(topics.list_topics(v1::ListTopicsRequest::default()).await).map(drop)
        }
        "TopicService/AlterTopicConfig" => {
            let unset = vec!["retention.ms".to_owned()];
            let request = v1::AlterTopicConfigRequest {
                name: t(),
                unset,
                ..Default::default()
            };
            whole(topics.alter_topic_config(request).await).map(drop)
        }
        "TopicService/AddPartitions" => {
            let request = v1::AddPartitionsRequest {
                name: t(),
                partition_count: 9,
                ..Default::default()
            };
            whole(topics.add_partitions(request).await).map(drop)
        }
        "TopicService/DeleteTopic" => {
            let request = v1::DeleteTopicRequest {
                name: t(),
                ..Default::default()
            };
            whole(topics.delete_topic(request).await).map(drop)
        }
        "TopicService/UndeleteTopic" => {
            let request = v1::UndeleteTopicRequest {
                name: "gone".to_owned(),
                ..Default::default()
            };
            whole(topics.undelete_topic(request).await).map(drop)
        }
        "GroupService/ListGroups" => {
            whole(groups.list_groups(v1::ListGroupsRequest::default()).await).map(drop)
        }
        "GroupService/DescribeGroups" => {
            let request = v1::DescribeGroupsRequest {
                names: vec!["g".to_owned()],
                ..Default::default()
            };
            let results = whole(groups.describe_groups(request).await)?.results;
            item(results[0].error.as_ref())
        }
        "GroupService/ListGroupOffsets" => {
            let request = v1::ListGroupOffsetsRequest {
                group: "g".to_owned(),
                ..Default::default()
            };
            whole(groups.list_group_offsets(request).await).map(drop)
        }
        "GroupService/AlterGroupOffsets" => {
            let request = v1::AlterGroupOffsetsRequest {
                group: "g".to_owned(),
                changes: vec![v1::GroupOffsetChange {
                    topic: t(),
                    offset: Some(1),
                    ..Default::default()
                }],
                ..Default::default()
            };
            let results = whole(groups.alter_group_offsets(request).await)?.results;
            item(results[0].error.as_ref())
        }
        "GroupService/Subscribe" => {
            let join = v1::SubscribeJoin {
                group: "g".to_owned(),
                topics: vec![t()],
                ..Default::default()
            };
            let request = v1::SubscribeRequest {
                kind: Some(v1::subscribe_request::Kind::Join(join)),
            };
            let requests = tokio_stream::iter([request]).chain(tokio_stream::pending());
            let mut answers = whole(groups.subscribe(requests).await)?;
            let first = answers.next().await.unwrap();
            whole(first.map(Response::new)).map(drop)
        }
        "GroupService/DeleteGroups" => {
            let request = v1::DeleteGroupsRequest {
                names: vec!["g".to_owned()],
                ..Default::default()
            };
            let results = whole(groups.delete_groups(request).await)?.results;
            item(results[0].error.as_ref())
        }
        "ClusterService/DescribeCluster" => whole(
            cluster
                .describe_cluster(v1::DescribeClusterRequest::default())
                .await,
        )
        .map(drop),
        "ClusterService/ListMembers" => whole(
            cluster
                .list_members(v1::ListMembersRequest::default())
                .await,
        )
        .map(drop),
        "ClusterService/ListShards" => {
            whole(cluster.list_shards(v1::ListShardsRequest::default()).await).map(drop)
        }
        "ClusterService/DrainMember" => {
            let request = v1::DrainMemberRequest {
                member_id: world.member.clone(),
                ..Default::default()
            };
            whole(cluster.drain_member(request).await).map(drop)
        }
        "ClusterService/UndrainMember" => {
            let request = v1::UndrainMemberRequest {
                member_id: world.member.clone(),
                ..Default::default()
            };
            whole(cluster.undrain_member(request).await).map(drop)
        }
        new => panic!("`{new}` is new: add a call of it here, and see that it asks"),
    }
}

/// A world with a topic in use and a deleted one.
async fn world() -> World {
    let world = World::with_topic(1).await;
    world.topic("gone", 1).await;
    world.client.admin().delete_topic("gone").await.unwrap();
    world.gate.asked.lock().clear();
    world.gate.charged.lock().clear();
    world
}

#[tokio::test]
async fn every_rpc_asks_the_authorizer_and_obeys() {
    let world = world().await;
    *world.gate.denies.lock() = true;
    for rpc in declared() {
        assert_eq!(
            call(&world, &rpc).await,
            Err(ErrorCode::PermissionDenied),
            "{rpc}"
        );
        assert!(
            !std::mem::take(&mut *world.gate.asked.lock()).is_empty(),
            "{rpc}"
        );
        assert!(
            world.gate.charged.lock().is_empty(),
            "{rpc} costs before it is allowed"
        );
    }
}

#[tokio::test]
async fn every_rpc_asks_the_quota_and_obeys() {
    let world = world().await;
    *world.gate.allowance.lock() = Some(Allowance::Refused(Duration::from_secs(3)));
    for rpc in declared() {
        assert_eq!(
            call(&world, &rpc).await,
            Err(ErrorCode::ResourceExhausted),
            "{rpc}"
        );
        assert!(
            !std::mem::take(&mut *world.gate.charged.lock()).is_empty(),
            "{rpc}"
        );
    }
}

#[tokio::test]
async fn every_rpc_succeeds_when_it_may() {
    for rpc in declared() {
        let world = world().await;
        assert_eq!(call(&world, &rpc).await, Ok(()), "{rpc}");
    }
}

#[tokio::test]
async fn the_quota_hears_who_calls_and_how_many_bytes() {
    let world = world().await;
    world
        .client
        .log()
        .produce(vec![entry(&"x".repeat(1000))])
        .await
        .unwrap();
    assert_eq!(world.values(0).await.len(), 1);
    let charged = std::mem::take(&mut *world.gate.charged.lock());
    assert!(charged.iter().all(|(client_id, _)| client_id == "world"));
    let (_, written) = charged.first().unwrap();
    assert!(written.bytes_in >= 1000, "{written:?}");
    let (_, read) = charged.last().unwrap();
    assert!(read.bytes_out >= 1000, "{read:?}");
}

#[tokio::test]
async fn a_denied_topic_is_not_listed() {
    let world = world().await;
    let listed = world.client.admin().topics("", false).await.unwrap();
    assert_eq!(listed.len(), 1);
    let asked = std::mem::take(&mut *world.gate.asked.lock());
    assert!(
        asked.iter().any(|(_, resource)| resource == "topic `t`"),
        "{asked:?}"
    );
}
