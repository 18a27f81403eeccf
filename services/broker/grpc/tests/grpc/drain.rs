//! Facts about the end of the server: who is waited for, and who is not.

use std::time::Duration;

use tidelog_api::v1::log_service_client::LogServiceClient;
use tidelog_api::{ApiError, v1};
use tidelog_broker_grpc::GrpcSettings;
use tidelog_client::ErrorCode;
use tidelog_types::Offset;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::world::{World, entry, soon};

/// So many answers wait for a client that takes none, at least.
const WAITING: usize = 70;

/// A world in which who stands still is soon given up.
async fn hasty() -> World {
    let settings = GrpcSettings {
        stall_timeout: Duration::from_millis(100),
        ..GrpcSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1).await;
    world
}

/// A client that can take only a few answers before it reads them.
async fn narrow(world: &World) -> LogServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", world.address)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(1024);
    LogServiceClient::new(endpoint.connect().await.unwrap())
}

fn messages() -> impl tokio_stream::Stream<Item = v1::ProduceStreamRequest> {
    let message = v1::ProduceStreamRequest {
        entries: vec![entry("x")],
        ..v1::ProduceStreamRequest::default()
    };
    tokio_stream::iter(vec![message; 300]).merge(tokio_stream::pending())
}

#[tokio::test]
async fn a_client_that_takes_no_answers_does_not_hold_up_the_end_and_its_records_are_there() {
    let world = hasty().await;
    let mut raw = narrow(&world).await;
    let answers = raw.produce_stream(messages()).await.unwrap();
    soon(async { while world.values(0).await.len() < WAITING {} }).await;
    world.stop.cancel();
    soon(world.serving).await.unwrap().unwrap();
    world.engine.drain().await;
    let catalogue = world.engine.catalogue();
    let name = tidelog_metadata_api::TopicSelector::Name("t".parse().unwrap());
    let topic = catalogue.topic(&name).await.unwrap();
    let (at, _) = topic
        .partition(tidelog_types::PartitionIndex::new(0))
        .unwrap();
    let bounds = world.engine.bounds(at).await.unwrap();
    assert!(bounds.high_watermark >= Offset::new(WAITING as u64));
    drop(answers);
}

#[tokio::test]
async fn a_client_that_takes_its_answers_late_hears_of_all_that_was_taken() {
    let world = World::with_topic(1).await;
    let mut raw = narrow(&world).await;
    let mut answers = raw.produce_stream(messages()).await.unwrap().into_inner();
    soon(async { while world.values(0).await.len() < WAITING {} }).await;
    world.stop.cancel();
    let mut heard = 0;
    let status = loop {
        match soon(answers.next()).await.unwrap() {
            Ok(answer) => heard += answer.results.len(),
            Err(status) => break status,
        }
    };
    assert!(heard >= WAITING);
    assert_eq!(ApiError::from_status(&status).code, ErrorCode::Unavailable);
    drop((answers, raw, world.client));
    soon(world.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_that_never_end_and_connections_that_never_speak_do_not_hold_up_the_end() {
    let world = hasty().await;
    let _silent = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let mut health = HealthClient::new(world.channel().await);
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    world.stop.cancel();
    soon(world.serving).await.unwrap().unwrap();
    drop(watch);
}

#[tokio::test]
async fn a_call_that_waits_for_what_another_broker_has_shown_is_told_to_go_elsewhere() {
    let (ahead, world) = (World::with_topic(1).await, World::with_topic(1).await);
    for _ in 0..20 {
        ahead.produce(entry("x")).await.unwrap();
    }
    let request = v1::ProduceRequest {
        entries: vec![entry("x")],
        ..v1::ProduceRequest::default()
    };
    let token = ahead
        .raw()
        .await
        .produce(request)
        .await
        .unwrap()
        .into_inner()
        .token;
    let mut raw = world.raw().await;
    let list = tokio::spawn(async move {
        let request = v1::ListOffsetsRequest {
            partitions: vec![v1::ListOffsetsPartition::default()],
            token,
        };
        raw.list_offsets(request).await
    });
    tokio::task::yield_now().await;
    // The server has read a call that came later on another connection, and this one still waits.
    world.produce(entry("x")).await.unwrap();
    assert!(!list.is_finished());
    world.stop.cancel();
    let status = soon(list).await.unwrap().unwrap_err();
    assert_eq!(ApiError::from_status(&status).code, ErrorCode::Unavailable);
    drop(world.client);
    soon(world.serving).await.unwrap().unwrap();
}
