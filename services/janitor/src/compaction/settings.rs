//! What compaction may take.

use bytes::Bytes;
use tidelog_format::batch::{BatchView, Compression};

/// Bytes that are written at once, at most.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// How many times as large records may be once decompressed as compressed, as a rule.
const INFLATION: u64 = 16;

/// Limits of key compaction: one partition at a time is compacted by a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Bytes that are its own: most of them for keys, the rest for batches of usual size. What is read and written is held
    /// in the memory that merging has, and waits for it.
    pub memory_bytes: u64,
}

impl CompactionSettings {
    pub(super) const fn keys_bytes(self) -> u64 {
        self.memory_bytes / 4 * 3
    }

    /// What a batch may become beside that.
    const fn batch_bytes(self) -> u64 {
        self.memory_bytes / 4
    }
}

/// How the memory of merging is divided while a run is compacted: all of it together is less than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    own: CompactionSettings,
    merging: u64,
}

impl Room {
    pub(super) const fn new(own: CompactionSettings, merging: u64) -> Self {
        Self { own, merging }
    }

    /// What is read at once, but for an extent that is larger.
    pub(super) fn read_bytes(self) -> u64 {
        self.segment_bytes() / 2
    }

    /// What is written at once, about.
    pub(super) fn segment_bytes(self) -> u64 {
        (self.merging / 4).min(SEGMENT_BYTES_MAX)
    }

    /// What the largest of some batches may become, and how much of that is to be held for it.
    pub(super) fn decoding(self, extents: &[Bytes]) -> (u64, Option<u64>) {
        let own = self.own.batch_bytes();
        let wanted = largest_compressed(extents).saturating_mul(INFLATION);
        let held = wanted.min(self.merging / 2);
        if held > own {
            (held, Some(held))
        } else {
            (own, None)
        }
    }
}

fn largest_compressed(extents: &[Bytes]) -> u64 {
    let batches = extents.iter().cloned().flat_map(BatchView::all);
    let compressed = batches.filter_map(Result::ok).filter(|batch| {
        let codec = batch.header().attributes.compression();
        codec.is_some_and(|codec| codec != Compression::None)
    });
    compressed
        .map(|batch| batch.bytes().len() as u64)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidelog_format::batch::BatchBuilder;
    use tidelog_types::Timestamp;

    use super::*;

    fn extent(codec: Compression, length: usize) -> Bytes {
        let mut builder = BatchBuilder::new(codec, 0);
        // Nothing that a codec makes smaller.
        let mut state = 7_u32;
        let value: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            })
            .collect();
        let time = Timestamp::from_millis(5);
        builder.append(time, None, Some(&value), &[]).unwrap();
        builder.finish(None).unwrap().to_bytes()
    }

    #[test]
    fn all_that_is_held_at_once_is_less_than_merging_has_and_large_batches_have_room() {
        let own = CompactionSettings {
            memory_bytes: 8 << 20,
        };
        for merging in [1 << 20, 30 << 20, 1 << 30] {
            let room = Room::new(own, merging);
            let (limit, held) = room.decoding(&[extent(Compression::Lz4, 2 << 20)]);
            assert!(limit <= (merging / 2).max(own.batch_bytes()));
            let most = room.segment_bytes() + room.read_bytes() + held.unwrap_or_default();
            assert!(most < merging, "{most}");
        }
        let room = Room::new(own, 80 << 20);
        let (limit, held) = room.decoding(&[extent(Compression::Zstd, 1 << 20)]);
        assert!(limit > 16 << 20 && held == Some(limit));
        // What is not compressed needs no more than it is, and what is small has its place.
        for extent in [
            extent(Compression::None, 1 << 20),
            extent(Compression::Zstd, 100_000),
        ] {
            assert_eq!(room.decoding(&[extent]), (2 << 20, None));
        }
    }
}
