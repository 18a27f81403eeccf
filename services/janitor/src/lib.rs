//! The janitor: what is done in the bucket in the background, by any number of processes.
//!
//! It keeps no state. The metadata service knows what there is to do and hands it out; the janitor does it and says so.
//! So one that dies in the middle is made up for by the next one, and two that do the same do no harm.
//!
//! ```text
//!   metadata -- due, deletions --> janitor -- pins? --> backups
//!            <----- deleted -----          -- DELETE, HEAD --> segments
//!   owners of shards -- tasks --> janitor -- GET, PUT --> merged segments
//!            <----- swap, finish ---
//! ```
//!
//! Where nothing is due it sleeps: no request is made, neither to the bucket nor to the store (invariant I8).

mod compaction;
mod deletion;
mod merge;
mod metrics;
mod pins;
mod run;

pub use compaction::{CompactionMetrics, CompactionParts, CompactionSettings, History};
pub use merge::{MergeMetrics, MergeParts, MergeSettings, Writers, merge};
pub use metrics::JanitorMetrics;
pub use pins::{Backups, BackupsError, Pins};
pub use run::{JanitorParts, run};
