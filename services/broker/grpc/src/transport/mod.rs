//! What stands between sockets and services: how much of the process a client can take.
//!
//! ```text
//!   socket -> connection: seat, windows        connections.rs, accept.rs
//!          -> call: one of a limited number    calls.rs
//!          -> request body: intake share       intake.rs
//!   socket <- answer body: answers share       outflow/, encode.rs
//! ```
//!
//! Invariant: memory is bounded by configuration, whatever clients do. Past its share a part stops reading
//! or refuses, and whoever holds memory without getting on gives way to those who wait for it.

mod accept;
mod calls;
mod connections;
mod encode;
mod intake;
mod outflow;

pub(crate) use accept::{Transport, serve_connections};
pub(crate) use calls::{Calls, ClientAddress};
pub(crate) use connections::Connections;
pub(crate) use encode::Outgoing;
pub(crate) use intake::{Intake, Received};
pub(crate) use outflow::{Outflow, Outlet};
