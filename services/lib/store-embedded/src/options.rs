//! Options, and how the memory setting is divided.

use std::collections::HashMap;
use std::time::Duration;

use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, GarbageCollectorDirectoryOptions,
    GarbageCollectorOptions, ObjectStoreCacheOptions, Settings,
    SizeTieredCompactionSchedulerOptions,
};
use thiserror::Error;

/// The smallest memory setting: below it one full transaction would not fit a memtable.
pub const MEMORY_BYTES_MIN: usize = 32 * 1024 * 1024;

/// Longer than any process runs: what ticks at this interval ticks once, when it starts.
const NEVER: Duration = Duration::from_hours(20 * 365 * 24);

/// A key and its version in the conflict window, with the nodes of the maps that hold them.
const WINDOW_ENTRY_BYTES: usize = 512;

/// What the objects are kept on. The two differ in what they can do and in how they fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A bucket: conditional overwrites exist, and an object that can be read is durable.
    Bucket,
    /// A local folder: no conditional overwrite; after a failed write nothing is known about the disk,
    /// so the store stops at the first one instead of trying again.
    Folder,
}

/// Options of an [`EmbeddedStore`](crate::EmbeddedStore).
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedOptions {
    /// Where the objects of the store lie in the bucket, without slashes around.
    pub path: String,
    /// Memory for caches, unflushed rows, waiting commits, compaction and the conflict window together.
    pub memory_bytes: usize,
    /// What the objects are kept on.
    pub medium: Medium,
    /// A transaction that is open for longer is too old. `FoundationDB` has 5 s.
    pub transaction_age_max: Duration,
    /// How often one request to the bucket is tried again before the store stops.
    pub request_retries_max: u32,
    /// After this many flushes the rows go from the log to a table, so that a restart replays about this
    /// many objects at most; it fetches up to 128 of them at once.
    pub flushes_per_table: u64,
    /// Compaction starts at this many tables of the first level.
    pub tables_max: usize,
    /// Objects that nothing refers to are kept this long before they are deleted. Longer than any
    /// transaction, and than any request of a process that has lost the writer's role.
    pub garbage_age_min: Duration,
    /// How many keys one commit may delete by ranges.
    pub range_delete_keys_max: usize,
}

/// Options that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// Too little memory.
    #[error("memory of the store is `{0}` bytes, the least is `{MEMORY_BYTES_MIN}`")]
    Memory(usize),
    /// A number that must be larger.
    #[error("option `{0}` must be at least `{1}`")]
    TooSmall(&'static str, u64),
}

impl EmbeddedOptions {
    /// The defaults, for objects under `path` and the given memory and medium.
    pub fn new(path: impl Into<String>, memory_bytes: usize, medium: Medium) -> Self {
        Self {
            path: path.into(),
            memory_bytes,
            medium,
            transaction_age_max: Duration::from_secs(5),
            request_retries_max: 8,
            flushes_per_table: 1024,
            tables_max: 4,
            garbage_age_min: Duration::from_mins(1),
            range_delete_keys_max: 100_000,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return Err(OptionsError::Memory(self.memory_bytes));
        }
        if self.flushes_per_table == 0 {
            return Err(OptionsError::TooSmall("flushes_per_table", 1));
        }
        if self.tables_max < 2 {
            return Err(OptionsError::TooSmall("tables_max", 2));
        }
        Ok(())
    }

    // ----- Shares of the memory: 3/8 + 1/8 + 2/8 + 1/16 + 1/16 + 1/8 = 1 -----

    /// Blocks of tables.
    pub(crate) fn block_cache_bytes(&self) -> u64 {
        (self.memory_bytes as u64 / 8) * 3
    }

    /// Indexes and filters of tables.
    pub(crate) fn meta_cache_bytes(&self) -> u64 {
        self.memory_bytes as u64 / 8
    }

    fn unflushed_bytes_max(&self) -> usize {
        self.memory_bytes / 4
    }

    /// Commits that wait or are being flushed.
    pub(crate) fn queue_bytes_max(&self) -> usize {
        self.memory_bytes / 16
    }

    /// Entries of the conflict window.
    pub(crate) fn window_entries_max(&self) -> usize {
        self.memory_bytes / 16 / WINDOW_ENTRY_BYTES
    }

    fn compaction_bytes(&self) -> usize {
        self.memory_bytes / 8
    }

    /// A group stops to gather at this size; with one more transaction it still fits a memtable.
    pub(crate) fn group_bytes_target(&self) -> usize {
        self.table_bytes() / 2
    }

    fn table_bytes(&self) -> usize {
        self.unflushed_bytes_max() / 4
    }

    /// Rows of the log that a reader keeps in one table.
    pub(crate) fn reader_table_bytes(&self) -> u64 {
        self.table_bytes() as u64
    }

    // ----- What SlateDB is told -----

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            // No timer: the committer flushes.
            flush_interval: None,
            manifest_poll_interval: NEVER,
            // No background compactor or collector: `maintenance` runs them after writes.
            compactor_options: None,
            garbage_collector_options: None,
            object_store_max_retries: Some(self.request_retries_max),
            l0_sst_size_bytes: self.table_bytes(),
            l0_max_ssts: self.tables_max * 4,
            l0_max_ssts_per_key: self.tables_max * 4,
            l0_flush_parallelism: 1,
            max_unflushed_bytes: self.unflushed_bytes_max(),
            object_store_cache_options: ObjectStoreCacheOptions {
                root_folder: None,
                ..ObjectStoreCacheOptions::default()
            },
            ..Settings::default()
        }
    }

    pub(crate) fn compactor_options(&self, poll_interval: Duration) -> CompactorOptions {
        let scheduler: HashMap<String, String> = SizeTieredCompactionSchedulerOptions {
            min_compaction_sources: self.tables_max.min(4),
            ..SizeTieredCompactionSchedulerOptions::default()
        }
        .into();
        CompactorOptions {
            poll_interval,
            commit_compacted_interval: poll_interval,
            max_concurrent_compactions: 1,
            scheduler_options: scheduler,
            checkpoint_lifetime: self.garbage_age_min.max(Duration::from_secs(1)),
            object_store_max_retries: Some(self.request_retries_max),
            worker: Some(CompactionWorkerOptions {
                max_concurrent_compactions: 1,
                compactions_poll_interval: poll_interval,
                max_sst_size: self.compaction_bytes().min(64 * 1024 * 1024),
                max_fetch_tasks: 1,
                bytes_to_fetch: self.compaction_bytes() / 32,
                max_subcompactions: 1,
                ..CompactionWorkerOptions::default()
            }),
            ..CompactorOptions::default()
        }
    }

    pub(crate) fn collector_options(&self) -> GarbageCollectorOptions {
        let aged = GarbageCollectorDirectoryOptions {
            interval: None,
            min_age: self.garbage_age_min,
            dry_run: false,
        };
        GarbageCollectorOptions {
            manifest_options: Some(aged),
            wal_options: Some(aged),
            compacted_options: Some(aged),
            compactions_options: Some(aged),
            // The default: fence markers are never deleted, only looked at.
            wal_fence_options: GarbageCollectorOptions::default().wal_fence_options,
            detach_options: None,
            boundary_files_enabled: self.medium == Medium::Bucket,
            object_store_max_retries: Some(self.request_retries_max),
            ..GarbageCollectorOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(memory_bytes: usize) -> EmbeddedOptions {
        EmbeddedOptions::new("meta", memory_bytes, Medium::Bucket)
    }

    #[test]
    fn a_full_transaction_beside_a_full_group_fits_a_memtable() {
        let options = options(MEMORY_BYTES_MIN);
        let transaction = tidelog_store::Limits::default().transaction_bytes_max;
        assert!(options.group_bytes_target() + transaction <= options.table_bytes());
        assert!(options.queue_bytes_max() > transaction);
    }

    #[test]
    fn shares_add_up_to_the_memory_setting() {
        let options = options(64 * 1024 * 1024);
        let shares = options.block_cache_bytes()
            + options.meta_cache_bytes()
            + (options.unflushed_bytes_max()
                + options.queue_bytes_max()
                + options.window_entries_max() * WINDOW_ENTRY_BYTES
                + options.compaction_bytes()) as u64;
        assert_eq!(shares, options.memory_bytes as u64);
    }

    #[test]
    fn senseless_options_are_refused() {
        assert_eq!(options(1).check(), Err(OptionsError::Memory(1)));
        let none = EmbeddedOptions {
            flushes_per_table: 0,
            ..options(MEMORY_BYTES_MIN)
        };
        assert_eq!(
            none.check(),
            Err(OptionsError::TooSmall("flushes_per_table", 1))
        );
        let one = EmbeddedOptions {
            tables_max: 1,
            ..options(MEMORY_BYTES_MIN)
        };
        assert_eq!(one.check(), Err(OptionsError::TooSmall("tables_max", 2)));
    }

    #[test]
    fn nothing_runs_by_itself_and_fence_markers_are_kept() {
        let options = options(MEMORY_BYTES_MIN);
        let settings = options.settings();
        assert!(settings.flush_interval.is_none());
        assert!(settings.compactor_options.is_none());
        assert!(settings.garbage_collector_options.is_none());
        assert_eq!(settings.manifest_poll_interval, NEVER);
        let fences = options.collector_options().wal_fence_options;
        assert!(fences.is_some_and(|fences| fences.dry_run));
    }
}
