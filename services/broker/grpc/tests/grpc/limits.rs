//! Facts about connections and calls beyond what the server takes.

use std::time::Duration;

use tidelog_api::{ApiError, v1};
use tidelog_broker_grpc::GrpcSettings;
use tidelog_client::ErrorCode;
use tidelog_runtime::access::Allowance;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;

use crate::world::{World, entry, soon};

fn tail() -> v1::TailRequest {
    v1::TailRequest {
        topic: "t".to_owned(),
        ..v1::TailRequest::default()
    }
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_a_resting_one_gives_way() {
    let settings = GrpcSettings {
        connections_max: 2,
        ..GrpcSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1).await;
    // The world's own connection rests, so these two take the seats, and both are at work.
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut raw = soon(world.raw()).await;
        let mut answers = raw.tail(tail()).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap();
        open.push((raw, answers));
    }
    let mut refused = TcpStream::connect(world.address).await.unwrap();
    let mut said = Vec::new();
    soon(refused.read_to_end(&mut said)).await.unwrap();
    // A frame of settings, then GOAWAY with ENHANCE_YOUR_CALM and the option's name.
    assert_eq!((said[3], said[12]), (4, 7));
    assert_eq!(said[22..26], 0xb_u32.to_be_bytes());
    assert!(String::from_utf8_lossy(&said).contains("grpc.connections_max"));
    drop(open);
    // The client comes back by itself.
    assert!(soon(world.client.admin().topic("t")).await.is_ok());
}

#[tokio::test]
async fn a_connection_without_a_greeting_is_closed() {
    let settings = GrpcSettings {
        greeting_timeout: Duration::from_millis(100),
        ..GrpcSettings::default()
    };
    let world = World::with(settings).await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = soon(silent.read_to_end(&mut said)).await;
    // Whoever did greet stays.
    assert!(world.client.admin().topic("none").await.is_err());
}

#[tokio::test]
async fn a_call_too_many_is_refused_and_another_connection_has_its_own() {
    let settings = GrpcSettings {
        connections_max: 4,
        calls_max: 8,
        ..GrpcSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1).await;
    let mut greedy = soon(world.raw()).await;
    let mut open = Vec::new();
    let refused = loop {
        match soon(greedy.tail(tail())).await {
            Ok(answers) => open.push(answers),
            Err(status) => break ApiError::from_status(&status),
        }
    };
    assert_eq!(refused.code, ErrorCode::ResourceExhausted);
    assert!(refused.is_retriable());
    assert_eq!(open.len(), 5, "one of its own and four for all");
    let mut modest = soon(world.raw()).await;
    assert!(soon(modest.tail(tail())).await.is_ok());
}

#[tokio::test]
async fn large_messages_that_wait_for_memory_do_not_keep_their_connection_from_small_ones() {
    let settings = GrpcSettings {
        intake_bytes: 1024 * 1024,
        // Every connection has the least window.
        window_bytes: 0,
        ..GrpcSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1).await;
    let large = || v1::ProduceRequest {
        entries: vec![entry(&"x".repeat(700_000))],
        ..v1::ProduceRequest::default()
    };
    // One that is throttled has the memory, for longer than the test waits.
    *world.gate.allowance.lock() = Some(Allowance::Throttled(Duration::from_mins(1)));
    let before = world.gate.charged.lock().len();
    let mut holder = soon(world.raw()).await;
    let holding = tokio::spawn(async move { holder.produce(large()).await });
    soon(async {
        while world.gate.charged.lock().len() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    *world.gate.allowance.lock() = None;
    let raw = soon(world.raw()).await;
    let (mut first, mut second, mut small) = (raw.clone(), raw.clone(), raw);
    let (first, second) = (first.produce(large()), second.produce(large()));
    tokio::pin!(first, second);
    let refused = soon(async {
        tokio::select! {
            refused = &mut first => refused,
            refused = &mut second => refused,
        }
    });
    let refused = ApiError::from_status(&refused.await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::ResourceExhausted);
    assert!(refused.is_retriable());
    let request = v1::ProduceRequest {
        entries: vec![entry("small")],
        ..v1::ProduceRequest::default()
    };
    assert!(soon(small.produce(request)).await.is_ok());
    holding.abort();
}
