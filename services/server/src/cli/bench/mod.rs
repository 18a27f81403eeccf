//! `tidelog bench`: how fast a cluster is, seen from one client.
//!
//! Loads are open loop when they have a rate: a record is due at its time whether or not the ones before
//! it were answered, and its latency counts from when it was due. Without a rate, the client sends as fast
//! as it is allowed to.

mod consume;
mod e2e;
mod histogram;
mod load;
mod produce;
mod report;

use clap::{Args, Subcommand};
use tidelog_client::{Admin, Client, ClientError, ErrorCode};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::{ByteSize, Span};

use super::produce::Codec;
use super::{CliError, Global, Result, connect};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Write records and measure how long their acknowledgement takes.
    Produce(LoadArgs),
    /// Read a topic from its beginning to its end.
    Consume(ConsumeArgs),
    /// Write and read at once, and measure how long a record takes from one end to the other.
    E2e(LoadArgs),
}

/// What is written.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    /// The topic; if it is not there it is created, and deleted at the end.
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Leave a topic that was created behind, to consume it.
    #[arg(long)]
    keep: bool,
    /// How many partitions, if the topic is created.
    #[arg(long, default_value_t = 16)]
    partitions: u32,
    /// How many bytes a value has.
    #[arg(long, default_value = "1KiB", value_name = "SIZE")]
    size: ByteSize,
    /// How long to write.
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    duration: Span,
    /// How many records to write, instead of a duration.
    #[arg(long, conflicts_with = "duration", value_name = "COUNT")]
    records: Option<u64>,
    /// How many records are due each second, over all producers; without it as many as go.
    #[arg(long, value_name = "COUNT")]
    rate: Option<u64>,
    /// How many producers, each with a connection of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    producers: u32,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
    /// How long a record may wait for others to share a batch with.
    #[arg(long, default_value = "5ms", value_name = "DURATION")]
    linger: Span,
    /// A batch is sent at this size.
    #[arg(long, default_value = "512KiB", value_name = "SIZE")]
    batch: ByteSize,
}

/// What is read.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic, such as one of `bench produce --keep`.
    #[arg(long, default_value = "bench")]
    topic: String,
    /// How many consumers, each with a connection and partitions of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    consumers: u32,
    /// Look at every record, instead of only counting those that batches say they have.
    #[arg(long)]
    decode: bool,
}

pub(crate) async fn run(command: BenchCommand, global: &Global, env: Env) -> Result<Exit> {
    let report = match command {
        BenchCommand::Produce(args) => {
            let topic = BenchTopic::ensure(connect::client(global, env.clone())?, &args).await?;
            let ran = produce::run(&args, global, &env).await;
            topic.tidy(ran).await?
        }
        BenchCommand::Consume(args) => consume::run(&args, global, &env).await?,
        BenchCommand::E2e(args) => {
            let topic = BenchTopic::ensure(connect::client(global, env.clone())?, &args).await?;
            let ran = e2e::run(&args, global, &env).await;
            topic.tidy(ran).await?
        }
    };
    report.print(global.output)?;
    Ok(Exit::Ok)
}

/// One client for each of so many; each has a connection of its own.
fn clients(global: &Global, env: &Env, count: u32) -> Result<Vec<Client>> {
    (0..count)
        .map(|_| connect::client(global, env.clone()))
        .collect()
}

/// The topic of a load, which goes with it if it came with it.
struct BenchTopic {
    admin: Admin,
    name: String,
    passing: bool,
}

impl BenchTopic {
    /// Makes sure that the topic is there.
    async fn ensure(client: Client, args: &LoadArgs) -> Result<Self> {
        let none: [(&str, &str); 0] = [];
        let admin = client.admin();
        let created = match admin.create_topic(&args.topic, args.partitions, none).await {
            Ok(_) => true,
            Err(error) if error.code() == Some(ErrorCode::TopicExists) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            admin,
            name: args.topic.clone(),
            passing: created && !args.keep,
        })
    }

    /// Deletes what was created, also after a run that failed, whose error comes first.
    async fn tidy<T>(self, ran: Result<T>) -> Result<T> {
        if self.passing {
            let deleted = self.admin.delete_topic(&self.name).await;
            let value = ran?;
            deleted?;
            return Ok(value);
        }
        ran
    }
}

/// A task of ours has gone without an answer.
fn task_lost() -> CliError {
    CliError::Client(ClientError::Protocol(
        "a task of the load generator has failed",
    ))
}
