//! `tidelog serve`: every role in one process, or some of them.
//!
//! ```text
//!   settings -> listeners -> bucket: preflight, marker -> store -> metadata -> engine -> gRPC, Kafka, HTTP
//! ```
//!
//! The ports are bound first: a process that could not serve must not take the bucket from one that does.
//! Opening the store fences whoever had it.

mod accept;
mod assemble;
pub(crate) mod beside;
mod drain;
mod election;
mod give_away;
mod janitor;
mod listed;
pub(crate) mod metadata;
mod pages;
mod part_settings;
mod peers;
mod probe;
mod seams;
pub(crate) mod storage;
pub(crate) mod store_kind;
mod touch;

use std::io::IsTerminal as _;

use clap::Args;
use prometheus_client::registry::Registry;
use tidelog_env::Env;
use tidelog_runtime::settings::{DATA_DEFAULT, Loaded, Settings};
use tidelog_runtime::telemetry::{self, Identity};
use tidelog_runtime::{Exit, Signals};
use tidelog_types::Role;
use tokio::net::TcpListener;

use crate::cli::{CliError, Result, SettingsArgs};

pub(crate) use assemble::all_metrics;

/// The version of this build, in the log, in telemetry and in answers.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Sockets that are bound before anything else is touched.
#[derive(Debug)]
struct Listeners {
    /// For clients, if the process is a broker.
    grpc: Option<TcpListener>,
    /// For Kafka clients, if the process is a broker.
    kafka: Option<TcpListener>,
    http: TcpListener,
    /// For other members, if there may be some and the process has something for them.
    internal: Option<TcpListener>,
}

/// Serves until it is asked to end, loses the bucket or fails.
pub(crate) async fn run(args: ServeArgs, env: Env) -> Result<Exit> {
    let Loaded {
        settings, warnings, ..
    } = args.settings.load()?;
    let identity = identity(&settings, &env);
    let telemetry = telemetry::start(&settings.log, &settings.otlp, &identity)
        .map_err(|error| CliError::because(Exit::Usage, error.to_string(), error))?;
    for warning in warnings {
        tracing::warn!(warning, "odd settings");
    }
    tracing::info!(version = VERSION, instance = identity.instance, "starting");
    tidelog_heap::fit(settings.memory.total.get());
    let exit = Box::pin(serve(&settings, &identity, env)).await;
    // What is left of the telemetry goes out however it ended.
    telemetry.shutdown();
    exit
}

async fn serve(settings: &Settings, identity: &Identity, env: Env) -> Result<Exit> {
    store_kind::check_built(settings)?;
    let mut signals = Signals::listen()
        .map_err(|source| CliError::io("signals cannot be listened to", source))?;
    let is_broker = settings.roles.has(Role::Broker);
    let listeners = Listeners {
        grpc: if is_broker {
            Some(bind("listen.grpc", settings.listen.grpc).await?)
        } else {
            None
        },
        kafka: if is_broker {
            Some(bind("listen.kafka", settings.listen.kafka).await?)
        } else {
            None
        },
        http: bind("listen.http", settings.listen.http).await?,
        internal: match settings.internal_address() {
            Some(address) => Some(bind("listen.internal", address).await?),
            None => None,
        },
    };
    let greeting = greeting(settings, &listeners);
    let starting = assemble::start(settings, identity, listeners, env.clone());
    let running = tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!(signal = name, "asked to end while starting");
            return Ok(Exit::Ok);
        }
        running = Box::pin(starting) => running?,
    };
    if std::io::stderr().is_terminal() {
        eprintln!("{greeting}");
    }
    drain::until_end(running, &mut signals, settings.drain.timeout.get(), &env).await
}

/// What somebody at a terminal wants to know of a server that is ready.
fn greeting(settings: &Settings, listeners: &Listeners) -> String {
    let shown = |what: &str, listener: Option<&TcpListener>| {
        let address = listener?.local_addr().ok()?;
        Some(format!("{what} on {address}"))
    };
    let listening: Vec<String> = [
        shown("gRPC", listeners.grpc.as_ref()),
        shown("Kafka", listeners.kafka.as_ref()),
        shown("HTTP", Some(&listeners.http)),
        shown("members", listeners.internal.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let folder = || settings.data.clone().unwrap_or_else(|| DATA_DEFAULT.into());
    let data = match &settings.bucket {
        Some(bucket) => bucket.clone(),
        None => folder().display().to_string(),
    };
    format!(
        "\nlistening: {}\ndata in {data}\nCtrl-C to stop",
        listening.join(", ")
    )
}

async fn bind(option: &str, address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| {
        let message = format!(
            "cannot listen on `{address}`: end what listens there, or set `{option}` to another address"
        );
        CliError::because(Exit::Listen, message, source)
    })
}

fn identity(settings: &Settings, env: &Env) -> Identity {
    Identity {
        version: VERSION,
        instance: format!("{:016x}", env.rng.next_u64()),
        zone: settings.cluster.zone.clone(),
    }
}

/// A registry with the metrics that every process has.
fn registry(zone: &str) -> Registry {
    let mut registry = Registry::default();
    tidelog_runtime::metrics::register(&mut registry, VERSION, zone);
    registry
}

#[cfg(test)]
mod tests {
    use tidelog_runtime::settings::{Settings, Sources, load};

    /// Settings by flags.
    pub(super) fn settings(flags: &[(&str, &str)]) -> Settings {
        let flags = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        load(&Sources {
            flags,
            ..Sources::default()
        })
        .unwrap()
        .settings
    }
}
