//! What the rows of a log take for each GiB of its data, and whether that stays so as the log grows.
//!
//! It is counted on the memory store under a clock that is moved by hand, as at a steady load: so the
//! figures depend on the code alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidelog_env::{Env, ManualClock, SeededRng, Supervisor};
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata::{KindStats, SequencerSettings, stats};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{ShardId, Timestamp};

use super::Service;
use super::writer::Writer;
use crate::options::SEGMENT_BYTES;
use crate::report::{Aim, Report, float};

/// Partitions of the topic.
const PARTITIONS: [u32; 3] = [10, 1_000, 100_000];
/// Partitions that one segment has records of, at most: more would not fit its manifest well.
const SLICES_MAX: usize = 1_000;
/// Records of 1 KiB in a segment.
const SEGMENT_RECORDS: usize = SEGMENT_BYTES / 1_024;
/// When the rows are counted, in GiB of data. From the first to the second every partition is written to.
const SIZES: [f64; 2] = [4.0, 16.0];
/// Between two segments: 100 MiB a second.
const SEGMENT_TIME: Duration = Duration::from_millis(80);
const GIB: f64 = 1_073_741_824.0;
/// How much more a GiB may cost when the log has become four times as large.
const GROWTH_MAX: f64 = 1.05;

/// Bytes of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    tail: f64,
    receipts: f64,
    pages: f64,
    partitions: f64,
    producers: f64,
    total: f64,
}

/// Counts once, in the first round.
pub(super) async fn count(report: &mut Report) -> Result<()> {
    for partitions in PARTITIONS {
        let section = format!("rows of {partitions} partitions");
        if !report.has(&section) {
            grow(partitions, &section, report).await?;
        }
    }
    Ok(())
}

async fn grow(partitions: u32, section: &str, report: &mut Report) -> Result<()> {
    let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
    let env = Env {
        clock: Arc::new(clock.clone()),
        rng: Arc::new(SeededRng::new(1)),
        supervisor: Supervisor::new(),
    };
    let store = Arc::new(MemoryStore::new());
    let service = Service::open(env, store, 1, SequencerSettings::default()).await?;
    let topic = service.topic(partitions).await?;
    let mut writer = Writer::new(&service, &topic, ShardId::new(0)).await?;
    let slices = SLICES_MAX.min(usize::try_from(partitions)?);
    let records = u32::try_from(SEGMENT_RECORDS / slices)?;
    let mut costs = Vec::new();
    let mut held = Held::default();
    for gib in SIZES {
        while float(writer.bytes) < gib * GIB {
            writer.once(slices, records).await?;
            clock.advance(SEGMENT_TIME);
        }
        held = Held::of(&stats(service.store.as_ref(), &service.env).await?);
        let data = float(writer.bytes) / GIB;
        costs.push(held.total / data);
        let what = format!("bytes of rows per GiB, of {gib} GiB");
        report.add(section, &what, "KiB", held.total / data / 1024.0);
    }
    let data = float(writer.bytes) / GIB;
    for (what, bytes) in [
        ("tail", held.tail),
        ("receipts and live bytes", held.receipts),
        ("pages", held.pages),
        ("partitions", held.partitions),
        ("producers", held.producers),
    ] {
        report.add(
            section,
            &format!("of that {what}"),
            "KiB",
            bytes / data / 1024.0,
        );
    }
    report.add(
        section,
        "share of the unmerged tail",
        "",
        held.tail / held.total,
    );
    let growth = costs
        .last()
        .zip(costs.first())
        .map_or(1.0, |(last, first)| last / first);
    let what = "per GiB, larger / smaller log";
    report.aim(section, what, "", growth, Aim::AtMost(GROWTH_MAX));
    report.add(section, "slices of a segment", "", float(slices as u64));
    service.stop().await
}

impl Held {
    fn of(counted: &[KindStats]) -> Self {
        let mut held = Self::default();
        for kind in counted {
            let bytes = float(kind.key_bytes + kind.value_bytes);
            held.total += bytes;
            match kind.kind {
                Some(KeyKind::Tail) => held.tail += bytes,
                Some(KeyKind::Receipt | KeyKind::LiveBytes) => held.receipts += bytes,
                Some(KeyKind::Page) => held.pages += bytes,
                Some(KeyKind::Partition) => held.partitions += bytes,
                Some(KeyKind::Producer) => held.producers += bytes,
                _ => {}
            }
        }
        held
    }
}
