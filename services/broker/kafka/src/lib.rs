//! The Kafka front end of the broker: Kafka's wire protocol over the engine.
//!
//! Wire types stop here. Every request asks [`Authorizer`](tidelog_runtime::Authorizer) and
//! [`Quota`](tidelog_runtime::Quota) before anything is done for its caller. Record batches go from the
//! frame to the engine and from pages to the socket without being copied or decoded.
//!
//! What is served, and where it differs from Apache Kafka, stands in `docs/kafka-compatibility.md`.

mod admin;
mod apis;
mod brokers;
mod call;
mod cluster;
mod configs;
mod connection;
mod dispatch;
mod errors;
mod fetch;
mod front;
mod groups;
mod log;
mod metrics;
mod offsets;
mod produce;
mod repeats;
mod server;
mod session;
mod settings;
mod topics;
mod transactions;

pub use brokers::{Address, AddressError, LISTENER};
pub use front::KafkaParts;
pub use metrics::KafkaMetrics;
pub use server::serve;
pub use settings::KafkaSettings;
