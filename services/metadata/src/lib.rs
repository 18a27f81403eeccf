//! The metadata service: catalogue, sequencers and coordinators of groups.
//!
//! Safety rests on the store alone: every change is a transaction that reads the lease of its shard, so
//! that whatever a process believes, it can change nothing that it does not own. Memory is a cache of
//! rows. `docs/architecture.md` states the commit rules C1 to C10; the code names them where they are
//! kept.

pub mod audit;
pub mod backup;
mod catalogue;
mod class_buckets;
mod coordinator;
mod deletion;
mod driver;
mod generation;
pub mod keyspace;
mod members;
mod metrics;
mod numbers;
mod open_error;
mod ownership;
mod partition_shards;
mod producer_ids;
mod read;
pub mod rebuild;
mod sequencer;
mod service;
mod settings;
mod stats;
mod transactor;

pub use class_buckets::ClassBuckets;
pub use coordinator::GroupSettings;
pub use generation::GenerationEnded;
pub use metrics::SequencerMetrics;
pub use open_error::OpenError;
pub use ownership::{ClusterOptions, ClusterSettings, Ownership, PeerProbe};
pub use sequencer::{MergeSettings, RewriteSettings};
pub use service::{MetadataService, OpenOptions, is_founded};
pub use settings::SequencerSettings;
pub use stats::{KindStats, stats};
pub use transactor::{Reach, TransactionSettings};
