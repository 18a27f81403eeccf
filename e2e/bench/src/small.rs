//! Small records: what each record costs besides its bytes.

use anyhow::Result;
use tidelog_e2e_harness::{Minio, Server};

use crate::load::{Load, prepare, produce};
use crate::options::Options;
use crate::process::Meter;
use crate::report::{Aim, Report};

/// Writes small records through one server on S3.
pub(crate) async fn round(options: &Options, minio: &Minio, report: &mut Report) -> Result<()> {
    let section = format!("{}-byte records on s3", options.small_record_bytes);
    let place = minio.create_bucket("log").await?;
    let mut server = Server::start(options.server(&place)).await?;
    let load = Load {
        record_bytes: options.small_record_bytes,
        producers: options.small_producers,
        ..options.load()
    };
    prepare(&server, &load).await?;
    let id = server.process().id();
    let own = ("client", std::process::id());
    let meter = Meter::start(&[("server", id), own, ("S3 server", minio.id())])?;
    let produced = produce(&server, &load).await?;
    let cost = meter.cost(produced.bytes)?;
    let millions = produced.count_rate() / 1e6;
    report.aim(&section, "records", "M/s", millions, Aim::AtLeast(1.0));
    report.add(&section, "values", "MB/s", produced.rate() / 1e6);
    for (role, per_gb) in &cost.roles {
        let per_million = per_gb * crate::report::float(options.small_record_bytes as u64) / 1e3;
        report.add(
            &section,
            &format!("CPU per million, {role}"),
            "s",
            per_million,
        );
    }
    report.busy(&section, &cost);
    report.memory(&section, id)?;
    Ok(())
}
