//! A lone record on an idle log, beside one raw write of the same size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{ObjectStore, PutMode, PutOptions};
use tidelog_client::{Producer, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Bucket, Minio, Place, Server};
use tokio::time::sleep;

use crate::load::Values;
use crate::options::Options;
use crate::report::{Report, float, quantile};

/// Between two records: longer than the server takes to be allowed its next early flush.
const GAP: Duration = Duration::from_millis(260);
/// Records before those that are measured.
const WARM_UP: usize = 4;
/// Percentiles are said of no fewer.
const SAMPLES_MIN: usize = 20;

/// One server on S3, then one on a folder.
pub(crate) async fn round(options: &Options, minio: &Minio, report: &mut Report) -> Result<()> {
    let raw = Bucket::open(&minio.create_bucket("raw").await?)?.store();
    let log = minio.create_bucket("log").await?;
    side_by_side(options, "lone record on s3", &log, &raw, report).await?;

    let folder = options.scratch()?;
    let raw = Bucket::open(&Place::folder(folder.path().join("raw")))?.store();
    let log = Place::folder(folder.path().join("log"));
    side_by_side(options, "lone record on a folder", &log, &raw, report).await
}

/// Record and raw write take turns, so that both see the same machine.
async fn side_by_side(
    options: &Options,
    section: &str,
    log: &Place,
    raw: &Arc<dyn ObjectStore>,
    report: &mut Report,
) -> Result<()> {
    let server = Server::start(options.server(log)).await?;
    let client = server.client()?;
    let none: [(&str, &str); 0] = [];
    let admin = client.admin();
    admin
        .create_topic("bench", options.partitions, none)
        .await?;
    let at_once = ProducerOptions {
        linger: Duration::ZERO,
        ..ProducerOptions::default()
    };
    let producer = client.producer("bench", at_once).await?;
    let body = Bytes::copy_from_slice(Values::new(options.record_bytes).next());
    let samples = usize::try_from(options.duration().as_millis() / GAP.as_millis())?;
    let (mut records, mut puts) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + samples.max(SAMPLES_MIN) {
        let record = acknowledged(&producer, &body).await?;
        let put = stored(raw, &body, number).await?;
        if number >= WARM_UP {
            records.push(record);
            puts.push(put);
        }
        sleep(GAP).await;
    }
    for (name, per_mille) in [("p50", 500), ("p99", 990)] {
        let (record, put) = (quantile(&records, per_mille), quantile(&puts, per_mille));
        report.add(section, &format!("raw write, {name}"), "ms", put);
        report.add(section, &format!("record, {name}"), "ms", record);
        report.add(
            section,
            &format!("record / raw write, {name}"),
            "",
            record / put,
        );
    }
    report.add(section, "samples", "", float(records.len() as u64));
    Ok(())
}

async fn acknowledged(producer: &Producer, body: &Bytes) -> Result<f64> {
    let start = Instant::now();
    let delivery = producer.send(SendRecord::value(body)).await?;
    delivery.wait().await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

async fn stored(store: &Arc<dyn ObjectStore>, body: &Bytes, number: usize) -> Result<f64> {
    let key = Key::from(format!("raw/{number}"));
    let create = PutOptions::from(PutMode::Create);
    let start = Instant::now();
    store.put_opts(&key, body.clone().into(), create).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
