//! The command line.
//!
//! Results go to standard output, everything else to standard error. `-o json` gives results as JSON for
//! programs; without it they are tables for people. Exit codes are those of [`Exit`].

mod audit;
mod bench;
mod bucket;
mod cluster;
mod completion;
mod config;
mod confirm;
mod connect;
mod consume;
mod context;
mod cost;
mod delete_records;
mod error;
mod group;
mod metadata;
mod offsets;
mod output;
mod produce;
mod reference;
mod segment;
mod settings;
mod times;
mod topic;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidelog_env::Env;
use tidelog_runtime::Exit;

pub(crate) use error::{CliError, Result};
pub(crate) use settings::SettingsArgs;

/// A log service on object storage: the server, and everything that one does with it.
#[derive(Debug, Parser)]
#[command(
    name = "tidelog",
    version,
    about = "A log service on object storage: the server, and everything that one does with it",
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command that speaks to a cluster takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the cluster is, such as `http://127.0.0.1:7070`; more than one with commas. Wins over the
    /// context.
    #[arg(
        long,
        global = true,
        env = "TIDELOG_ADDRESS",
        value_name = "URL",
        value_delimiter = ','
    )]
    address: Vec<String>,
    /// The context to use instead of the current one; see `tidelog context`.
    #[arg(long, global = true, env = "TIDELOG_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// How results are written.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
    /// How long a command tries to be served: a request with its retries, a record until it is
    /// acknowledged, and a stream of records until it goes on after a break.
    #[arg(long, global = true, default_value = "30s", value_name = "DURATION")]
    timeout: tidelog_runtime::settings::Span,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: all roles in one process, on a local folder or a bucket.
    Serve(crate::serve::ServeArgs),
    /// Create, list, change and delete topics.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Write records to a topic, from a file or from standard input.
    Produce(produce::ProduceArgs),
    /// Read records of a topic.
    Consume(consume::ConsumeArgs),
    /// Show the offsets of a topic's partitions.
    Offsets(offsets::OffsetsArgs),
    /// Delete the oldest records of a topic.
    DeleteRecords(delete_records::DeleteRecordsArgs),
    /// List and describe consumer groups, set how far they have come, delete them.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Look into segments.
    #[command(subcommand)]
    Segment(segment::SegmentCommand),
    /// Measure how fast a cluster is, seen from a client.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Check and show the settings of a server.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Remember several clusters and switch between them.
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Show the processes and shards of a cluster, and drain processes.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Set up the bucket of a cluster.
    #[command(subcommand)]
    Bucket(bucket::BucketCommand),
    /// Reckon the bill of a month, next to that of the same load on Kafka.
    Cost(cost::CostArgs),
    /// Look into the metadata store, back it up and restore it.
    #[command(subcommand)]
    Metadata(metadata::MetadataCommand),
    /// Compare the bucket with the metadata: what is missing, damaged, or left behind.
    Audit(audit::AuditArgs),
    /// Print a script that completes commands in a shell.
    Completion(completion::CompletionArgs),
    /// Print a page of the reference.
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Runs the command line of this process to its end.
pub(crate) fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return shown(&error),
    };
    let output = cli.global.output;
    match run(cli) {
        Ok(exit) => exit,
        Err(error) => error.report(output),
    }
}

/// Whether the arguments ask for JSON, where they are not right as a whole.
fn wants_json(arguments: impl Iterator<Item = String>) -> bool {
    let arguments: Vec<String> = arguments.collect();
    let flag = |text: &str| matches!(text, "-o" | "--output");
    let both = |pair: &[String]| flag(&pair[0]) && pair[1] == "json";
    let one = |text: &String| matches!(text.as_str(), "-ojson" | "-o=json" | "--output=json");
    arguments.windows(2).any(both) || arguments.iter().any(one)
}

/// Help and version are no errors; anything else that clap says is one of usage.
fn shown(error: &clap::Error) -> Exit {
    if error.use_stderr() && wants_json(std::env::args()) {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        return CliError::usage(text).report(Output::Json);
    }
    // There is nobody left to tell if this cannot be printed.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Ok
    }
}

fn run(cli: Cli) -> Result<Exit> {
    let global = cli.global;
    match cli.command {
        Command::Completion(args) => completion::run(&args),
        Command::Config(command) => config::run(&command, global.output),
        Command::Context(command) => context::run(&command, global.output),
        Command::Reference(args) => reference::run(&args),
        command => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|source| CliError::io("the runtime cannot be started", source))?;
            let env = Env::system();
            runtime.block_on(run_async(command, &global, env))
        }
    }
}

async fn run_async(command: Command, global: &Global, env: Env) -> Result<Exit> {
    match command {
        Command::Serve(args) => Box::pin(crate::serve::run(args, env)).await,
        Command::Topic(command) => topic::run(command, global, env).await,
        Command::Produce(args) => produce::run(args, global, env).await,
        Command::Consume(args) => consume::run(args, global, env).await,
        Command::Offsets(args) => offsets::run(args, global, env).await,
        Command::DeleteRecords(args) => delete_records::run(args, global, env).await,
        Command::Group(command) => group::run(command, global, env).await,
        Command::Segment(command) => segment::run(command, global.output, env).await,
        Command::Bench(command) => bench::run(command, global, env).await,
        Command::Cluster(command) => cluster::run(command, global, env).await,
        Command::Bucket(command) => bucket::run(command, global.output, env).await,
        Command::Cost(args) => cost::run(&args, global, &env).await,
        Command::Audit(args) => Box::pin(audit::run(args, global.output, env)).await,
        Command::Metadata(command) => metadata::run(command, global.output, env).await,
        Command::Completion(_)
        | Command::Config(_)
        | Command::Context(_)
        | Command::Reference(_) => Ok(Exit::Ok),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_where_the_arguments_are_wrong() {
        let wants = |text: &str| wants_json(text.split(' ').map(str::to_owned));
        assert!(wants("topic --lsit -o json") && wants("--output=json") && wants("-ojson x"));
        assert!(!wants("topic json -o table") && !wants("-o"));
    }
}
