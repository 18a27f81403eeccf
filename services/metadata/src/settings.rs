//! Settings of the metadata service.

use std::time::Duration;

use tidelog_env::BackoffPolicy;

/// How a sequencer works.
#[derive(Clone, Copy, Debug)]
pub struct SequencerSettings {
    /// A checkpoint is written this long after the first change since the last one.
    pub checkpoint_interval: Duration,
    /// A checkpoint is written after this many manifests.
    pub checkpoint_manifests: u32,
    /// Producers that are kept in memory over a checkpoint; more are read again when they come back.
    pub producers_in_memory: usize,
    /// Waits between attempts while the store does not answer. It has no end by default: what was
    /// accepted waits, and its callers have deadlines of their own.
    pub retry: BackoffPolicy,
}

impl Default for SequencerSettings {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(10),
            checkpoint_manifests: 2_000,
            producers_in_memory: 100_000,
            retry: BackoffPolicy::new(Duration::from_millis(20), Duration::from_secs(2), u32::MAX),
        }
    }
}
