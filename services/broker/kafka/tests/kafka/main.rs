//! The Kafka front end over a whole engine in memory, through a real socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod admin;
mod brokers;
mod configs;
mod fetch;
mod fuzz;
mod groups;
mod keys;
mod limits;
mod offsets;
mod produce;
mod topics;
mod transactions;
mod versions;
mod wire;
mod world;
