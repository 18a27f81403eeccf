//! Batches of a few kilobytes that become many megabytes.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::v1;
use tidelog_e2e_harness::within;
use tidelog_format::batch::{BatchBuilder, Compression};
use tidelog_types::Timestamp;
use tokio::task::JoinSet;

use super::{TOPIC, Target};
use crate::support::{World, base, batches, fetch, fetched};

const LIMIT: Duration = Duration::from_secs(40);
const READERS: usize = 24;

/// A batch whose records are so many bytes of nothing.
fn bomb(bytes: usize) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Compression::Zstd, 0);
    let nothing = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        builder.append(Timestamp::from_millis(1), None, Some(&nothing), &[])?;
    }
    Ok(builder.finish(None)?.to_bytes().to_vec())
}

#[tokio::test]
async fn bombs_go_off_one_at_a_time_and_too_large_ones_are_refused() -> Result<()> {
    let world = World::folder()?;
    let mut target = Target::start(&world.place).await?;
    let client = target.patient()?;
    for (partition, bytes) in [(0, 14 << 20), (1, 40 << 20)] {
        let bomb = bomb(bytes)?;
        ensure!(bomb.len() < 100_000, "`{}` bytes", bomb.len());
        base(
            &client
                .log()
                .produce(vec![batches(TOPIC, partition, bomb)])
                .await?,
        )?;
    }
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let log = target.patient()?.log();
        readers.spawn(async move {
            let partition = u32::from(reader % 2 == 1);
            let data = log.fetch(fetch(TOPIC, partition, 0)).await?;
            anyhow::Ok((partition, data.into_iter().next()))
        });
    }
    target.serves().await?;
    while let Some(read) = within("all readers", LIMIT, readers.join_next()).await? {
        let (partition, Some(data)) = read?? else {
            anyhow::bail!("no answer");
        };
        if partition == 0 {
            ensure!(fetched(&data).len() == 14, "{:?}", data.error);
        } else {
            let error = data.error.unwrap_or_default();
            ensure!(
                error.code == i32::from(v1::ErrorCode::CorruptBatch),
                "{error:?}"
            );
            for word in ["once decompressed", "RECORD_FORMAT_BATCHES", "offset `40`"] {
                ensure!(error.message.contains(word), "`{word}` in {error:?}");
            }
        }
    }
    target.ensure_bounded("decompression bombs").await
}
