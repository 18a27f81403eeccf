//! What to measure, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidelog_e2e_harness::{Place, ServerOptions};

use crate::load::Load;
use crate::metadata::Kind;

/// Memory of the server under test, the product's default.
pub(crate) const MEMORY_TOTAL: u64 = 512 << 20;
/// Size of raw objects, as of the product's segments.
pub(crate) const SEGMENT_BYTES: usize = 8 << 20;
/// How much a raw GET reads, as one of the product's pages.
pub(crate) const PAGE_BYTES: u64 = 4 << 20;

const QUICK_SECONDS: u64 = 2;
const QUICK_ROUNDS: u32 = 3;

/// Measures the log side by side with what it stands on, and prints ratios.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cargo xtask bench --")]
pub(crate) struct Options {
    /// How long each phase writes, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// A short look: 3 rounds with 2 seconds a phase.
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    pub(crate) quick: bool,
    /// Only these sections, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Section>,
    /// In the section of the metadata service only these stores, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) stores: Vec<Kind>,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) partitions: u32,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024, value_parser = size)]
    pub(crate) record_bytes: usize,
    /// Bytes of a record's value in the section of small records.
    #[arg(long, default_value_t = 100, value_parser = size)]
    pub(crate) small_record_bytes: usize,
    /// Producers, each with a connection of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) producers: u32,
    /// Producers in the section of small records.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) small_producers: u32,
    /// MiB that are written in the section of history.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(64..=1_000_000))]
    pub(crate) history_mib: u64,
    /// Raw requests at the same time, and uploads of the server.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) uploads: u32,
    /// A folder on the disk to measure; what is written there is removed again.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// An installation of Apache Kafka, to be measured on the same disk: a folder with its jars in `libs`.
    #[arg(long, env = "TIDELOG_BENCH_KAFKA")]
    pub(crate) kafka: Option<PathBuf>,
    /// The release binary of the server; `cargo xtask bench` builds and names it.
    #[arg(long, env = "TIDELOG_BIN")]
    pub(crate) server: PathBuf,
    /// Writes the report as JSON to this file as well.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Section {
    /// Produce and consume on S3.
    S3,
    /// Produce on a local folder.
    Folder,
    /// Latency of a lone record.
    Lone,
    /// Small records.
    Small,
    /// Kafka's own load generators, against Apache Kafka and against the log.
    Clients,
    /// One producer of Kafka's on a bucket that is far away.
    Single,
    /// Requests of writing and merging a history, reading it back, and the tail beside that.
    History,
    /// Latency of a lone record that is committed inside the metadata transaction.
    Express,
    /// Commits, rows and takeovers of the metadata service.
    Metadata,
}

impl Section {
    const ALL: [Self; 9] = [
        Self::S3,
        Self::Folder,
        Self::Lone,
        Self::Small,
        Self::Clients,
        Self::Single,
        Self::History,
        Self::Express,
        Self::Metadata,
    ];

    /// Its name on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Folder => "folder",
            Self::Lone => "lone",
            Self::Small => "small",
            Self::Clients => "clients",
            Self::Single => "single",
            Self::History => "history",
            Self::Express => "express",
            Self::Metadata => "metadata",
        }
    }

    /// What it is, for people.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::S3 => "produce and catch-up consume on S3",
            Self::Folder => "produce on a local folder",
            Self::Lone => "a lone record on an idle log",
            Self::Small => "small records",
            Self::Clients => "Kafka's load generators against Kafka and the log",
            Self::Single => "one producer on a bucket that is far away",
            Self::History => "a history written, merged and read back",
            Self::Express => "a lone record that is committed inside the metadata transaction",
            Self::Metadata => "commits, rows and takeovers of the metadata service",
        }
    }
}

impl Options {
    /// The same with `quick` worked in; refuses what cannot be measured.
    pub(crate) fn settled(mut self) -> Result<Self> {
        if self.quick {
            (self.seconds, self.rounds) = (QUICK_SECONDS, QUICK_ROUNDS);
        }
        ensure!(
            self.server.is_file(),
            "`{}` is no file: `cargo xtask bench` builds the server and names it",
            self.server.display()
        );
        Ok(self)
    }

    /// What to measure, in order.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let wanted = |section: &Section| self.only.is_empty() || self.only.contains(section);
        Section::ALL.into_iter().filter(wanted).collect()
    }

    /// How long a phase writes.
    pub(crate) const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What a phase writes.
    pub(crate) const fn load(&self) -> Load {
        Load {
            partitions: self.partitions,
            record_bytes: self.record_bytes,
            producers: self.producers,
            duration: self.duration(),
            bytes_per_second: None,
        }
    }

    /// A folder for one measurement, on the disk that is measured.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        let made = match &self.folder {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        };
        made.context("cannot make a folder on the disk to measure")
    }

    /// How to start the server: its defaults, but for what the raw requests must be like.
    pub(crate) fn server(&self, place: &Place) -> ServerOptions {
        self.server_with(place, MEMORY_TOTAL)
    }

    /// The same with so much memory.
    pub(crate) fn server_with(&self, place: &Place, memory: u64) -> ServerOptions {
        let mut server = ServerOptions::at(place);
        server.settings.clear();
        server.binary = Some(self.server.clone());
        server
            .with("memory.total", &format!("{}MiB", memory >> 20))
            .with("produce.uploads_max", &self.uploads.to_string())
            .with("log.format", "text")
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 1..=1_000_000) => Ok(bytes),
        Ok(_) => Err("a record has from 1 to 1000000 bytes here".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn parsed(words: &[&str]) -> Options {
        let binary = std::env::current_exe().unwrap();
        let own = [
            std::ffi::OsString::from("bench"),
            "--server".into(),
            binary.into(),
        ];
        Options::parse_from(own.into_iter().chain(words.iter().map(Into::into)))
            .settled()
            .unwrap()
    }

    #[test]
    fn a_quick_look_is_short_and_everything_is_measured_unless_some_is_named() {
        let options = parsed(&["--quick"]);
        assert_eq!(
            (options.seconds, options.rounds),
            (QUICK_SECONDS, QUICK_ROUNDS)
        );
        assert_eq!(options.sections(), Section::ALL);
        let some = parsed(&["--only", "small,s3"]).sections();
        assert_eq!(some, [Section::S3, Section::Small]);
    }
}
