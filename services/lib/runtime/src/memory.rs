//! How the one memory setting is divided.
//!
//! Design rule: memory is bounded by configuration, whatever clients do. Each part gets a share that it
//! must not pass; past it the part stops reading from sockets or refuses work. What is left over is for
//! the process itself: code, stacks, indexes and what the allocator holds back.

use tidelog_types::{Role, RoleSet};

use crate::settings::{ByteSize, MetadataStore, Settings};

/// The least that a process can work in: below it the store and two open segments would not fit.
pub const MEMORY_TOTAL_MIN: u64 = 128 * MIB;

const MIB: u64 = 1024 * 1024;

/// The store needs this much, however small the whole is.
const STORE_MIN: u64 = 32 * MIB;

/// Shares in percent of the whole. What is missing to 100 belongs to the process itself.
const CONNECTIONS: u64 = 15;
const SEGMENTS: u64 = 18;
const CACHE: u64 = 19;
const KAFKA: u64 = 5;
const DECODE: u64 = 5;
const STORE: u64 = 10;
const METADATA: u64 = 4;
const JANITOR: u64 = 14;

const _: () =
    assert!(CONNECTIONS + SEGMENTS + CACHE + KAFKA + DECODE + STORE + METADATA + JANITOR <= 90);

/// How the share of connections is divided, in percent of it: what the transport gathers, messages that
/// come in, answers that go out.
const WINDOWS: u64 = 45;
const INTAKE: u64 = 20;
const ANSWERS: u64 = 35;

const _: () = assert!(WINDOWS + INTAKE + ANSWERS == 100);

/// What a connection costs whatever it does: the window of 64 KiB that HTTP/2 gives each peer before
/// anybody can object, a frame, and the state of the transport.
pub const CONNECTION_BYTES_MIN: u64 = 96 * 1024;

/// How much of the windows is kept for every connection that may come, in percent. The rest goes to those
/// that come first, whose windows are larger.
const SEATS: u64 = 75;

/// What a merge needs beside its inputs, where there is much.
const MERGE_SPARE: u64 = 9 * MIB;
/// What is read of a segment at once.
const PAGE: u64 = 4 * MIB;
/// Merged segments of fewer pages have a remainder rather than being smaller by up to a page.
const PAGES_MIN: u64 = 8;

/// One call at a time for so many bytes of the total: what a call costs besides its messages (its header,
/// its task, its place in the transport) is about a tenth of this.
const TOTAL_PER_CALL: u64 = 128 * 1024;

/// Bytes for each part of the process. They never add up to more than the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The whole.
    pub total: u64,
    /// Requests that are being read and answers that are being written: the sum of the three below.
    pub connections: u64,
    /// What the transport has gathered and nobody has taken, over all connections.
    pub windows: u64,
    /// Messages that are coming in, until their batches have a place in the share of segments.
    pub intake: u64,
    /// Answers that are being put together or that their readers have not taken yet.
    pub answers: u64,
    /// Segments that are open, being uploaded or not yet committed.
    pub segments: u64,
    /// Requests of Kafka clients that are coming in, answers that they have not taken yet, and their fetch
    /// sessions.
    pub kafka: u64,
    /// Pages, those on their way and those that answers keep among them, and extents.
    pub cache: u64,
    /// Records that are taken apart for clients that want them so.
    pub decode: u64,
    /// The embedded store: tables in memory, its caches and what it has not flushed.
    pub store: u64,
    /// Sequencers: recent extents, state of partitions and producers, commits that wait.
    pub metadata: u64,
    /// What is being merged and compacted.
    pub janitor: u64,
}

/// Which parts run in the process. What those that do not would have had goes to those that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What the process does.
    pub roles: RoleSet,
    /// It has the embedded store.
    pub store: bool,
}

impl MemoryPlan {
    /// What a process with these settings has for each part.
    pub fn of(settings: &Settings) -> Self {
        let metadata = settings.roles.has(Role::Metadata);
        Self::divide_among(
            settings.memory.total,
            Parts {
                roles: settings.roles.get(),
                store: metadata && settings.metadata.store == MetadataStore::Embedded,
            },
        )
    }

    /// Divides `total`, as [`divide`](Self::divide) does, among some parts only.
    pub fn divide_among(total: ByteSize, parts: Parts) -> Self {
        let mut plan = Self::divide(total);
        let has = |role| parts.roles.contains(role);
        let (broker, metadata) = (has(Role::Broker), has(Role::Metadata));
        let janitor = has(Role::Janitor);
        let mut free = 0;
        if !parts.store {
            free += std::mem::take(&mut plan.store);
        }
        if !janitor {
            // Where nothing merges there may be more to write.
            plan.segments += std::mem::take(&mut plan.janitor);
        }
        if !broker {
            free += std::mem::take(&mut plan.segments);
            free += std::mem::take(&mut plan.kafka);
            free += std::mem::take(&mut plan.decode);
        }
        if !broker && !has(Role::Reader) {
            free += std::mem::take(&mut plan.cache);
        }
        if metadata {
            plan.metadata += free;
        } else if janitor && !broker && !has(Role::Reader) {
            // A janitor alone.
            plan.janitor += free + std::mem::take(&mut plan.metadata);
        } else {
            // A broker or a reader, with a janitor or alone.
            plan.cache += free + std::mem::take(&mut plan.metadata);
        }
        plan
    }

    /// Divides `total`, which the settings keep at or above [`MEMORY_TOTAL_MIN`], among all parts.
    pub fn divide(total: ByteSize) -> Self {
        let total = total.get().max(MEMORY_TOTAL_MIN);
        let share = |percent: u64| total / 100 * percent;
        let store = share(STORE).max(STORE_MIN);
        // What a small process gives its store beyond the share is taken from the cache and the janitor.
        let taken = (store - share(STORE)) / 2;
        let cache = share(CACHE).saturating_sub(taken);
        let janitor = share(JANITOR).saturating_sub(taken);
        let connections = share(CONNECTIONS);
        Self {
            total,
            connections,
            windows: connections / 100 * WINDOWS,
            intake: connections / 100 * INTAKE,
            answers: connections / 100 * ANSWERS,
            segments: share(SEGMENTS),
            kafka: share(KAFKA),
            cache,
            decode: share(DECODE),
            store,
            metadata: share(METADATA),
            janitor,
        }
    }

    /// How many connections fit: each has its least, whatever all of them do.
    pub const fn connections_max(&self) -> u64 {
        self.windows / 100 * SEATS / CONNECTION_BYTES_MIN
    }

    /// How many calls may be open at the same time, over all connections.
    pub const fn calls_max(&self) -> u64 {
        self.total / TOTAL_PER_CALL
    }

    /// What all shares add up to.
    pub const fn planned(&self) -> u64 {
        self.connections
            + self.segments
            + self.kafka
            + self.cache
            + self.decode
            + self.store
            + self.metadata
            + self.janitor
    }

    /// What key compaction has of the share of the janitor for itself: for the keys of a partition. What is read and
    /// written is held in what merging has.
    pub const fn compaction(&self) -> u64 {
        self.janitor / 8
    }

    /// What is left of that share for what is being merged.
    pub const fn merging(&self) -> u64 {
        self.janitor - self.compaction()
    }

    /// How large a merged segment may be planned by a process that merges what it plans: beside it, a batch of the
    /// largest size and what lies between extents have room. Where it is large it is a number of pages, so that none is read
    /// for a remainder.
    pub fn merge_bytes_max(&self) -> u64 {
        let merging = self.merging();
        let most = merging.saturating_sub(MERGE_SPARE).max(merging / 4 * 3);
        if most < PAGES_MIN * PAGE {
            most
        } else {
            most / PAGE * PAGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_add_up_to_more_than_their_part_of_the_total() {
        for mib in [128_u64, 200, 256, 512, 4096, 65_536] {
            let plan = MemoryPlan::divide(ByteSize::new(mib * MIB));
            assert!(plan.planned() <= plan.total / 100 * 91, "{plan:?}");
            assert!(plan.store >= STORE_MIN && plan.cache >= 8 * MIB, "{plan:?}");
        }
    }

    #[test]
    fn parts_that_do_not_run_leave_their_memory_to_those_that_do() {
        let total = ByteSize::new(512 * MIB);
        let all = MemoryPlan::divide(total);
        let parts = |roles: &[Role], store| Parts {
            roles: roles.iter().copied().collect(),
            store,
        };
        let (broker, metadata, janitor) = (Role::Broker, Role::Metadata, Role::Janitor);
        let divide = |parts| MemoryPlan::divide_among(total, parts);
        assert_eq!(divide(parts(&[broker, metadata, janitor], true)), all);
        let sequencers = divide(parts(&[metadata], false));
        assert!(
            sequencers.metadata >= total.get() / 10 * 7,
            "{sequencers:?}"
        );
        let active = divide(parts(&[metadata], true));
        assert!(active.metadata >= total.get() / 2 && active.store == all.store);
        let alone = divide(parts(&[janitor], false));
        let broker = divide(parts(&[broker], false));
        assert_eq!((broker.metadata, broker.store), (0, 0));
        assert!(broker.cache > all.cache && broker.segments > all.segments);
        assert_eq!((sequencers.janitor, broker.janitor), (0, 0));
        assert!(alone.janitor >= total.get() / 10 * 7, "{alone:?}");
        let reader = divide(parts(&[Role::Reader], false));
        assert!(reader.cache >= total.get() / 10 * 7, "{reader:?}");
        assert_eq!((reader.segments, reader.kafka), (0, 0));
        for plan in [sequencers, active, broker, alone, reader] {
            assert_eq!(plan.planned(), all.planned(), "{plan:?}");
        }
    }

    #[test]
    fn the_default_holds_ten_segments_of_eight_mebibytes() {
        let plan = MemoryPlan::divide(ByteSize::new(512 * MIB));
        assert!(plan.segments >= 10 * 8 * MIB, "{plan:?}");
    }

    /// What a merge costs: one request for so many bytes of history.
    #[test]
    fn the_default_merges_into_segments_of_which_a_gibibyte_has_few() {
        let plan = MemoryPlan::divide(ByteSize::new(512 * MIB));
        assert!(1024 * MIB / plan.merge_bytes_max() <= 19, "{plan:?}");
    }

    #[test]
    fn connections_with_their_least_leave_room_for_larger_windows() {
        for mib in [128_u64, 512, 65_536] {
            let plan = MemoryPlan::divide(ByteSize::new(mib * MIB));
            let parts = plan.windows + plan.intake + plan.answers;
            assert!(parts <= plan.connections, "{plan:?}");
            let seats = plan.connections_max() * CONNECTION_BYTES_MIN;
            assert!(seats <= plan.windows / 100 * 75, "{plan:?}");
            assert!(plan.connections_max() >= 64, "{plan:?}");
        }
    }

    #[test]
    fn a_total_below_the_least_is_planned_as_the_least() {
        assert_eq!(MemoryPlan::divide(ByteSize::new(1)).total, MEMORY_TOTAL_MIN);
    }
}
