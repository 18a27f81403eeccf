//! Readers that ask for much and take nothing, or a little now and then.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use h2::client::ResponseFuture;
use tidelog_api::v1;
use tidelog_e2e_harness::until;
use tidelog_format::batch::{BatchBuilder, Compression};
use tidelog_types::Timestamp;
use tokio::task::JoinSet;

use super::raw::{Connection, framed};
use super::{TOPIC, Target};
use crate::support::{World, base, batches, fetch};

const CONNECTIONS: usize = 50;
/// Calls of each connection.
const CALLS: usize = 4;
const RECORDS: usize = 30;
/// Batches of which an answer holds one or two.
const LARGE: usize = 900_000;
/// Batches of which an answer holds many, however short memory is.
const SMALL: usize = 15_000;
/// How long a reader that moves slowly rests after each frame: then it takes more than the least that
/// counts as moving.
const REST: Duration = Duration::from_millis(200);
/// How long honest clients come and go.
const ATTACK: Duration = Duration::from_secs(15);

/// Fills a partition with so many bytes of records, in batches of so many.
async fn fill(
    target: &Target,
    partition: u32,
    (bytes, batch_bytes): (usize, usize),
    compression: Compression,
) -> Result<()> {
    let mut builder = BatchBuilder::new(compression, batch_bytes);
    for record in 0..RECORDS {
        let value = vec![u8::try_from(record)?; batch_bytes / RECORDS];
        builder.append(Timestamp::from_millis(1), None, Some(&value), &[])?;
    }
    let batch = builder.finish(None)?.to_bytes().to_vec();
    let client = target.patient()?;
    let per_request = (2 * LARGE / batch_bytes).min(100);
    for _ in 0..bytes / batch_bytes / per_request {
        let entries = (0..per_request).map(|_| batches(TOPIC, partition, batch.clone()));
        base(&client.log().produce(entries.collect()).await?)?;
    }
    Ok(())
}

/// Begins to read a partition.
fn read(connection: &mut Connection, partition: u32, follows: bool) -> Result<ResponseFuture> {
    const BYTES: u32 = 8 << 20;
    let (method, message) = if follows {
        let request = v1::TailRequest {
            topic: TOPIC.to_owned(),
            partitions: vec![partition],
            start: Some(v1::tail_request::Start::Offset(0)),
            max_bytes: BYTES,
            record_format: v1::RecordFormat::Batches.into(),
            ..v1::TailRequest::default()
        };
        ("Tail", framed(&request))
    } else {
        let mut request = fetch(TOPIC, partition, 0);
        request.max_bytes = BYTES;
        ("Fetch", framed(&request))
    };
    let (answer, mut body) = connection.call(method)?;
    body.send_data(message, true)?;
    Ok(answer)
}

#[tokio::test]
async fn readers_that_take_nothing_hold_little_and_give_way() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    // More than the memory of the server.
    fill(&target, 0, (200_000_000, LARGE), Compression::None).await?;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(target.server.grpc()).await?;
        for call in 0..CALLS {
            open.push(read(&mut connection, 0, call.is_multiple_of(2))?);
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

/// Reads again and again, and is never in a hurry.
async fn dawdle(address: SocketAddr, reader: usize) {
    let partition = u32::try_from(reader % 3).unwrap_or_default();
    let follows = reader.is_multiple_of(2);
    loop {
        if let Ok(mut connection) = Connection::open(address).await {
            let answers = (0..CALLS).filter_map(|_| read(&mut connection, partition, follows).ok());
            let calls: JoinSet<()> = answers.map(sip).collect();
            calls.join_all().await;
        }
        tokio::time::sleep(REST).await;
    }
}

/// Takes an answer frame by frame.
async fn sip(answer: ResponseFuture) {
    let Ok(answer) = answer.await else {
        return;
    };
    let mut body = answer.into_body();
    while let Some(Ok(frame)) = body.data().await {
        tokio::time::sleep(REST).await;
        if body.flow_control().release_capacity(frame.len()).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn readers_that_move_slowly_leave_room_for_others() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    fill(&target, 0, (60_000_000, LARGE), Compression::None).await?;
    fill(&target, 1, (60_000_000, SMALL), Compression::None).await?;
    // What a small answer becomes is larger than the whole share for records.
    fill(&target, 2, (60_000_000, LARGE), Compression::Zstd).await?;
    let mut readers = JoinSet::new();
    for reader in 0..CONNECTIONS {
        readers.spawn(dawdle(target.server.grpc(), reader));
    }
    let start = Instant::now();
    while start.elapsed() < ATTACK {
        target.serves().await?;
        tokio::time::sleep(REST).await;
    }
    target.ensure_bounded("200 readers that move slowly").await
}
