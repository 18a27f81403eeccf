//! Settings of the metadata service.

use std::time::Duration;

use tidelog_env::BackoffPolicy;

use crate::sequencer::MergeSettings;

/// How a sequencer works.
#[derive(Clone, Copy, Debug)]
pub struct SequencerSettings {
    /// A checkpoint is written this long after the first change since the last one.
    pub checkpoint_interval: Duration,
    /// A checkpoint is written after this many manifests.
    pub checkpoint_manifests: u32,
    /// Producers that are kept in memory over a checkpoint; more are read again when they come back.
    pub producers_in_memory: usize,
    /// The same for partitions.
    pub partitions_in_memory: usize,
    /// Changed partitions, and changed producers, that wait for a checkpoint, beyond which commits wait for it
    /// too, if fewer of them are kept in memory.
    pub changed_max: usize,
    /// Bytes of memory for recent extents, of each shard. Older ones are read from the store. When what
    /// no checkpoint has reached takes half of it, a checkpoint is written; when it takes all, commits
    /// wait for that.
    pub extent_bytes: usize,
    /// Bytes of memory of the manifests that wait for the sequencer or its answer, of each shard.
    pub mailbox_bytes: usize,
    /// A producer is forgotten this long after its last batch, as by Kafka's
    /// `producer.id.expiration.ms`: its retries are no duplicates any more, and it may go on with any
    /// sequence.
    pub producer_expiry: Duration,
    /// The floor of a writer that lives is raised once it is done with so many sequences more, so that about
    /// as many receipts stay. Each rise lets groups of other shards that are on their way conflict.
    pub floor_step: u64,
    /// And once it could have been raised for so long, also where nothing is written any more.
    pub floor_age: Duration,
    /// How often it is looked at most what is due to go by its topic's retention.
    pub retention_interval: Duration,
    /// How long a segment that nothing names any more is kept, and what may be on its way into the bucket is waited for.
    pub deletion_grace: Duration,
    /// When the tail is merged.
    pub merge: MergeSettings,
    /// How long entries of the tail stay once they are merged: a backup needs those from the time that it takes.
    pub tail_kept: Duration,
    /// When the oldest entry of a shard's tail that is not merged is older than this, the shard takes no
    /// commits until merging has caught up: so the metadata stays small. No limit by default.
    pub tail_age_max: Option<Duration>,
    /// Bytes of segments of a shard that lie in the store and have yet to be moved. More than these are refused, and
    /// are put into the bucket.
    pub inline_bytes_max: u64,
    /// Whether every writer lives in the process that opens the service, so that all incarnations from
    /// before have ended with their processes. Not so where brokers are processes of their own.
    pub is_only_process: bool,
    /// Waits between attempts while the store does not answer. It has no end by default: what was
    /// accepted waits, and its callers have deadlines of their own.
    pub retry: BackoffPolicy,
}

/// Bytes of memory of a partition without recent extents: its state, what is shown of it, when something of it
/// is due to go, and its places in the maps.
const PARTITION_BYTES: u64 = 560;
/// Bytes of memory of a producer and its place in the map.
const PRODUCER_BYTES: u64 = 300;
/// As many as [`SequencerSettings::changed_max`] is at most.
const CHANGED_MAX: usize = 16_384;

impl SequencerSettings {
    /// The default, with memory limits that add up to about `bytes` for each shard: half of it for recent
    /// extents, a quarter for what waits, an eighth each for partitions and producers.
    pub fn within(bytes: u64) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            extent_bytes: count(bytes / 2),
            mailbox_bytes: count(bytes / 4),
            partitions_in_memory: count(bytes / 8 / PARTITION_BYTES),
            producers_in_memory: count(bytes / 8 / PRODUCER_BYTES),
            changed_max: count(bytes / 2 / (PARTITION_BYTES + PRODUCER_BYTES)).min(CHANGED_MAX),
            ..Self::default()
        }
    }
}

impl Default for SequencerSettings {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(10),
            checkpoint_manifests: 2_000,
            producers_in_memory: 100_000,
            partitions_in_memory: 100_000,
            changed_max: CHANGED_MAX,
            extent_bytes: 16 * 1024 * 1024,
            mailbox_bytes: 16 * 1024 * 1024,
            producer_expiry: Duration::from_hours(24),
            floor_step: 1_000,
            floor_age: Duration::from_mins(10),
            retention_interval: Duration::from_mins(5),
            deletion_grace: Duration::from_mins(10),
            merge: MergeSettings::default(),
            tail_kept: Duration::from_mins(10),
            tail_age_max: None,
            inline_bytes_max: 64 * 1024 * 1024,
            is_only_process: true,
            retry: BackoffPolicy::new(Duration::from_millis(20), Duration::from_secs(2), u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_checkpoint_stays_within_the_memory_of_a_small_shard() {
        for mib in [1_u64, 2, 5, 20, 400] {
            let settings = SequencerSettings::within(mib << 20);
            let changed = |max: usize| max.max(settings.changed_max) as u64;
            let bytes = changed(settings.partitions_in_memory) * PARTITION_BYTES
                + changed(settings.producers_in_memory) * PRODUCER_BYTES;
            assert!(bytes <= (mib << 20) / 2, "{mib} MiB: {bytes}");
        }
    }
}
