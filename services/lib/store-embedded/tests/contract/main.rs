//! The contract of the embedded store, clause by clause.

mod conformance;
mod durability;
mod fencing;
mod growth;
mod idleness;
mod objects;
mod reader;
mod requests;
mod restart;
mod support;
mod telemetry;
