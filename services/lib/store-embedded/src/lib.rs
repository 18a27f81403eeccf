//! The embedded store: `SlateDB` in the bucket, behind the store trait.
//!
//! One process is the writer. Its commits pass one queue: whatever arrives while a flush is under way
//! is checked for conflicts, merged into one batch and flushed together, in one object, so a commit
//! costs one PUT at most. Transactions read a snapshot of what is durable.
//!
//! ```text
//!   commit --> queue --> conflict check --> one batch --> one PUT --> new snapshot --> answers
//!                ^                                         |
//!                +---- the next group gathers meanwhile ---+
//! ```
//!
//! The contract, clause by clause, is in the crate's README.

mod batch;
mod clock;
mod committer;
mod engine;
mod guard;
mod keys;
mod lifecycle;
mod maintenance;
pub mod metrics;
mod open;
mod options;
mod queue;
mod reader;
mod snapshot;
mod store;

pub use metrics::{Metrics, Stats};
pub use open::OpenError;
pub use options::{EmbeddedOptions, MEMORY_BYTES_MIN, Medium, OptionsError};
pub use reader::EmbeddedReader;
pub use store::EmbeddedStore;
