//! End-to-end scenarios with unmodified Kafka clients, see the crate's page for the list.

mod idle;
mod java;
mod kcat;
mod python;
mod same_bytes;
mod support;
