//! The caching read tier.
//!
//! A process with the role `reader` keeps pages of segments in memory and on a local disk for the brokers of its zone
//! ([`ReaderServer`]). Brokers agree without a word on who keeps which page: each page has an order of all readers of the
//! zone, by rendezvous hashing, and the first of them that is well and not overloaded is asked ([`Tier`]).
//!
//! Nobody depends on a reader. One that joins or leaves moves its part of the pages and no others. One that is dead,
//! slow or wrong costs the broker a request to the bucket, and is left alone for a while; what it gives is proven by the checksums of the
//! log before a client sees it.

mod breaker;
mod client;
mod metrics;
mod rank;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Tier, TierParts};
pub use metrics::{ReaderMetrics, TierMetrics};
pub use server::{ReaderParts, ReaderServer};
pub use settings::TierSettings;
