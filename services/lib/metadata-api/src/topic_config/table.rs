//! The table of all keys.

use super::key::KeyClass::{Honoured, Stored};
use super::key::{ConfigKey, KeyClass, ValueRule};

/// Shorthand for one row of the table.
const fn key(
    name: &'static str,
    default: &'static str,
    class: KeyClass,
    rule: ValueRule,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        default,
        class,
        doc,
        rule,
    }
}

/// Any number that Kafka takes where -1 stands for "no limit".
const OR_UNLIMITED: ValueRule = ValueRule::Integer {
    min: -1,
    max: i64::MAX,
};
/// Any number from 0.
const NATURAL: ValueRule = ValueRule::Integer {
    min: 0,
    max: i64::MAX,
};

/// Every key, in the order of their names.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        "delete",
        Honoured,
        ValueRule::Words(&["compact", "delete"]),
        "how old records go: by age and size, by key, or both",
    ),
    key(
        "compression.type",
        "producer",
        Stored,
        ValueRule::Word(&["producer", "uncompressed", "zstd", "lz4", "snappy", "gzip"]),
        "batches are kept as they were sent, whatever this says",
    ),
    key(
        "delete.retention.ms",
        "86400000",
        Honoured,
        NATURAL,
        "how long a tombstone is kept after compaction has reached it",
    ),
    key(
        "deleted.retention.ms",
        "86400000",
        Honoured,
        NATURAL,
        "how long a deleted topic can be undeleted",
    ),
    key(
        "file.delete.delay.ms",
        "60000",
        Stored,
        NATURAL,
        "there are no files to delete",
    ),
    key(
        "flush.messages",
        "9223372036854775807",
        Stored,
        NATURAL,
        "every record is durable when it is acknowledged",
    ),
    key(
        "flush.ms",
        "9223372036854775807",
        Stored,
        NATURAL,
        "every record is durable when it is acknowledged",
    ),
    key(
        "index.interval.bytes",
        "4096",
        Stored,
        NATURAL,
        "indexes are laid out by the service",
    ),
    key(
        "max.compaction.lag.ms",
        "9223372036854775807",
        Honoured,
        ValueRule::Integer {
            min: 1,
            max: i64::MAX,
        },
        "how long a record may wait for compaction",
    ),
    key(
        "max.message.bytes",
        "1048588",
        Honoured,
        ValueRule::Integer {
            min: 1,
            max: i32::MAX as i64,
        },
        "largest record batch, as it was sent; more than 8 MiB mean 8 MiB",
    ),
    key(
        "message.timestamp.type",
        "CreateTime",
        Honoured,
        ValueRule::Word(&["CreateTime", "LogAppendTime"]),
        "whether records keep their producer's time or get the broker's",
    ),
    key(
        "min.cleanable.dirty.ratio",
        "0.5",
        Honoured,
        ValueRule::Ratio,
        "share of records that compaction has not seen before it starts",
    ),
    key(
        "min.compaction.lag.ms",
        "0",
        Honoured,
        NATURAL,
        "how long a record is safe from compaction",
    ),
    key(
        "min.insync.replicas",
        "1",
        Stored,
        ValueRule::Integer {
            min: 1,
            max: i64::MAX,
        },
        "the bucket replicates",
    ),
    key(
        "preallocate",
        "false",
        Stored,
        ValueRule::Bool,
        "there are no files to allocate",
    ),
    key(
        "retention.bytes",
        "-1",
        Honoured,
        OR_UNLIMITED,
        "most bytes of a partition that are kept; -1 keeps all",
    ),
    key(
        "retention.ms",
        "604800000",
        Honoured,
        OR_UNLIMITED,
        "how long records are kept; -1 keeps them for ever",
    ),
    key(
        "segment.bytes",
        "1073741824",
        Stored,
        NATURAL,
        "segments hold many partitions",
    ),
    key(
        "segment.index.bytes",
        "10485760",
        Stored,
        NATURAL,
        "indexes are laid out by the service",
    ),
    key(
        "segment.jitter.ms",
        "0",
        Stored,
        NATURAL,
        "segments hold many partitions",
    ),
    key(
        "segment.ms",
        "604800000",
        Stored,
        NATURAL,
        "segments hold many partitions",
    ),
    key(
        super::STORAGE_CLASS,
        "",
        Honoured,
        ValueRule::StorageClass,
        "how segments of the topic are filled: a class of the settings; without one as `produce` says",
    ),
    key(
        "unclean.leader.election.enable",
        "false",
        Stored,
        ValueRule::Bool,
        "there are no leaders",
    ),
];
