//! One commit at a time, each beside one bare transaction of the same store with the same bytes.

use std::time::Instant;

use anyhow::Result;
use tidelog_env::Env;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata::stats;
use tidelog_store::{Bytes, Store};
use tidelog_types::ShardId;

use super::Service;
use super::stores::Place;
use super::writer::Writer;
use crate::options::Options;
use crate::report::{Aim, Report, float, quantile};

/// Slices of one manifest.
const SLICES: usize = 16;
/// Partitions of the topic, for each shard.
const PARTITIONS: u32 = 64;
/// Pairs before those that are measured; they also tell how many bytes a commit writes.
const WARM_UP: usize = 16;
/// Percentiles are said of no fewer.
const SAMPLES_MIN: usize = 100;

/// Commit and bare transaction take turns, so that both see the same machine.
pub(super) async fn side_by_side(
    options: &Options,
    place: &Place,
    report: &mut Report,
) -> Result<()> {
    let section = place.section("metadata commit");
    let service = place.serve().await?;
    let topic = service.topic(PARTITIONS * place.kind.shards()).await?;
    let mut writer = Writer::new(&service, &topic, ShardId::new(0)).await?;
    let before = row_bytes(&service).await?;
    writer.many(WARM_UP, 1, SLICES, 1).await?;
    let bytes = (row_bytes(&service).await? - before) / WARM_UP as u64;
    let value = Bytes::from(vec![7; usize::try_from(bytes)? - key(0).len()]);
    let (mut commits, mut bares) = (Vec::new(), Vec::new());
    let started = Instant::now();
    for number in 0_u64.. {
        let measured = commits.len();
        if measured >= SAMPLES_MIN && started.elapsed() >= options.duration() {
            break;
        }
        let start = Instant::now();
        writer.once(SLICES, 1).await?;
        let commit = start.elapsed();
        let start = Instant::now();
        put(service.store.as_ref(), key(number), value.clone()).await?;
        let bare = start.elapsed();
        if number >= WARM_UP as u64 {
            commits.push(commit.as_secs_f64() * 1e3);
            bares.push(bare.as_secs_f64() * 1e3);
        }
    }
    service.stop().await?;
    let medians = [quantile(&commits, 500), quantile(&bares, 500)];
    let slow = [quantile(&commits, 990), quantile(&bares, 990)];
    for (name, [commit, bare]) in [("p50", medians), ("p99", slow)] {
        report.add(&section, &format!("bare transaction, {name}"), "ms", bare);
        report.add(&section, &format!("commit, {name}"), "ms", commit);
    }
    let [commit, bare] = medians;
    let aim = Aim::AtMost(1.5);
    report.aim(
        &section,
        "commit / bare transaction, p50",
        "",
        commit / bare,
        aim,
    );
    let [commit, bare] = slow;
    report.add(
        &section,
        "commit / bare transaction, p99",
        "",
        commit / bare,
    );
    report.add(&section, "bytes of either", "", float(bytes));
    report.add(&section, "samples", "", float(commits.len() as u64));
    Ok(())
}

/// Bytes of the rows that every commit writes.
async fn row_bytes(service: &Service) -> Result<u64> {
    let counted = stats(service.store.as_ref(), &Env::system()).await?;
    let is_written = |kind| {
        matches!(
            kind,
            Some(KeyKind::Tail | KeyKind::Receipt | KeyKind::LiveBytes)
        )
    };
    let written = counted.iter().filter(|kind| is_written(kind.kind));
    Ok(written.map(|kind| kind.key_bytes + kind.value_bytes).sum())
}

/// A key of no tenant.
pub(super) fn key(number: u64) -> Bytes {
    Bytes::from(format!("bare/{number:016x}"))
}

pub(super) async fn put(store: &dyn Store, key: Bytes, value: Bytes) -> Result<()> {
    let mut transaction = store.begin().await?;
    transaction.put(key, value);
    transaction.commit().await?;
    Ok(())
}
