//! What the settings and the memory plan mean for each part of the process.

use std::num::NonZeroU64;
use std::time::Duration;

use tidelog_broker_engine::{AppendSettings, EngineSettings, FetchSettings, StorageClass};
use tidelog_broker_grpc::{GrpcSettings, REQUEST_BYTES_MAX};
use tidelog_broker_kafka::KafkaSettings;
use tidelog_cache::{CacheSettings, DISK_BYTES_MIN, DISK_MEMORY_BYTES, DiskSettings};
use tidelog_metadata::{
    GroupSettings, MergeSettings, RewriteSettings, SequencerSettings, TransactionSettings,
};
use tidelog_runtime::MemoryPlan;
use tidelog_runtime::memory::CONNECTION_BYTES_MIN;
use tidelog_runtime::settings::{
    GroupsSettings, JanitorSettings, MetadataSettings, Settings, Span, TransactionsSettings,
};
use tidelog_types::{ClusterId, Role};

use super::beside::Beside;
use crate::cli::{CliError, Result};

/// About what an extent takes in memory, with its place in the cache.
const EXTENT_BYTES: u64 = 160;
/// Linger where a PUT is a file with a sync.
const LINGER_LOCAL: Duration = Duration::from_millis(5);
/// Linger where a PUT is a request that costs money.
const LINGER_REMOTE: Duration = Duration::from_millis(250);

/// How the share of the cache is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheShares {
    /// How many extents are kept.
    extents: u64,
    /// Bytes of lists of aborted transactions.
    aborted: u64,
    /// Half for old data, which readers go through at their own pace; a quarter each for the tail, which all
    /// read at the same time, and for pages that are on their way or that answers keep.
    pages: u64,
    /// Whether there may be readers elsewhere.
    is_clustered: bool,
    is_broker: bool,
    is_reader: bool,
}

impl CacheShares {
    /// At most an eighth goes to extents, and a little to lists of aborted transactions. What a disk for pages
    /// needs is taken from the pages.
    pub(super) fn of(settings: &Settings, plan: &MemoryPlan) -> Self {
        let extents = settings
            .fetch
            .cached_extents
            .min(plan.cache / 8 / EXTENT_BYTES);
        let aborted = plan.cache / 64;
        let pages = plan.cache - extents * EXTENT_BYTES - aborted;
        let disk = if settings.cache.disk_path.is_some() {
            DISK_MEMORY_BYTES
        } else {
            0
        };
        let pages = pages.saturating_sub(disk);
        Self {
            extents,
            aborted,
            pages,
            is_clustered: settings.is_clustered(),
            is_broker: settings.roles.has(Role::Broker),
            is_reader: settings.roles.has(Role::Reader),
        }
    }

    /// For pages on their way or that answers keep. A process that is broker and reader has both of them within it.
    pub(super) const fn moving(self) -> u64 {
        self.pages / 4
    }

    /// The part of it for pages that are offered to readers.
    pub(super) const fn offers(self) -> u64 {
        if self.is_clustered {
            self.moving() / 4
        } else {
            0
        }
    }

    /// The part of it for pages on their way to brokers.
    pub(super) const fn serving(self) -> u64 {
        match (self.is_reader, self.is_broker) {
            (false, _) => 0,
            (true, false) => self.moving(),
            (true, true) => self.moving() / 4,
        }
    }

    pub(super) fn pools(self) -> CacheSettings {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        CacheSettings {
            tail_bytes: bytes(self.pages / 4),
            catch_up_bytes: bytes(self.pages / 2),
        }
    }
}

/// What pages in memory have at least beside a disk for them: less than eight would only pass through.
const BESIDE_DISK_BYTES_MIN: u64 = 32 << 20;

/// The disk for pages, if the settings name one. Its folder is one of the cluster: names of segments mean nothing in another.
pub(super) fn disk_settings(
    settings: &Settings,
    shares: CacheShares,
    cluster: ClusterId,
) -> Result<Option<DiskSettings>> {
    let (Some(path), Some(size)) = (&settings.cache.disk_path, settings.cache.disk_size) else {
        return Ok(None);
    };
    if shares.pages < BESIDE_DISK_BYTES_MIN {
        return Err(CliError::usage(format!(
            "`memory.total` ({}) leaves too little for pages beside what `cache.disk_path` needs \
             (`{DISK_MEMORY_BYTES}` bytes): raise the one or unset the other",
            settings.memory.total
        )));
    }
    Ok(Some(DiskSettings {
        folder: path.join(cluster.to_string()),
        bytes: size.get().max(DISK_BYTES_MIN),
    }))
}

/// One part in so many of the metadata share is for groups of consumers.
const GROUPS_SHARE: u64 = 4;
/// The same for transactional ids.
const TRANSACTIONS_SHARE: u64 = 8;

/// What all groups of the process may take.
pub(super) fn group_settings(groups: &GroupsSettings, plan: &MemoryPlan) -> GroupSettings {
    let mut settings = GroupSettings::within(plan.metadata / GROUPS_SHARE);
    settings.offsets_retention = groups.offsets_retention.get();
    settings.classic.initial_delay = groups.initial_delay.get();
    settings.classic.session_min = groups.session_min.get();
    settings.classic.session_max = groups.session_max.get();
    settings.classic.members_max = groups.members_max;
    settings.consumer.session = groups.consumer_session.get();
    settings.consumer.heartbeat = groups.consumer_heartbeat.get();
    settings.consumer.members_max = groups.members_max;
    settings
}

/// What all transactional ids of the process may take.
pub(super) fn transaction_settings(
    transactions: &TransactionsSettings,
    plan: &MemoryPlan,
) -> TransactionSettings {
    TransactionSettings {
        timeout_max: transactions.timeout_max.get(),
        expiry: transactions.id_expiry.get(),
        ..TransactionSettings::within(plan.metadata / TRANSACTIONS_SHARE)
    }
}

/// What each of so many sequencers may take.
pub(super) fn sequencer_settings(
    metadata: &MetadataSettings,
    plan: &MemoryPlan,
    shards: u32,
) -> SequencerSettings {
    let within = SequencerSettings::within(sequencers_share(plan) / u64::from(shards));
    SequencerSettings {
        checkpoint_interval: metadata.checkpoint_interval.get(),
        checkpoint_manifests: metadata.checkpoint_manifests,
        producers_in_memory: metadata.producers_in_memory.min(within.producers_in_memory),
        partitions_in_memory: metadata
            .partitions_in_memory
            .min(within.partitions_in_memory),
        producer_expiry: metadata.producer_expiry.get(),
        retention_interval: metadata.retention_interval.get(),
        merge: MergeSettings {
            is_on: metadata.merge,
            age: metadata.merge_age.get(),
            bytes: merge_bytes(metadata, plan),
            growth: metadata.merge_growth,
            again_age: metadata.merge_again_age.get(),
            rewrite: RewriteSettings {
                live_percent: metadata.rewrite_live_percent,
                age: metadata.rewrite_age.get(),
                ..within.merge.rewrite
            },
            compaction_interval: metadata.retention_interval.get(),
            ..within.merge
        },
        tail_age_max: metadata.tail_age_max.map(Span::get),
        ..within
    }
}

/// How large merged segments are to be: what merges them in this process, if anything does, holds one in memory.
fn merge_bytes(metadata: &MetadataSettings, plan: &MemoryPlan) -> u64 {
    let wanted = metadata.merge_bytes.get();
    match plan.merge_bytes_max() {
        0 => wanted,
        most => wanted.min(most),
    }
}

/// What merging may take.
pub(super) fn merge_settings(
    janitor: &JanitorSettings,
    plan: &MemoryPlan,
) -> tidelog_janitor::MergeSettings {
    tidelog_janitor::MergeSettings {
        memory_bytes: plan.merging(),
        bytes_per_second: NonZeroU64::new(janitor.merge_rate.get()),
        at_once: janitor.merges_at_once,
        ..tidelog_janitor::MergeSettings::default()
    }
}

const fn sequencers_share(plan: &MemoryPlan) -> u64 {
    plan.metadata - plan.metadata / GROUPS_SHARE - plan.metadata / TRANSACTIONS_SHARE
}

/// What the engine may do and take.
pub(super) fn engine_settings(
    settings: &Settings,
    plan: &MemoryPlan,
    is_local: bool,
    shares: CacheShares,
) -> EngineSettings {
    let (produce, fetch) = (&settings.produce, &settings.fetch);
    let linger = if is_local {
        LINGER_LOCAL
    } else {
        LINGER_REMOTE
    };
    let append = AppendSettings {
        segment_bytes: u32::try_from(produce.segment_bytes.get()).unwrap_or(u32::MAX),
        linger: produce.linger.unwrap_or_else(|| Span::new(linger)).get(),
        flush_rate: produce.flush_rate,
        flush_burst: produce.flush_burst,
        uploads_max: produce.uploads_max,
        unanswered_max: produce.unanswered_max,
        hedge_after: produce.hedge_after.get(),
        memory_bytes: plan.segments,
        ..AppendSettings::default()
    };
    let fetch = FetchSettings {
        answer_bytes_max: answer_bytes_max(settings, plan),
        wait_max: fetch.wait_max.get(),
        extents_max: fetch.extents_max,
        reads_in_flight: fetch.reads_in_flight,
        memory_bytes: plan.answers / 2,
        pages_bytes: shares.moving() - shares.offers() - shares.serving(),
        decode_bytes: plan.decode,
        cached_extents: shares.extents,
        aborted_bytes: shares.aborted,
    };
    EngineSettings { append, fetch }
}

/// The storage classes; what one does not say is as for topics without a class.
pub(super) fn storage_classes(
    settings: &Settings,
    beside: &Beside,
    append: &AppendSettings,
) -> Vec<StorageClass> {
    let classes = settings.storage.classes.iter();
    classes
        .map(|(name, class)| StorageClass {
            name: name.clone(),
            linger: class.linger.map_or(append.linger, Span::get),
            segment_bytes: class.segment_bytes.map_or(append.segment_bytes, |bytes| {
                u32::try_from(bytes.get()).unwrap_or(u32::MAX)
            }),
            express_bytes: class
                .express_bytes
                .map_or(0, |bytes| u32::try_from(bytes.get()).unwrap_or(u32::MAX)),
            bucket: beside.number(class.put_into()),
        })
        .collect()
}

/// The most bytes of one answer: half of what those have that are being put together, so that one reader
/// never keeps all others waiting.
fn answer_bytes_max(settings: &Settings, plan: &MemoryPlan) -> u64 {
    settings.fetch.answer_bytes_max.get().min(plan.answers / 4)
}

/// What the gRPC front end may do and take.
pub(super) fn grpc_settings(settings: &Settings, plan: &MemoryPlan) -> GrpcSettings {
    let grpc = &settings.grpc;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let connections = grpc
        .connections_max
        .unwrap_or_else(|| plan.connections_max());
    // Three quarters of what comes in is for messages that come piece by piece.
    let request_bytes = number(plan.intake / 4 * 3).min(REQUEST_BYTES_MAX);
    GrpcSettings {
        request_bytes_max: request_bytes,
        fetch_bytes_max: u32::try_from(answer_bytes_max(settings, plan)).unwrap_or(u32::MAX),
        intake_bytes: plan.intake,
        // The other half is for answers that are being put together.
        answer_bytes: plan.answers - plan.answers / 2,
        stall_timeout: grpc.stall_timeout.get(),
        connections_max: number(connections),
        calls_max: number(plan.calls_max()),
        connection_streams_max: grpc.streams_max,
        window_bytes: plan
            .windows
            .saturating_sub(connections * CONNECTION_BYTES_MIN),
        greeting_timeout: grpc.greeting_timeout.get(),
        keep_alive: grpc.keep_alive.get(),
        ..GrpcSettings::default()
    }
}

/// What the Kafka front end may do and take.
pub(super) fn kafka_settings(settings: &Settings, plan: &MemoryPlan) -> KafkaSettings {
    let kafka = &settings.kafka;
    let bytes = usize::try_from(kafka.request_bytes_max.get()).unwrap_or(usize::MAX);
    let session_bytes = plan.kafka / 8;
    let intake_bytes = (plan.kafka - session_bytes) / 2;
    let answer_bytes = plan.kafka - session_bytes - intake_bytes;
    // One reader never keeps all others waiting.
    let fetch_bytes = answer_bytes_max(settings, plan).min(answer_bytes / 2);
    KafkaSettings {
        request_bytes_max: bytes,
        request_timeout: kafka.request_timeout.get(),
        fetch_bytes_max: u32::try_from(fetch_bytes).unwrap_or(u32::MAX),
        intake_bytes,
        answer_bytes,
        session_bytes,
        stall_timeout: kafka.stall_timeout.get(),
        idle_timeout: kafka.idle_timeout.get(),
        connections_max: kafka.connections_max,
        in_flight_max: kafka.in_flight_max,
        auto_create_topics: kafka.auto_create_topics,
        default_partitions: kafka.default_partitions,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::settings;
    use super::*;

    #[test]
    fn linger_follows_the_storage_class_unless_it_is_given() {
        let linger = |is_local, given: &[(&str, &str)]| {
            let settings = settings(given);
            let plan = MemoryPlan::divide(settings.memory.total);
            let shares = CacheShares::of(&settings, &plan);
            let engine = engine_settings(&settings, &plan, is_local, shares);
            engine.append.linger
        };
        assert_eq!(linger(true, &[]), LINGER_LOCAL);
        assert_eq!(linger(false, &[]), LINGER_REMOTE);
        let given = [("produce.linger", "7ms")];
        assert_eq!(linger(false, &given), Duration::from_millis(7));
    }

    #[test]
    fn a_storage_class_has_what_it_says_and_else_what_all_have() {
        let given = [
            ("storage.classes.fast.linger", "7ms"),
            ("storage.classes.fast.express_bytes", "32KiB"),
            ("storage.classes.small.segment_bytes", "1MiB"),
        ];
        let settings = settings(&given);
        let plan = MemoryPlan::divide(settings.memory.total);
        let shares = CacheShares::of(&settings, &plan);
        let append = engine_settings(&settings, &plan, false, shares).append;
        let class = |name: &str, linger, segment_bytes, express_bytes| StorageClass {
            name: name.to_owned(),
            linger,
            segment_bytes,
            express_bytes,
            bucket: tidelog_blob::MAIN,
        };
        assert_eq!(
            storage_classes(&settings, &Beside::default(), &append),
            [
                class(
                    "fast",
                    Duration::from_millis(7),
                    append.segment_bytes,
                    32 << 10
                ),
                class("small", LINGER_REMOTE, 1 << 20, 0),
            ]
        );
    }

    #[test]
    fn sequencers_take_what_is_given_as_far_as_memory_goes() {
        let sequencer = |given: &[(&str, &str)]| {
            let settings = settings(given);
            let plan = MemoryPlan::divide(settings.memory.total);
            sequencer_settings(&settings.metadata, &plan, 1)
        };
        let plan = MemoryPlan::divide(settings(&[]).memory.total);
        let room = SequencerSettings::within(sequencers_share(&plan));
        let by_default = sequencer(&[]);
        assert_eq!(by_default.producer_expiry, Duration::from_hours(24));
        assert_eq!(by_default.tail_age_max, None);
        assert!(by_default.partitions_in_memory <= room.partitions_in_memory);
        let few = sequencer(&[
            ("metadata.partitions_in_memory", "200"),
            ("metadata.producers_in_memory", "300"),
            ("metadata.producer_expiry", "2h"),
            ("metadata.tail_age_max", "10m"),
        ]);
        assert_eq!(few.partitions_in_memory, 200);
        assert_eq!(few.producers_in_memory, 300);
        assert_eq!(few.producer_expiry, Duration::from_hours(2));
        assert_eq!(few.tail_age_max, Some(Duration::from_mins(10)));
        let many = sequencer(&[
            ("metadata.partitions_in_memory", "100000000"),
            ("metadata.producers_in_memory", "100000000"),
        ]);
        assert_eq!(many.partitions_in_memory, room.partitions_in_memory);
        assert_eq!(many.producers_in_memory, room.producers_in_memory);
    }

    #[test]
    fn a_disk_has_a_folder_of_its_cluster_and_memory_of_the_pages() {
        let cluster = ClusterId::from_random_bytes([3; 16]);
        let disk = [("cache.disk_path", "/cache"), ("cache.disk_size", "1GiB")];
        let with = |given: &[(&str, &str)]| {
            let settings = settings(given);
            let plan = MemoryPlan::of(&settings);
            let shares = CacheShares::of(&settings, &plan);
            (shares, disk_settings(&settings, shares, cluster))
        };
        let (without, none) = with(&[]);
        assert_eq!(none.unwrap(), None);
        let (shares, found) = with(&disk);
        let found = found.unwrap().unwrap();
        assert_eq!(found.folder, Path::new("/cache").join(cluster.to_string()));
        assert_eq!(found.bytes, DISK_BYTES_MIN);
        assert_eq!(shares.pages + DISK_MEMORY_BYTES, without.pages);
        let small = [disk[0], disk[1], ("memory.total", "256MiB")];
        let error = with(&small).1.unwrap_err();
        assert!(error.to_string().contains("memory.total"), "{error}");
    }

    #[test]
    fn what_the_parts_are_given_stays_within_the_plan() {
        let totals = ["128MiB", "512MiB", "8GiB"];
        let cases = totals.iter().flat_map(|total| {
            ["metadata,broker", "metadata,broker,reader"].map(|roles| (*total, roles))
        });
        for (total, roles) in cases {
            let settings = settings(&[
                ("memory.total", total),
                ("produce.segment_bytes", "1MiB"),
                ("roles", roles),
                ("listen.internal", "127.0.0.1:7071"),
            ]);
            let plan = MemoryPlan::divide(settings.memory.total);
            let shares = CacheShares::of(&settings, &plan);
            let engine = engine_settings(&settings, &plan, true, shares);
            let pools = shares.pools();
            let pages = (pools.tail_bytes + pools.catch_up_bytes) as u64;
            let extents = engine.fetch.cached_extents * EXTENT_BYTES;
            assert!(extents <= plan.cache / 8);
            let kept = extents + pages + engine.fetch.aborted_bytes;
            let moving = engine.fetch.pages_bytes + shares.offers() + shares.serving();
            assert!(kept + moving <= plan.cache);
            assert!(engine.append.memory_bytes <= plan.segments);
            assert!(engine.fetch.answer_bytes_max <= engine.fetch.memory_bytes);
            let grpc = grpc_settings(&settings, &plan);
            assert_eq!(grpc.answer_bytes + engine.fetch.memory_bytes, plan.answers);
            assert!(grpc.request_bytes_max as u64 <= grpc.intake_bytes);
            let seats = grpc.connections_max as u64 * CONNECTION_BYTES_MIN;
            assert!(seats + grpc.window_bytes <= plan.windows);
            let kafka = kafka_settings(&settings, &plan);
            let given = kafka.intake_bytes + kafka.answer_bytes + kafka.session_bytes;
            assert_eq!(given, plan.kafka);
            assert!(u64::from(kafka.fetch_bytes_max) * 2 <= kafka.answer_bytes);
            let sequencer = sequencer_settings(&settings.metadata, &plan, 1);
            let metadata = sequencer.extent_bytes + sequencer.mailbox_bytes;
            let groups = group_settings(&settings.groups, &plan).memory_bytes;
            let transactions = transaction_settings(&settings.transactions, &plan).memory_bytes;
            assert!((metadata + groups + transactions) as u64 <= plan.metadata);
        }
    }
}
