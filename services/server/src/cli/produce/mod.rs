//! `tidelog produce TOPIC`: records from a file or from standard input.

mod csv_rows;
mod failure;
mod input;
mod json_lines;
mod ledger;
mod progress;
mod text_lines;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidelog_client::{Compression, ProduceError, Producer, ProducerOptions, SendRecord};
use tidelog_env::Env;
use tidelog_format::batch::{HEADER_BYTES, record_bytes_max};
use tidelog_runtime::Exit;

use super::output::{counted, print_json};
use super::{CliError, Global, Output, Result, connect};
use input::{Fields, Reader};
use ledger::Ledger;
use progress::Progress;

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic's name.
    topic: String,
    /// The file to read; without it, or with `-`, standard input.
    file: Option<PathBuf>,
    /// What the input is made of. Without it, the file's ending says it; else it is lines.
    #[arg(short, long, value_enum)]
    format: Option<InputFormat>,
    /// Take the key from this column (CSV) or field (JSON; a.b.c for a field within a field).
    #[arg(short, long, value_name = "NAME")]
    key: Option<String>,
    /// In lines: what parts the key from the value.
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    key_separator: Option<String>,
    /// Take only this column (CSV) or field (JSON) as the value, instead of the whole row.
    #[arg(long, value_name = "NAME")]
    value: Option<String>,
    /// A header for every record; may be repeated.
    #[arg(short = 'H', long, value_name = "KEY=VALUE")]
    header: Vec<String>,
    /// Write to this partition, instead of letting the key decide.
    #[arg(short, long)]
    partition: Option<u32>,
    /// How batches are compressed.
    #[arg(short, long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
    /// How long a record may wait for others to share a batch with.
    #[arg(long, default_value = "5ms", value_name = "DURATION")]
    linger: tidelog_runtime::settings::Span,
    /// In CSV: what parts the columns.
    #[arg(long, default_value_t = ',')]
    delimiter: char,
    /// Skip what stands before this line of the input: to go on after a run that wrote only a part.
    #[arg(
        long,
        default_value_t = 1,
        hide_default_value = true,
        value_name = "LINE"
    )]
    from_line: u64,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// What the input is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Each line is a value.
    Lines,
    /// Each row is a value, as a JSON object; the first row names the columns.
    Csv,
    /// Each line is a JSON value, written as it is.
    Json,
}

/// Compression of batches, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Done {
    records: u64,
    bytes: u64,
    seconds: f64,
}

pub(crate) async fn run(args: ProduceArgs, global: &Global, env: Env) -> Result<Exit> {
    let headers = headers(&args.header)?;
    let mut reader = input::open(&args)?;
    let clock = std::sync::Arc::clone(&env.clock);
    let client = connect::client(global, env)?;
    let options = ProducerOptions {
        compression: args.compression.into(),
        linger: args.linger.get(),
        delivery_timeout: global.timeout.get(),
        ..ProducerOptions::default()
    };
    let producer = client.producer(&args.topic, options).await?;
    let start = clock.now();
    let mut progress = Progress::new(args.quiet, reader.total_bytes(), clock.as_ref());
    let mut sending = Sending {
        producer: &producer,
        args: &args,
        headers: &headers,
        ledger: Ledger::new(),
        line: 0,
        unsent: None,
    };
    let sent = sending.send_all(&mut reader, &mut progress).await;
    // What was sent before an error of the input is still written, and said.
    let flushed = producer.close().await;
    progress.finish();
    sending.judge(sent, flushed)?;
    let done = Done {
        records: progress.records(),
        bytes: progress.bytes(),
        seconds: (clock.now() - start).as_secs_f64(),
    };
    if global.output == Output::Json {
        print_json(&done)?;
    } else if !args.quiet {
        eprintln!(
            "{}, {}, {:.3} s",
            counted(done.records, "record"),
            counted(done.bytes, "byte"),
            done.seconds
        );
    }
    Ok(Exit::Ok)
}

/// One run from the input to the topic.
struct Sending<'a> {
    producer: &'a Producer,
    args: &'a ProduceArgs,
    headers: &'a [(Vec<u8>, Vec<u8>)],
    ledger: Ledger,
    /// The line that was read last.
    line: u64,
    /// The line that was read and could not be sent.
    unsent: Option<u64>,
}

impl Sending<'_> {
    /// Sends records until the input ends, cannot be read, or a record is known to have failed.
    async fn send_all(&mut self, reader: &mut Reader, progress: &mut Progress<'_>) -> Result<()> {
        let headers: Vec<(&[u8], Option<&[u8]>)> = self
            .headers
            .iter()
            .map(|(key, value)| (key.as_slice(), Some(value.as_slice())))
            .collect();
        let mut fields = Fields::default();
        while !self.ledger.has_failed() {
            let read = reader.next(&mut fields);
            self.line = fields.line;
            self.unsent = Some(fields.line);
            if !read? {
                self.line = self.line.saturating_sub(1);
                break;
            }
            if fields.line < self.args.from_line {
                continue;
            }
            let record = SendRecord {
                partition: self.args.partition,
                key: fields.has_key.then_some(fields.key.as_slice()),
                value: Some(&fields.value),
                headers: &headers,
                timestamp: None,
            };
            let bytes = batch_bytes(&record);
            if self.args.compression == Codec::None {
                let limit = self.producer.max_message_bytes();
                failure::check_size(&self.args.topic, fields.line, bytes, limit)?;
            }
            let delivery = self.producer.send(record).await?;
            self.ledger.sent(fields.line, bytes, delivery);
            self.unsent = None;
            progress.sent(fields.key.len() + fields.value.len(), fields.input_bytes);
        }
        Ok(())
    }

    /// Says how it went, once everything that was sent has its outcome.
    fn judge(self, sent: Result<()>, flushed: std::result::Result<(), ProduceError>) -> Result<()> {
        if sent.is_ok() && flushed.is_ok() {
            return Ok(());
        }
        let unsent = self.unsent.filter(|_| sent.is_err());
        let account = self.ledger.close(unsent, self.line);
        let limit = self.producer.max_message_bytes();
        let cause = match (sent, flushed) {
            (Err(cause), _) => cause,
            (_, Err(error)) => failure::refused(error, &self.args.topic, limit, &account),
            (Ok(()), Ok(())) => return Ok(()),
        };
        Err(failure::told(cause, &account))
    }
}

/// How many bytes a batch has at most that has only this record and is not compressed.
fn batch_bytes(record: &SendRecord<'_>) -> u64 {
    let record = record_bytes_max(record.key, record.value, record.headers);
    (HEADER_BYTES + record) as u64
}

fn headers(arguments: &[String]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let header = |argument: &String| {
        argument
            .split_once('=')
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .ok_or_else(|| {
                CliError::usage(format!(
                    "the header `{argument}` has no value: write KEY=VALUE"
                ))
            })
    };
    arguments.iter().map(header).collect()
}
