//! Readers that ask for much and take nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_api::v1;
use tidelog_e2e_harness::until;
use tidelog_format::batch::{BatchBuilder, Compression};
use tidelog_types::Timestamp;

use super::raw::Connection;
use super::{TOPIC, Target};
use crate::support::{World, base, batches, fetch};

const READERS: usize = 200;
const CONNECTIONS: usize = 50;
const LOG_BYTES: usize = 200_000_000;
const BATCH_BYTES: usize = 900_000;

/// A log that is larger than the server's memory.
async fn fill(target: &Target) -> Result<()> {
    let mut builder = BatchBuilder::new(Compression::None, BATCH_BYTES);
    for record in 0..30_u8 {
        let value = vec![record; BATCH_BYTES / 30];
        builder.append(Timestamp::from_millis(1), None, Some(&value), &[])?;
    }
    let batch = builder.finish(None)?.to_bytes().to_vec();
    let client = target.patient()?;
    for _ in 0..LOG_BYTES / BATCH_BYTES / 2 {
        let entry = || batches(TOPIC, 0, batch.clone());
        base(&client.log().produce(vec![entry(), entry()]).await?)?;
    }
    Ok(())
}

#[tokio::test]
async fn readers_that_take_nothing_hold_little_and_give_way() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    fill(&target).await?;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(target.server.grpc()).await?;
        for reader in 0..READERS / CONNECTIONS {
            let answer = if reader % 2 == 0 {
                let request = v1::TailRequest {
                    topic: TOPIC.to_owned(),
                    start: Some(v1::tail_request::Start::Offset(0)),
                    max_bytes: 8 << 20,
                    record_format: v1::RecordFormat::Batches.into(),
                    ..v1::TailRequest::default()
                };
                connection.ask("Tail", &request).await
            } else {
                let mut request = fetch(TOPIC, 0, 0);
                request.max_bytes = 8 << 20;
                let (answer, mut body) = connection.call("Fetch")?;
                body.send_data(super::raw::framed(&request), true)?;
                open.push((None, Some((answer, body))));
                continue;
            };
            open.push((answer.ok(), None));
        }
        std::mem::forget(connection);
    }
    target.serves().await?;
    // They give way because an honest client waits, again and again.
    let stalled = until("readers give way", Duration::from_mins(1), async || {
        target.serves().await.ok()?;
        let stalled = target
            .metric("connections_closed_total", &["stalled"])
            .await;
        stalled.ok().filter(|stalled| *stalled > 0.0)
    })
    .await?;
    ensure!(stalled > 0.0);
    target.ensure_bounded("200 readers that take nothing").await
}
