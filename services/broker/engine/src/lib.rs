//! The broker engine: batching, flush, commit and fetch; no network.
//!
//! Both front ends, gRPC and Kafka's protocol, are thin layers over [`Engine`]; neither leaks its words
//! down here. What the engine needs of the world it is handed in: the bucket, the metadata, time.

mod append;
mod claims;
mod classes;
mod crash;
mod decoding;
mod engine;
mod fair;
mod fetch;
mod keys;
mod memory;
mod metrics;
mod settings;

pub use append::{Append, AppendAnswer, AppendError, Appended};
pub use claims::{Claim, ClaimShare, Gathered};
pub use crash::{CrashPlan, CrashPoint, UnknownCrashPoint};
pub use decoding::{Decoding, RecordsEstimate};
pub use engine::{Engine, EngineParts, IncarnationEnded, StartError};
pub use fair::{FairHold, FairShare, HolderId, Need};
pub use fetch::{
    Batches, FetchError, FetchPartition, FetchRequest, Fetched, FetchedPartition, FoundOffset,
    FoundPartition, Isolation, ReadError,
};
pub use keys::{KeyCheck, KeysError};
pub use memory::{MemoryExhausted, MemoryHold, MemoryShare};
pub use metrics::{AppendMetrics, CloseReason, FetchMetrics};
pub use settings::{AppendSettings, EngineSettings, FetchSettings, StorageClass};
