//! How fast the log is, beside what it stands on and beside its peers, all in one run.
//!
//! A figure of one machine says little about another, so each is set beside a raw one that was measured
//! seconds before on the same cores and the same disk, and what counts is the ratio. Rounds are repeated;
//! the report gives the least, the median and the greatest of each figure.
//!
//! | section | what runs |
//! | --- | --- |
//! | `s3` | raw PUT and GET against an S3 server, then produce and catch-up consume through the log |
//! | `folder` | raw fsynced writes to a disk, then produce to a folder on it, then Apache Kafka if given |
//! | `lone` | single records on an idle log, each beside one raw PUT |
//! | `small` | records of 100 bytes |
//! | `clients` | Kafka's own load generators against Apache Kafka, the log on a folder and the log on S3 |
//! | `single` | one idempotent producer of Kafka's, while each PUT takes 10, 50 and 150 ms |
//! | `history` | a history at 100 MB/s: its requests, merging, reading it back cold, the tail beside a scan |
//! | `express` | single records that are committed inside the metadata transaction, each beside a bare transaction |
//! | `metadata` | commits of manifests beside bare transactions of the same store, what they leave there, and takeovers |

mod clients;
mod folder;
mod history;
mod java;
mod kafka;
mod load;
mod lone;
mod metadata;
mod object;
mod options;
mod process;
mod raw;
mod report;
mod single;
mod small;

use anyhow::{Context, Result};
use clap::Parser as _;
use tidelog_e2e_harness::Minio;

use metadata::Stores;
use options::{Options, Section};
use report::Report;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse().settled()?;
    let mut report = Report::new(&options)?;
    let mut stores = Stores::default();
    for round in 1..=options.rounds {
        for section in options.sections() {
            eprintln!(
                "round {round} of {}: {}",
                options.rounds,
                section.describe()
            );
            run(section, &options, &mut stores, &mut report)
                .await
                .with_context(|| format!("section `{}`", section.as_str()))?;
            // Again after each section: a long run that is stopped leaves what it has measured.
            report.save(options.json.as_deref())?;
        }
    }
    report.print();
    Ok(())
}

/// One round of one section, with an S3 server of its own where it needs one.
async fn run(
    section: Section,
    options: &Options,
    stores: &mut Stores,
    report: &mut Report,
) -> Result<()> {
    match section {
        Section::S3 => object::round(options, &Minio::start().await?, report).await,
        Section::Folder => folder::round(options, report).await,
        Section::Lone => lone::round(options, &Minio::start().await?, report).await,
        Section::Small => small::round(options, &Minio::start().await?, report).await,
        Section::Clients => clients::round(options, report).await,
        Section::Single => single::round(options, report).await,
        Section::History => history::round(options, &Minio::start().await?, report).await,
        Section::Express => {
            metadata::express::round(options, stores, &Minio::start().await?, report).await
        }
        Section::Metadata => metadata::round(options, stores, &Minio::start().await?, report).await,
    }
}
