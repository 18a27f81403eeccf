//! What compaction may take.

use tidelog_format::batch::DecodeLimit;

/// Bytes that are written at once, at most.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Bytes that a batch may become, at most: as much as 1 MiB of text compresses from.
const BATCH_BYTES_MAX: u64 = 64 << 20;

/// Limits of key compaction: one partition at a time is compacted by a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Bytes for keys. What is read, taken apart and written is held in the memory that merging has, and waits for it.
    pub memory_bytes: u64,
}

/// How the memory of merging is divided while a run is compacted. All that is needed at once is held at once: who has some and
/// waits for more waits behind merges, which may wait for what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    merging: u64,
}

impl Room {
    pub(super) const fn new(merging: u64) -> Self {
        Self { merging }
    }

    /// What is read at once, but for an extent that is larger.
    pub(super) fn read_bytes(self) -> u64 {
        self.segment_bytes() / 2
    }

    /// What is written at once, about.
    pub(super) fn segment_bytes(self) -> u64 {
        (self.merging / 4).min(SEGMENT_BYTES_MAX)
    }

    /// What a batch may become once decompressed. It is the same in both passes, and so is what cannot be read.
    pub(super) fn limit(self) -> DecodeLimit {
        DecodeLimit::bytes(usize::try_from(self.batch_bytes()).unwrap_or(usize::MAX))
    }

    fn batch_bytes(self) -> u64 {
        (self.merging / 4).min(BATCH_BYTES_MAX)
    }

    /// What is held to take note of keys.
    pub(super) fn noting_bytes(self) -> u64 {
        self.read_bytes() + self.batch_bytes()
    }

    /// What is held until a run is written: a batch has what is left of it beside it.
    pub(super) fn cleaning_bytes(self) -> u64 {
        self.segment_bytes() + self.read_bytes() + 2 * self.batch_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_held_at_once_is_no_more_than_merging_has() {
        for merging in [1 << 20, 30 << 20, 1 << 30] {
            let room = Room::new(merging);
            assert!(room.noting_bytes() <= room.cleaning_bytes());
            assert!(room.cleaning_bytes() <= merging, "{merging}");
        }
        assert_eq!(
            Room::new(61_000_000).limit(),
            DecodeLimit::bytes(15_250_000)
        );
    }
}
