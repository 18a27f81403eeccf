//! What compaction may take.

/// Limits of key compaction: one partition at a time is compacted by a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Bytes that it holds in memory: half of them for keys, the rest for what is read, taken apart and written.
    pub memory_bytes: u64,
}

impl CompactionSettings {
    pub(super) const fn keys_bytes(self) -> u64 {
        self.memory_bytes / 2
    }

    /// What is read at once, but for an extent that is larger.
    pub(super) const fn read_bytes(self) -> u64 {
        self.memory_bytes / 16
    }

    /// What is written at once, about.
    pub(super) const fn segment_bytes(self) -> u64 {
        self.memory_bytes / 8
    }

    /// What a batch may become: more than that is never needed by one of usual size.
    pub(super) fn batch_bytes(self) -> usize {
        usize::try_from(self.memory_bytes / 4).unwrap_or(usize::MAX)
    }
}
