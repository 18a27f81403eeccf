//! `tidelog cost`: what a month costs, from what running processes have counted or from a load that someone
//! describes, next to the same load on Kafka. The arithmetic is in the crate `tidelog-cost`.

mod counted;
mod load;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use tidelog_cost::{Estimate, PriceList, Storage};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::{ByteSize, Span};

use super::output::{print_json, print_text};
use super::{CliError, Global, Output, Result};

/// Most bytes of a file that is read whole.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("of").required(true).args(["write_rate", "metrics", "saved", "show_prices"])
))]
pub(crate) struct CostArgs {
    /// A load: how much is written each second, such as 50MiB, compressed as it is on the wire.
    #[arg(long, value_name = "SIZE", help_heading = "What is paid for")]
    write_rate: Option<ByteSize>,
    /// Counters of running processes: where they serve HTTP, such as 127.0.0.1:7080; all of them, with commas.
    #[arg(
        long,
        value_name = "ADDRESS",
        value_delimiter = ',',
        help_heading = "What is paid for"
    )]
    metrics: Vec<String>,
    /// Count for this long [default: since the processes were started].
    #[arg(
        long = "for",
        value_name = "DURATION",
        requires = "metrics",
        help_heading = "What is paid for"
    )]
    interval: Option<Span>,
    /// Counters that were saved from `/metrics`, a file for each process.
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        requires = "over",
        help_heading = "What is paid for"
    )]
    saved: Vec<PathBuf>,
    /// How long the processes had counted what was saved.
    #[arg(
        long,
        value_name = "DURATION",
        requires = "saved",
        help_heading = "What is paid for"
    )]
    over: Option<Span>,
    /// How much lies in the bucket, where counters are read [default: what is written in the retention].
    #[arg(
        long,
        value_name = "SIZE",
        conflicts_with = "write_rate",
        help_heading = "What is paid for"
    )]
    stored: Option<ByteSize>,
    /// The built-in list of prices: s3, s3-express or minio.
    #[arg(
        long,
        default_value = "s3",
        value_name = "NAME",
        help_heading = "Prices"
    )]
    prices: String,
    /// A TOML file with prices that are different from those of the list.
    #[arg(long, value_name = "FILE", help_heading = "Prices")]
    price_file: Option<PathBuf>,
    /// Sets one price, such as `network.cross_zone_per_gib=0.01`; wins over the file.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Prices")]
    price: Vec<String>,
    /// Print the built-in list, to begin a file of one's own with.
    #[arg(long, help_heading = "Prices")]
    show_prices: bool,
    #[command(flatten)]
    load: load::LoadArgs,
}

pub(crate) async fn run(args: &CostArgs, global: &Global, env: &Env) -> Result<Exit> {
    if args.show_prices {
        print_text(PriceList::built_in(&args.prices).map_err(|error| usage(&error))?)?;
        return Ok(Exit::Ok);
    }
    let prices = prices(args)?;
    let estimate = if let Some(rate) = args.write_rate {
        Estimate::of_load(&args.load.load(rate), &prices)
    } else {
        let (rates, how, processes) = counted::rates(args, global, env).await?;
        let retention = Storage::Retention(args.load.retention_seconds());
        let storage = args.stored.map_or(retention, |stored| {
            Storage::Bytes(tidelog_cost::limits::number(stored.get()))
        });
        let shape = args.load.shape(processes);
        Estimate::of_counters(&rates, &how, storage, &shape, &prices)
    };
    let estimate = estimate.map_err(|error| usage(&error))?;
    match global.output {
        Output::Json => print_json(&estimate)?,
        Output::Table => print_text(&estimate.render())?,
    }
    Ok(Exit::Ok)
}

fn prices(args: &CostArgs) -> Result<PriceList> {
    let file = args.price_file.as_deref().map(read).transpose()?;
    let pairs = args.price.iter().map(|pair| {
        let split = pair.split_once('=');
        let (key, value) = split.ok_or_else(|| {
            CliError::usage(format!(
                "`--price {pair}` has no value: write `--price KEY=VALUE`"
            ))
        })?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    PriceList::load(&args.prices, file.as_deref(), &pairs).map_err(|error| usage(&error))
}

/// A file as text, if it is not larger than any that makes sense.
fn read(path: &Path) -> Result<String> {
    let failed = |source| CliError::io(format!("`{}` cannot be read", path.display()), source);
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        let path = path.display();
        return Err(CliError::usage(format!(
            "`{path}` has {length} bytes, more than the {FILE_BYTES_MAX} that are read"
        )));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// What was given cannot be reckoned with.
fn usage(error: &dyn std::error::Error) -> CliError {
    CliError::usage(error.to_string())
}
