//! `tidelog consume TOPIC`.

mod closed;
mod format;
mod member;
pub(in crate::cli) mod start;

use std::io::{self, BufWriter, Stdout, Write};

use clap::{Args, ValueEnum};
use tidelog_client::consumer::{ConsumeError, Isolation};
use tidelog_client::{ApiError, Chunk, ClientError, Consumer, ConsumerOptions};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use tidelog_types::Offset;

use super::output::{counted, say};
use super::{CliError, Global, Output, Result, connect};
use closed::OutputClosed;
use format::write_record;

/// How much is gathered before it is written out while more is there.
const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic's name; several with `--group`.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Read as a member of this group, which goes on where it was: its members share the partitions, and
    /// what is written is committed. It ends, and leaves the group, when it is interrupted.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["until_end", "partition"])]
    group: Option<String>,
    /// A name for this member of the group, used by one at a time: when it comes back soon it has the
    /// partitions that it had.
    #[arg(long, value_name = "NAME", requires = "group")]
    instance: Option<String>,
    /// Where to begin: earliest, latest, an offset, or a time (2026-01-31, 2026-01-31T12:00:00Z, -1h,
    /// @MILLIS). A partition that has no such offset is reported and left out; the others are read. With
    /// `--group`: where to begin in partitions of which the group has read nothing, earliest or latest.
    #[arg(short, long, default_value = "latest", allow_hyphen_values = true)]
    from: String,
    /// End when everything has been read that was there at the start.
    #[arg(long)]
    until_end: bool,
    /// End after this many records.
    #[arg(short, long, value_name = "COUNT")]
    count: Option<u64>,
    /// Only this partition; may be repeated.
    #[arg(short, long)]
    partition: Vec<u32>,
    /// Also read records of transactions that are open or aborted. Otherwise reading ends where a transaction is open.
    #[arg(long)]
    uncommitted: bool,
    /// How records are written. With `-o json` it is json.
    #[arg(long, value_enum, default_value_t = RecordFormat::Raw)]
    format: RecordFormat,
}

impl ConsumeArgs {
    const fn isolation(&self) -> Isolation {
        if self.uncommitted {
            Isolation::Uncommitted
        } else {
            Isolation::Committed
        }
    }
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordFormat {
    /// The value and a new line.
    Raw,
    /// One JSON object a line, with everything there is to say of the record.
    Json,
    /// Key, tab, value, and a new line.
    KeyValue,
}

pub(crate) async fn run(args: ConsumeArgs, global: &Global, env: Env) -> Result<Exit> {
    let start = start::parse(&args.from, env.clock.wall())?;
    if let Some(group) = &args.group {
        return member::run(&args, group, start, global, env).await;
    }
    let [name] = args.topics.as_slice() else {
        return Err(CliError::usage("several topics are read with --group only"));
    };
    let client = connect::client(global, env)?;
    // The consumer itself would wait for a topic that is not there yet.
    let topic = client.admin().topic(name).await?;
    let partitions = match args.partition.len() {
        0 => topic.partition_count as usize,
        named => named,
    };
    let options = ConsumerOptions {
        partitions: args.partition.clone(),
        start,
        until_end: args.until_end,
        isolation: args.isolation(),
        ..ConsumerOptions::default()
    };
    let mut source = Partitions {
        consumer: client.consumer(name, options),
        closed: OutputClosed::watch()?,
        output: global.output,
        asked: partitions,
        failed: 0,
    };
    let mut out = Records::new(&args, global);
    while out.left > 0 {
        let Some(chunk) = source.next().await? else {
            return source.end();
        };
        out.write(name, &chunk)?;
    }
    Ok(Exit::Ok)
}

/// What is read, less the partitions that cannot be.
struct Partitions {
    consumer: Consumer,
    closed: OutputClosed,
    output: Output,
    /// How many are asked for.
    asked: usize,
    /// How many of them have been given up.
    failed: usize,
}

impl Partitions {
    /// The next chunk of any partition. One that cannot be read is reported; the error of the last one
    /// that was left is that of the command.
    async fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.closed.wait() => return Err(CliError::OutputClosed),
                next = self.consumer.next() => next,
            };
            match next {
                Ok(chunk) => return Ok(chunk),
                Err(ConsumeError::Partition { partition, error })
                    if self.failed + 1 < self.asked =>
                {
                    self.failed += 1;
                    let text = format!("partition `{partition}` is left out: {error}");
                    say(self.output, "warning", &text);
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// How a command ends that has read everything that could be read.
    fn end(&self) -> Result<Exit> {
        if self.failed == 0 {
            return Ok(Exit::Ok);
        }
        let left_out = counted(self.failed as u64, "partition");
        Err(CliError::other(
            Exit::Partial,
            format!("{left_out} of {} could not be read", self.asked),
        ))
    }
}

fn failed(error: ConsumeError) -> CliError {
    match error.code() {
        Some(code) => ClientError::Api(ApiError::new(code, error.to_string())).into(),
        None => CliError::because(Exit::Error, format!("reading ended: {error}"), error),
    }
}

/// Writes records to standard output until there are enough.
struct Records<W: Write> {
    out: W,
    format: RecordFormat,
    left: u64,
}

impl Records<BufWriter<Stdout>> {
    fn new(args: &ConsumeArgs, global: &Global) -> Self {
        let format = if global.output == Output::Json {
            RecordFormat::Json
        } else {
            args.format
        };
        Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, io::stdout()),
            format,
            left: args.count.unwrap_or(u64::MAX),
        }
    }
}

impl<W: Write> Records<W> {
    /// Writes a chunk and everything before it: whoever follows a topic wants to see it at once. Answers the offset
    /// after what was written.
    fn write(&mut self, topic: &str, chunk: &Chunk) -> Result<Offset> {
        for record in chunk.records() {
            let record = record.map_err(|error| {
                let message = format!(
                    "partition {} of `{topic}` cannot be decoded",
                    chunk.partition
                );
                CliError::because(Exit::Error, message, error)
            })?;
            if self.left == 0 {
                self.out.flush().map_err(CliError::output)?;
                return Ok(record.offset);
            }
            write_record(&mut self.out, self.format, topic, chunk.partition, &record)
                .map_err(CliError::output)?;
            self.left -= 1;
        }
        self.out.flush().map_err(CliError::output)?;
        Ok(chunk.offsets.next)
    }
}
