//! Logs, and the export of traces and metrics to an OpenTelemetry collector.
//!
//! Metrics have one source, the registry that `/metrics` shows; see [`metrics`]. Nothing is exported
//! unless an endpoint is set.

mod context;
pub mod metrics;
pub(crate) mod openmetrics;
mod traces;

use std::io::IsTerminal as _;

use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::{LogFormat, LogSettings, OtlpSettings};

pub use context::continue_trace;

/// Who speaks, in traces and metrics.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The version of the program.
    pub version: &'static str,
    /// Tells two processes of one service apart.
    pub instance: String,
    /// The zone it runs in; empty if it is not known.
    pub zone: String,
}

/// Why telemetry cannot be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The log level is not one.
    #[error("`log.level` is `{level}`, which is not a level or a list of directives")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The exporter cannot be made.
    #[error("the exporter to `{endpoint}` cannot be made")]
    Exporter {
        /// Where it would have exported to.
        endpoint: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Logging was started before in this process.
    #[error("logging was started before in this process")]
    Twice(#[source] TryInitError),
}

/// Keeps export alive; end it with [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging for the whole process, and the export of traces if it is set. Within a runtime, and
/// once.
pub fn start(
    log: &LogSettings,
    otlp: &OtlpSettings,
    identity: &Identity,
) -> Result<Telemetry, TelemetryError> {
    let provider = traces::provider(otlp, identity)?;
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    layers.push(log_layer(log)?);
    if let Some(provider) = &provider {
        layers.push(traces::layer(provider));
    }
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .map_err(TelemetryError::Twice)?;
    Ok(Telemetry { traces: provider })
}

/// Log lines go to standard error, so that standard output belongs to the command.
fn log_layer(log: &LogSettings) -> Result<Box<dyn Layer<Registry> + Send + Sync>, TelemetryError> {
    let filter =
        EnvFilter::try_new(directives(&log.level)).map_err(|source| TelemetryError::Level {
            level: log.level.clone(),
            source,
        })?;
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let as_text = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    Ok(if as_text {
        layer
            .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none())
            .with_filter(filter)
            .boxed()
    } else {
        layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_filter(filter)
            .boxed()
    })
}

/// A level alone is meant for our own code: libraries only warn, and what the store's engine has to say is
/// said by our crate around it. Directives are taken as they are.
fn directives(level: &str) -> String {
    match level.trim().to_ascii_lowercase().as_str() {
        "info" => "warn,slatedb=off,tidelog=info".to_owned(),
        "debug" => "warn,slatedb=off,tidelog=debug".to_owned(),
        "trace" => "info,tidelog=trace".to_owned(),
        _ => level.to_owned(),
    }
}

impl Telemetry {
    /// Exports what is left. Blocks for a few seconds at most.
    pub fn shutdown(self) {
        let Some(provider) = self.traces else { return };
        if let Err(error) = provider.shutdown() {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_meant_for_our_own_code() {
        assert_eq!(directives("info"), "warn,slatedb=off,tidelog=info");
        assert_eq!(directives("Trace"), "info,tidelog=trace");
        assert_eq!(directives("error"), "error");
        assert_eq!(directives("info,hyper=debug"), "info,hyper=debug");
    }

    #[test]
    fn directives_are_a_level_and_nonsense_is_refused() {
        let log = |level: &str| LogSettings {
            level: level.to_owned(),
            format: LogFormat::Json,
        };
        assert!(log_layer(&log("info,tidelog_blob=debug")).is_ok());
        let error = log_layer(&log("tidelog=loud"))
            .err()
            .map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("`tidelog=loud`")));
    }
}
