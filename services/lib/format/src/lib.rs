//! The bytes Tidelog stores: record batches, segments and manifests; pure.
//!
//! - [`batch`]: Kafka's record batch of version 2, the one format of records, checked and patched
//!   without being decoded; a builder and a bounded reader of records for clients.
//! - [`manifest`]: what a segment holds for one shard, and the receipt of its commit.
//! - [`location`]: where bytes of a partition lie.
//! - [`marker`]: how a transaction ended, and the control batch that readers get for it.
//! - [`segment`]: the object that holds slices of many partitions and describes itself.
//!
//! The bytes are specified in `docs/format/`. Every decoder here is bounded by the bytes it was given:
//! whatever they are, it ends with a value or a typed error, and allocates no more than they justify.

pub mod batch;
pub mod extent;
mod features;
#[doc(hidden)]
pub mod fuzzing;
pub mod location;
pub mod manifest;
pub mod marker;
pub mod segment;
mod wire;

pub use features::{Features, UnknownFeatures};
pub use wire::DecodeError;
