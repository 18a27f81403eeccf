//! Key compaction: reads what a partition has, and writes what stays of it: of each key the last record.
//!
//! ```text
//!   owner -- task --> note keys of the dirty part, as far as there is room
//!                 --> read from the start of the log, leave out what is superseded -- PUT if absent --> replace, a run at a time
//!                 --> compacted up to here; once more, until all is clean --> owner
//! ```
//!
//! Memory is bounded, however large a partition is: that for keys by the map, the rest by what is read and written at
//! once. Whatever happens on the way, each run of extents is as it was or as it is to be, and both are right: a record
//! goes only where a later one of its key is in the log.

mod clean;
mod failure;
mod history;
mod keys;
mod metrics;
mod round;
mod settings;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use tidelog_metadata_api::Compactions;

pub use history::History;
pub use metrics::CompactionMetrics;
pub use settings::CompactionSettings;
pub(crate) use worker::Compactor;

/// What compaction is made of, beside what merging has.
#[derive(Clone, Debug)]
pub struct CompactionParts {
    /// Who says what is to be compacted.
    pub compactions: Arc<dyn Compactions>,
    /// Where extents are looked up.
    pub history: Arc<dyn History>,
    /// Limits.
    pub settings: CompactionSettings,
    /// Where it reports.
    pub metrics: CompactionMetrics,
}
