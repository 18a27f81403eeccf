//! Many connections, many calls, half messages, huge messages.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use tidelog_api::v1;
use tidelog_api::v1::log_service_client::LogServiceClient;
use tidelog_e2e_harness::until;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::raw::{Connection, prefix};
use super::{TOPIC, Target};
use crate::support::{World, batches};

const CONNECTIONS: usize = 500;
const STREAMS: usize = 10_000;

#[tokio::test]
async fn half_messages_on_many_connections_keep_nobody_out() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let Ok(mut connection) = Connection::open(target.server.grpc()).await else {
            continue;
        };
        for _ in 0..4 {
            let Ok((answer, mut body)) = connection.call("Produce") else {
                break;
            };
            let mut half = prefix(1 << 20);
            half.resize(15_000, 7);
            let _ = body.send_data(half.freeze(), false);
            open.push((answer, body));
        }
        // Dropping the handle of a connection would close it.
        std::mem::forget(connection);
    }
    target.serves().await?;
    let gone = target
        .metric("connections_closed_total", &["resting"])
        .await?
        + target.metric("connections_refused_total", &[]).await?;
    ensure!(gone > 300.0, "`{gone}` connections gave way");
    target
        .ensure_bounded("half messages on 500 connections")
        .await
}

#[tokio::test]
async fn ten_thousand_streams_leave_room_for_others() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let mut open = Vec::new();
    // As many as one connection may have open: one that tries more is cut off.
    for _ in 0..STREAMS / 200 {
        let mut connection = Connection::open(target.server.grpc()).await?;
        for _ in 0..200 {
            let Ok((answer, mut body)) = connection.call("ProduceStream") else {
                break;
            };
            // A whole message, so that the call is at work.
            let _ = body.send_data(prefix(0).freeze(), false);
            open.push((answer, body));
        }
        std::mem::forget(connection);
    }
    target.serves().await?;
    until("calls are refused", Duration::from_secs(20), async || {
        let refused = target.metric("calls_refused_total", &[]).await.ok()?;
        (refused > 100.0).then_some(())
    })
    .await?;
    target.serves().await?;
    target.ensure_bounded("10,000 streams").await
}

#[tokio::test]
async fn huge_messages_are_refused_before_they_are_gathered() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let bytes = Bytes::from(vec![7; 15 << 20]);
    let mut senders = JoinSet::new();
    for sender in 0..40_usize {
        let channel = Channel::from_shared(format!("http://{}", target.server.grpc()))?;
        // Half of them are over the limit, half just below it.
        let length = if sender % 2 == 0 { 15 << 20 } else { 2_500_000 };
        let entries = vec![batches(TOPIC, 0, bytes[..length].to_vec())];
        senders.spawn(async move {
            let mut log = LogServiceClient::new(channel.connect().await?)
                .max_encoding_message_size(usize::MAX);
            for _ in 0..3 {
                let request = v1::ProduceRequest {
                    entries: entries.clone(),
                    ..v1::ProduceRequest::default()
                };
                // Refused as a whole, or its only batch is no batch.
                if let Ok(answer) = log.produce(request).await {
                    let result = &answer.get_ref().results[0].batches[0].outcome;
                    ensure!(
                        matches!(result, Some(v1::batch_result::Outcome::Error(_))),
                        "{result:?}"
                    );
                }
            }
            anyhow::Ok(())
        });
    }
    target.serves().await?;
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    target.ensure_bounded("huge messages").await
}
