//! Frames of HTTP/2 that cost their sender nothing.

use anyhow::Result;
use h2::Reason;
use tokio::task::JoinSet;

use super::Target;
use super::raw::{Connection, flood, frame};
use crate::support::World;

const ATTACKERS: usize = 8;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

#[tokio::test]
async fn floods_of_frames_end_or_stall_and_cost_nothing() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let address = target.server.grpc();
    let mut attackers = JoinSet::new();
    for attacker in 0..ATTACKERS {
        attackers.spawn(async move {
            // A literal header with a value that goes on and on.
            let endless = frame(CONTINUATION, 0, 1, &[b'x'; 16_000]);
            let begun = frame(HEADERS, 0, 1, &[0, 1, b'a', 0x7f, 0xff, 0xff, 0xff, 0x07]);
            let pings = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
            let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1_000);
            match attacker % 3 {
                0 => flood(address, &begun, &endless, 4_000).await,
                1 => flood(address, &[], &pings, 1_000).await,
                _ => flood(address, &[], &settings, 1_000).await,
            }
        });
    }
    target.serves().await?;
    while let Some(attacker) = attackers.join_next().await {
        println!("an attacker sent its frames {} times", attacker??);
    }
    target.serves().await?;
    target.ensure_bounded("floods of frames").await
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_are_opened_cost_nothing() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let address = target.server.grpc();
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        attackers.spawn(async move {
            let mut connection = Connection::open(address).await?;
            for stream in 0..5_000 {
                let Ok((_, mut body)) = connection.call("Produce") else {
                    break;
                };
                body.send_reset(Reason::CANCEL);
                if stream % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            anyhow::Ok(connection)
        });
    }
    target.serves().await?;
    while let Some(attacker) = attackers.join_next().await {
        drop(attacker??);
    }
    target.serves().await?;
    target.ensure_bounded("rapid reset").await
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let channel =
            tonic::transport::Channel::from_shared(format!("http://{}", target.server.grpc()))?;
        attackers.spawn(async move {
            let channel = channel.connect().await?;
            let mut log = tidelog_api::v1::log_service_client::LogServiceClient::new(channel);
            for _ in 0..50 {
                let mut request = tonic::Request::new(tidelog_api::v1::FetchRequest::default());
                let gigantic = "x".repeat(200_000);
                request
                    .metadata_mut()
                    .insert("x-gigantic", gigantic.parse()?);
                anyhow::ensure!(log.fetch(request).await.is_err());
            }
            anyhow::Ok(())
        });
    }
    target.serves().await?;
    while let Some(attacker) = attackers.join_next().await {
        attacker??;
    }
    target.ensure_bounded("gigantic headers").await
}
