//! End-to-end scenarios with unmodified Kafka clients, see the crate's page for the list.

mod brokers;
mod cli_groups;
mod conformance;
mod connect;
mod crowd;
mod exactly_once;
mod go;
mod go_suite;
mod half_requests;
mod idle;
mod java;
mod java_groups;
mod javascript;
mod kcat;
mod kcat_groups;
mod mirror;
mod moves;
mod python;
mod rust;
mod same_bytes;
mod streams;
mod subscribe;
mod support;
mod tools;
