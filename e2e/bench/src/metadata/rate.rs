//! Commits a second of one metadata process, with many writers at once.

use std::time::Instant;

use anyhow::Result;
use tidelog_types::ShardId;

use super::stores::Place;
use super::writer::Writer;
use crate::load::Moved;
use crate::options::Options;
use crate::process::Meter;
use crate::report::{Aim, Report};

/// Writers, each with an incarnation and a producer of its own, spread over the shards.
const WRITERS: u32 = 16;
/// Partitions of the topic, for each shard.
const PARTITIONS: u32 = 1_024;
/// Slices of a manifest, and how many manifests one writer has under way: together two full groups of the
/// small ones, one that is committed and one that gathers, and of the large ones what a queue has room for.
const LOADS: [(usize, usize); 2] = [(16, 32), (1_000, 1)];
/// What is aimed at with the smaller manifests.
const RATE_MIN: f64 = 5_000.0;

/// Manifests of 16 slices, then of 1,000.
pub(super) async fn measure(options: &Options, place: &Place, report: &mut Report) -> Result<()> {
    let section = place.section("metadata commits");
    let service = place.serve().await?;
    let shards = place.kind.shards();
    let topic = service.topic(PARTITIONS * shards).await?;
    for (slices, at_once) in LOADS {
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            writers.push(Writer::new(&service, &topic, ShardId::new(number % shards)).await?);
        }
        let meter = Meter::start(&[("process", std::process::id())])?;
        let start = Instant::now();
        let end = start + options.duration();
        let tasks: Vec<_> = writers
            .into_iter()
            .map(|writer| tokio::spawn(write(writer, end, slices, at_once)))
            .collect();
        let mut commits = 0;
        for task in tasks {
            commits += task.await??;
        }
        let moved = Moved::since(start, commits, 0);
        // The meter divides by billions.
        let microseconds = meter.cost(commits)?.total / 1e3;
        let what = format!("commits of {slices} slices");
        let rate = moved.count_rate();
        if slices == LOADS[0].0 {
            report.aim(&section, &what, "/s", rate, Aim::AtLeast(RATE_MIN));
        } else {
            report.add(&section, &what, "/s", rate);
        }
        report.add(
            &section,
            &format!("{what}, CPU of each"),
            "us",
            microseconds,
        );
    }
    service.stop().await
}

/// Commits until `end`, and waits for the answers.
async fn write(mut writer: Writer, end: Instant, slices: usize, at_once: usize) -> Result<u64> {
    let mut commits = 0;
    while Instant::now() < end {
        while writer.waiting() < at_once {
            writer.send(slices, 1);
            commits += 1;
        }
        writer.answered().await?;
    }
    writer.many(0, at_once, slices, 1).await?;
    Ok(commits)
}
