//! A lone record of an express class, from the client to its answer, beside one bare transaction of a store of the same
//! kind with as many bytes.

use std::time::{Duration, Instant};

use anyhow::Result;
use tidelog_client::{Producer, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Minio, Place as Files, Server, metric};
use tidelog_env::Env;
use tidelog_store::Bytes;

use super::latency::{key, put};
use super::stores::{Kind, Stores};
use crate::load::Values;
use crate::options::Options;
use crate::report::{Aim, Report, float, quantile};

/// Pairs before those that are measured.
const WARM_UP: usize = 16;
/// Percentiles are said of no fewer.
const SAMPLES_MIN: usize = 200;
/// Bytes of the rows of a commit beside those of the record, about: the rest of its segment, tail, receipt, live bytes.
const ROW_BYTES: usize = 700;

/// A server on a folder, then one on S3.
pub(crate) async fn round(
    options: &Options,
    stores: &mut Stores,
    minio: &Minio,
    report: &mut Report,
) -> Result<()> {
    let folder = options.scratch()?;
    let log = Files::folder(folder.path().join("log"));
    side_by_side(options, (stores, Kind::Folder), minio, &log, report).await?;
    let log = minio.create_bucket("express").await?;
    side_by_side(options, (stores, Kind::S3), minio, &log, report).await
}

/// Record and bare transaction take turns, so that both see the same machine.
async fn side_by_side(
    options: &Options,
    (stores, kind): (&mut Stores, Kind),
    minio: &Minio,
    log: &Files,
    report: &mut Report,
) -> Result<()> {
    let place = stores.place(kind, options, minio).await?;
    let section = place.section("express record");
    let store = place.open(&Env::system()).await?;
    let server = options.server(log);
    let server = server.with("storage.classes.quick.express_bytes", "64KiB");
    let server = Server::start(server).await?;
    let client = server.client()?;
    let config = [("tidelog.storage.class", "quick")];
    let admin = client.admin();
    admin
        .create_topic("bench", options.partitions, config)
        .await?;
    let at_once = ProducerOptions {
        linger: Duration::ZERO,
        ..ProducerOptions::default()
    };
    let producer = client.producer("bench", at_once).await?;
    let body = Bytes::copy_from_slice(Values::new(options.record_bytes).next());
    let value = Bytes::from(vec![7; body.len() + ROW_BYTES]);
    let (mut records, mut bares) = (Vec::new(), Vec::new());
    let started = Instant::now();
    for number in 0_u64.. {
        let measured = records.len();
        if measured >= SAMPLES_MIN && started.elapsed() >= options.duration() {
            break;
        }
        let record = acknowledged(&producer, &body).await?;
        let start = Instant::now();
        put(store.as_ref(), key(number), value.clone()).await?;
        let bare = start.elapsed().as_secs_f64() * 1e3;
        if number >= WARM_UP as u64 {
            records.push(record);
            bares.push(bare);
        }
    }
    let page = server.metrics().await?;
    let of = |name: &str| metric(&page, name, &[]).unwrap_or_default();
    let sent = of("tidelog_append_inline_segments_total");
    report.add(&section, "segments that went with their commits", "", sent);
    let put = of("tidelog_append_segments_total");
    report.add(&section, "segments that were put", "", put);
    store.close().await?;
    for (name, per_mille) in [("p50", 500), ("p99", 990)] {
        let (record, bare) = (quantile(&records, per_mille), quantile(&bares, per_mille));
        report.add(&section, &format!("bare transaction, {name}"), "ms", bare);
        report.add(&section, &format!("record, {name}"), "ms", record);
        let ratio = format!("record / bare transaction, {name}");
        report.aim(&section, &ratio, "", record / bare, Aim::AtMost(2.0));
    }
    report.add(&section, "samples", "", float(records.len() as u64));
    Ok(())
}

async fn acknowledged(producer: &Producer, body: &Bytes) -> Result<f64> {
    let start = Instant::now();
    let delivery = producer.send(SendRecord::value(body)).await?;
    delivery.wait().await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
