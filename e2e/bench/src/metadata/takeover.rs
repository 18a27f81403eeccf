//! How long a shard with very many partitions is without an owner's answer.

use std::time::{Duration, Instant};

use anyhow::Result;
use tidelog_e2e_harness::until;
use tidelog_env::Env;
use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::Keyspace;
use tidelog_store::ReadMode;
use tidelog_types::{ShardId, Tenant};

use super::Service;
use super::stores::Place;
use super::writer::Writer;
use crate::report::{Aim, Report, float};

/// Partitions of the shard.
const PARTITIONS: u32 = 100_000;
/// Slices of the manifests that write to all partitions, and of those after them.
const SLICES: [usize; 2] = [1_000, 16];
/// Commits under way while the shard is filled.
const AT_ONCE: usize = 32;
/// Manifests after the checkpoint: nearly as many as let the next one begin.
const TAIL_MANIFESTS: usize = 1_900;
/// Longest time until a checkpoint has been written.
const CHECKPOINT_LIMIT: Duration = Duration::from_mins(2);
/// What a takeover may take.
const SECONDS_MAX: f64 = 5.0;

/// Fills one shard, leaves it as `kill -9` does, and takes it over in what is like another process.
pub(super) async fn measure(place: &Place, report: &mut Report) -> Result<()> {
    let section = place.section("takeover");
    let manifests = PARTITIONS as usize / SLICES[0];
    // The first owner has memory for all of them, so that nothing but this number begins a checkpoint.
    let settings = SequencerSettings {
        checkpoint_manifests: u32::try_from(manifests)?,
        ..settings()
    };
    let first = open(place, settings).await?;
    let topic = first.topic(PARTITIONS).await?;
    let shard = ShardId::new(0);
    let mut writer = Writer::new(&first, &topic, shard).await?;
    writer.many(manifests, AT_ONCE, SLICES[0], 1).await?;
    checkpointed(&first, shard).await?;
    // Taken over once more without changes, so that the number of manifests to a checkpoint is another.
    let second = open(place, settings_of_tail()).await?;
    let mut writer = Writer::new(&second, &topic, shard).await?;
    writer.many(TAIL_MANIFESTS, AT_ONCE, SLICES[1], 1).await?;

    let start = Instant::now();
    let env = Env::system();
    let store = place.open(&env).await?;
    report.add(&section, "store opened", "s", start.elapsed().as_secs_f64());
    let third = Service::open(env, store, 1, SequencerSettings::default()).await?;
    report.add(
        &section,
        "shard taken over",
        "s",
        start.elapsed().as_secs_f64(),
    );
    let mut writer = Writer::new(&third, &topic, shard).await?;
    writer.once(SLICES[1], 1).await?;
    let seconds = start.elapsed().as_secs_f64();
    report.aim(
        &section,
        "first commit",
        "s",
        seconds,
        Aim::AtMost(SECONDS_MAX),
    );
    report.add(&section, "partitions", "", float(PARTITIONS.into()));
    report.add(
        &section,
        "manifests in the tail",
        "",
        float(TAIL_MANIFESTS as u64),
    );
    drop((first, second));
    third.stop().await
}

/// The default, but that time begins no checkpoint.
fn settings() -> SequencerSettings {
    SequencerSettings {
        checkpoint_interval: Duration::from_hours(1),
        extent_bytes: 256 << 20,
        ..SequencerSettings::default()
    }
}

fn settings_of_tail() -> SequencerSettings {
    SequencerSettings {
        checkpoint_manifests: u32::MAX,
        ..settings()
    }
}

async fn open(place: &Place, settings: SequencerSettings) -> Result<Service> {
    let env = Env::system();
    let store = place.open(&env).await?;
    Service::open(env, store, 1, settings).await
}

/// Ends when the shard's first checkpoint is there.
async fn checkpointed(service: &Service, shard: ShardId) -> Result<()> {
    let key = Keyspace::new(Tenant::default()).checkpoint(shard);
    until("the checkpoint is written", CHECKPOINT_LIMIT, async || {
        let mut transaction = service.store.begin().await.ok()?;
        let row = transaction.get(&key, ReadMode::Snapshot).await.ok()?;
        row.map(drop)
    })
    .await
}
