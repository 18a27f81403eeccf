//! One idempotent producer of Kafka's on a bucket that is far away: its five requests must share the way.

use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_e2e_harness::{Minio, Proxy, Server, metric};

use crate::java::Target;
use crate::options::Options;
use crate::report::{Aim, Report, float};

const MB: f64 = 1e6;
/// How long each write to the bucket takes longer than it does.
const DELAYS: [u64; 3] = [10, 50, 150];
/// Bytes of a request, which is one batch.
const REQUEST_BYTES: u64 = 512 * 1024;
/// Requests that an idempotent producer has on their way.
const IN_FLIGHT: f64 = 5.0;
/// How long a segment waits for more, by default on S3.
const LINGER: Duration = Duration::from_millis(250);
const PRODUCER: [&str; 5] = [
    "acks=all",
    "enable.idempotence=true",
    "batch.size=524288",
    "linger.ms=1000",
    "max.in.flight.requests.per.connection=5",
];

pub(crate) async fn round(options: &Options, report: &mut Report) -> Result<()> {
    for millis in DELAYS {
        far(options, Duration::from_millis(millis), report).await?;
    }
    Ok(())
}

async fn far(options: &Options, delay: Duration, report: &mut Report) -> Result<()> {
    let minio = Minio::start().await?;
    let proxy = Proxy::start(minio.address()).await?;
    let place = minio.create_bucket("log").await?.through(proxy.address());
    let server = Server::start(options.server(&place)).await?;
    proxy.delay_writes(delay);
    let target = Target {
        address: server.kafka(),
        partitions: 1,
        record_bytes: options.record_bytes,
    };
    target.create_topic()?;
    // As long as it takes at the rate that is hoped for.
    let way = (LINGER + 2 * delay).as_secs_f64();
    let requests = (IN_FLIGHT / way * options.duration().as_secs_f64())
        .ceil()
        .max(20.0);
    let per_request = REQUEST_BYTES / options.record_bytes as u64;
    let records = rounded(requests) * per_request;
    let run = target.produce(records, &PRODUCER)?;
    let page = server.metrics().await?;
    let of = |name: &str| metric(&page, name, &[]).with_context(|| format!("no `{name}`"));
    let answer = of("tidelog_append_answer_duration_seconds_sum")?
        / of("tidelog_append_answer_duration_seconds_count")?;
    let segments = of("tidelog_append_segments_total")?;
    let section = format!("single producer, {} ms a PUT", delay.as_millis());
    report.add(&section, "log", "MB/s", run.moved.rate() / MB);
    report.add(&section, "PUT and commit, mean", "ms", answer * 1e3);
    report.add(&section, "segments", "", segments);
    let request = float(REQUEST_BYTES);
    let ideal = IN_FLIGHT * request / (LINGER.as_secs_f64() + answer);
    report.add(
        &section,
        "5 requests / (linger + PUT + commit)",
        "MB/s",
        ideal / MB,
    );
    let ratio = run.moved.rate() / ideal;
    report.aim(&section, "log / that", "", ratio, Aim::AtLeast(0.8));
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number of requests"
)]
const fn rounded(requests: f64) -> u64 {
    requests as u64
}
