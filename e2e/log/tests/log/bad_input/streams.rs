//! Streams that are cut in the middle, deadlines that pass, and bytes that are no gRPC at all.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_client::v1;
use tidelog_client::v1::log_service_client::LogServiceClient;
use tidelog_e2e_harness::{Server, ServerOptions, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::support::{World, fetch, fetched, records};

const TOPIC: &str = "streams";
const ENTRIES: usize = 50;
const LIMIT: Duration = Duration::from_secs(10);

async fn start() -> Result<(Server, World)> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    server
        .client()?
        .admin()
        .create_topic(TOPIC, 1, [] as [(&str, &str); 0])
        .await?;
    Ok((server, world))
}

/// The values of partition 0.
async fn values(server: &Server) -> Result<Vec<String>> {
    let data = server.client()?.log().fetch(fetch(TOPIC, 0, 0)).await?;
    let records = fetched(&data[0]);
    let value = |record: v1::Record| String::from_utf8(record.value.unwrap_or_default().to_vec());
    Ok(records.into_iter().map(value).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn a_produce_stream_that_is_cut_leaves_a_prefix_of_what_was_sent() -> Result<()> {
    let (server, _world) = start().await?;
    let mut raw = LogServiceClient::connect(format!("http://{}", server.grpc())).await?;
    let (requests, receive) = tokio::sync::mpsc::channel(ENTRIES);
    let mut answers = raw
        .produce_stream(ReceiverStream::new(receive))
        .await?
        .into_inner();
    for n in 0..ENTRIES {
        let entry = records(TOPIC, 0, [format!("{n}")]);
        requests
            .send(v1::ProduceStreamRequest {
                entries: vec![entry],
                ..v1::ProduceStreamRequest::default()
            })
            .await?;
        if n == ENTRIES / 2 {
            answers.next().await.context("an answer")??;
        }
    }
    // Nobody says goodbye: the whole connection goes.
    drop((answers, raw, requests));

    let there = until("what was answered is there", LIMIT, async || {
        values(&server)
            .await
            .ok()
            .filter(|values| !values.is_empty())
    })
    .await?;
    let sent: Vec<String> = (0..ENTRIES).map(|n| n.to_string()).collect();
    assert!(sent.starts_with(&there), "{there:?}");
    Ok(())
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_told_and_harms_nothing() -> Result<()> {
    let (server, _world) = start().await?;
    let mut raw = LogServiceClient::connect(format!("http://{}", server.grpc())).await?;
    // A read that waits for more than there will be: the deadline ends it.
    let mut request = Request::new(v1::FetchRequest {
        max_wait: Some(std::time::Duration::from_secs(30).try_into()?),
        min_bytes: 1_000,
        ..fetch(TOPIC, 0, 0)
    });
    request.set_timeout(Duration::from_millis(300));
    let status = raw.fetch(request).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    let mut late = Request::new(v1::ProduceRequest {
        entries: vec![records(TOPIC, 0, ["late"])],
        ..v1::ProduceRequest::default()
    });
    late.set_timeout(Duration::from_nanos(1));
    assert!(raw.produce(late).await.is_err());
    server
        .client()?
        .log()
        .produce(vec![records(TOPIC, 0, ["in time"])])
        .await?;
    // Whether the late one was appended nobody knows, nor when: it came on another connection.
    let values = values(&server).await?;
    let in_time = values.iter().filter(|value| *value == "in time");
    assert_eq!(in_time.count(), 1, "{values:?}");
    Ok(())
}

async fn send(address: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // The server may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await?;
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_grpc_end_their_connection_and_nothing_else() -> Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let (server, _world) = start().await?;
    let garbage: Vec<u8> = (0..10_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        garbage.clone(),
        [PREFACE, &garbage].concat(),
        // A frame of headers that promises 16 MiB and ends.
        [PREFACE, &[0xFF, 0xFF, 0xFF, 1, 4, 0, 0, 0, 1]].concat(),
        PREFACE[..10].to_vec(),
    ] {
        send(server.grpc(), &bytes).await?;
        send(server.http(), &bytes).await?;
    }
    server
        .client()?
        .log()
        .produce(vec![records(TOPIC, 0, ["well"])])
        .await?;
    assert_eq!(values(&server).await?, ["well"]);
    Ok(())
}
