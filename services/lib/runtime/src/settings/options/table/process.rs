//! How the process ends and what it tells.

use super::super::{Kind, OptionDoc};
use super::{option, unset};
use crate::settings::units::AUTO;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "drain.timeout",
        Kind::Span("0s", "1h"),
        "30s",
        "How long the process may take to finish its work after it was asked to end.",
    ),
    option(
        "log.level",
        Kind::Text,
        "info",
        "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,tidelog_blob=debug`.",
    ),
    option(
        "log.format",
        Kind::Choice(&["auto", "text", "json"]),
        AUTO,
        "How it is logged. `auto` is text on a terminal and JSON elsewhere.",
    ),
    unset(
        "otlp.endpoint",
        Kind::Url,
        "URL of an OpenTelemetry collector that takes OTLP over gRPC, such as `http://127.0.0.1:4317`. With https its certificate must be one that this system trusts. Unset exports nothing.",
    ),
    option(
        "otlp.traces",
        Kind::Flag,
        "true",
        "Whether traces are exported, if there is an endpoint.",
    ),
    option(
        "otlp.metrics",
        Kind::Flag,
        "true",
        "Whether metrics are exported, if there is an endpoint. They are the same as at `/metrics`.",
    ),
    option(
        "otlp.sample_ratio",
        Kind::Number(0.0, 1.0),
        "0.01",
        "Which share of traces that begin here is exported; a caller's own decision is followed.",
    ),
    option(
        "otlp.interval",
        Kind::Span("1s", "1h"),
        "15s",
        "How often metrics are exported.",
    ),
    option(
        "otlp.timeout",
        Kind::Span("100ms", "1m"),
        "10s",
        "How long one export may take.",
    ),
];
