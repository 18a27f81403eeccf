//! The gRPC front end of the broker: `tidelog.v1` over the engine.
//!
//! Wire types stop here. Every RPC asks [`Authorizer`](tidelog_runtime::Authorizer) and
//! [`Quota`](tidelog_runtime::Quota) before it does anything for its caller; ready record batches go from
//! the socket's buffer to the engine without being copied or decoded.

mod answer;
mod cluster;
mod data;
mod decode;
mod entry;
mod errors;
mod fetch;
mod front;
mod groups;
mod metrics;
mod parse;
mod produce;
mod room;
mod rpc;
mod server;
mod services;
mod settings;
mod subscribe;
mod tail;
mod token;
mod topics;
mod transport;

pub use front::GrpcParts;
pub use metrics::GrpcMetrics;
pub use server::{ServeError, serve};
pub use settings::{GrpcSettings, REQUEST_BYTES_MAX};
