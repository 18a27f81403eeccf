//! Facts about deadlines, sizes, health, reflection and the end of the server.

use std::time::Duration;

use tidelog_api::{ApiError, v1};
use tidelog_client::ErrorCode;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::world::{World, entry, soon};

#[tokio::test]
async fn a_deadline_ends_a_long_poll_with_the_code_of_a_deadline() {
    let world = World::with_topic(1).await;
    let wanted = v1::FetchPartition {
        topic: "t".to_owned(),
        ..v1::FetchPartition::default()
    };
    let mut request = Request::new(v1::FetchRequest {
        partitions: vec![wanted],
        max_wait: Some(Duration::from_mins(1).try_into().unwrap()),
        ..v1::FetchRequest::default()
    });
    // Only the header: the client itself does not watch the time.
    request
        .metadata_mut()
        .insert("grpc-timeout", "400m".parse().unwrap());
    let status = soon(world.raw().await.fetch(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let error = ApiError::from_status(&status);
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(!error.outcome_unknown, "a read changes nothing");
}

#[tokio::test]
async fn a_deadline_ends_a_stream() {
    let world = World::with_topic(1).await;
    let mut request = Request::new(v1::TailRequest {
        topic: "t".to_owned(),
        ..v1::TailRequest::default()
    });
    request
        .metadata_mut()
        .insert("grpc-timeout", "200m".parse().unwrap());
    let mut answers = world.raw().await.tail(request).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    let status = soon(answers.next()).await.unwrap().unwrap_err();
    assert_eq!(
        ApiError::from_status(&status).code,
        ErrorCode::DeadlineExceeded
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_connection_lives() {
    let world = World::with_topic(1).await;
    let mut raw = world.raw().await;
    let request = v1::ProduceRequest {
        entries: vec![entry(&"x".repeat(17 * 1024 * 1024))],
        ..v1::ProduceRequest::default()
    };
    let status = raw.produce(request).await.unwrap_err();
    assert_eq!(
        ApiError::from_status(&status).code,
        ErrorCode::RequestTooLarge,
        "{status:?}"
    );
    let request = v1::ProduceRequest {
        entries: vec![entry("small")],
        ..v1::ProduceRequest::default()
    };
    assert!(raw.produce(request).await.is_ok());
}

#[tokio::test]
async fn a_write_is_seen_by_whoever_has_its_token() {
    let world = World::with_topic(4).await;
    let mut raw = world.raw().await;
    let request = v1::ProduceRequest {
        entries: vec![entry("x")],
        ..v1::ProduceRequest::default()
    };
    let token = raw.produce(request).await.unwrap().into_inner().token;
    assert!(!token.is_empty() && token.len() <= 4096);
    let wanted = v1::FetchPartition {
        topic: "t".to_owned(),
        ..v1::FetchPartition::default()
    };
    let request = v1::FetchRequest {
        partitions: vec![wanted],
        token: token.clone(),
        ..v1::FetchRequest::default()
    };
    let answer = raw.fetch(request).await.unwrap().into_inner();
    assert_eq!(answer.partitions[0].high_watermark, 1);
    assert!(answer.token.len() >= token.len());
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let world = World::new().await;
    let mut health = HealthClient::new(world.channel().await);
    for service in ["", "tidelog.v1.LogService", "tidelog.v1.TopicService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let mut reflection = ServerReflectionClient::new(world.channel().await);
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .unwrap();
    let answer = answers
        .into_inner()
        .next()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for service in [
        "LogService",
        "TopicService",
        "GroupService",
        "ClusterService",
    ] {
        assert!(
            names.contains(&format!("tidelog.v1.{service}")),
            "{names:?}"
        );
    }
    assert!(
        names.contains(&"grpc.health.v1.Health".to_owned()),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_took_and_ends_its_streams() {
    let world = World::with_topic(1).await;
    let mut raw = world.raw().await;
    let request = v1::TailRequest {
        topic: "t".to_owned(),
        ..v1::TailRequest::default()
    };
    let mut tail = raw.tail(request).await.unwrap().into_inner();
    tail.next().await.unwrap().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut produce = raw.produce_stream(requests).await.unwrap().into_inner();
    let entries = vec![entry("x")];
    sender
        .send(v1::ProduceStreamRequest {
            entries,
            ..Default::default()
        })
        .await
        .unwrap();
    produce.next().await.unwrap().unwrap();

    world.stop.cancel();
    let status = soon(produce.next()).await.unwrap().unwrap_err();
    assert_eq!(ApiError::from_status(&status).code, ErrorCode::Unavailable);
    let ended = loop {
        match soon(tail.next()).await.unwrap() {
            Ok(_) => {}
            Err(status) => break ApiError::from_status(&status),
        }
    };
    assert!(ended.is_retriable());
    drop((sender, produce, tail, raw, world.client));
    soon(world.serving).await.unwrap().unwrap();
}
