//! How the one memory setting is divided.
//!
//! Design rule: memory is bounded by configuration, whatever clients do. Each part gets a share that it
//! must not pass; past it the part stops reading from sockets or refuses work. What is left over is for
//! the process itself: code, stacks, indexes and what the allocator holds back.

use crate::settings::ByteSize;

/// The least that a process can work in: below it the store and two open segments would not fit.
pub const MEMORY_TOTAL_MIN: u64 = 128 * MIB;

const MIB: u64 = 1024 * 1024;

/// The store needs this much, however small the whole is.
const STORE_MIN: u64 = 32 * MIB;

/// Shares in percent of the whole. What is missing to 100 belongs to the process itself.
const CONNECTIONS: u64 = 15;
const SEGMENTS: u64 = 32;
const CACHE: u64 = 22;
const DECODE: u64 = 5;
const STORE: u64 = 11;

const _: () = assert!(CONNECTIONS + SEGMENTS + CACHE + DECODE + STORE <= 85);

/// Bytes for each part of the process. They never add up to more than the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The whole.
    pub total: u64,
    /// Requests that are being read and answers that are being written.
    pub connections: u64,
    /// Segments that are open, being uploaded or not yet committed.
    pub segments: u64,
    /// Pages, extents and indexes.
    pub cache: u64,
    /// Records that are taken apart for clients that want them so.
    pub decode: u64,
    /// The embedded store: tables in memory, its caches and what it has not flushed.
    pub store: u64,
}

impl MemoryPlan {
    /// Divides `total`, which the settings keep at or above [`MEMORY_TOTAL_MIN`].
    pub fn divide(total: ByteSize) -> Self {
        let total = total.get().max(MEMORY_TOTAL_MIN);
        let share = |percent: u64| total / 100 * percent;
        let store = share(STORE).max(STORE_MIN);
        // What a small process gives its store beyond the share is taken from the cache.
        let cache = share(CACHE).saturating_sub(store - share(STORE));
        Self {
            total,
            connections: share(CONNECTIONS),
            segments: share(SEGMENTS),
            cache,
            decode: share(DECODE),
            store,
        }
    }

    /// What all shares add up to.
    pub const fn planned(&self) -> u64 {
        self.connections + self.segments + self.cache + self.decode + self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_add_up_to_more_than_their_part_of_the_total() {
        for mib in [128_u64, 200, 256, 512, 4096, 65_536] {
            let plan = MemoryPlan::divide(ByteSize::new(mib * MIB));
            assert!(plan.planned() <= plan.total / 100 * 86, "{plan:?}");
            assert!(plan.store >= STORE_MIN && plan.cache >= 8 * MIB, "{plan:?}");
        }
    }

    #[test]
    fn the_default_holds_ten_segments_of_eight_mebibytes() {
        let plan = MemoryPlan::divide(ByteSize::new(512 * MIB));
        assert!(plan.segments >= 10 * 8 * MIB, "{plan:?}");
    }

    #[test]
    fn a_total_below_the_least_is_planned_as_the_least() {
        assert_eq!(MemoryPlan::divide(ByteSize::new(1)).total, MEMORY_TOTAL_MIN);
    }
}
