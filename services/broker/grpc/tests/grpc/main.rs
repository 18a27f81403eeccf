//! The gRPC front end over a whole engine in memory, through a real socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod client;
mod drain;
mod group_consumer;
mod groups;
mod limits;
mod produce;
mod read;
mod subscribe;
mod subscriber;
mod topics;
mod transactions;
mod transport;
mod world;
