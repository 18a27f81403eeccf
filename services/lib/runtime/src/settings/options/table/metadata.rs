//! Where metadata is kept and who serves it.

use super::super::{Kind, OptionDoc};
use super::{option, unset};
use crate::settings::units::AUTO;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "store.transaction_age_max",
        Kind::Span("1s", "1m"),
        "5s",
        "A transaction of the embedded store that is open for longer is refused.",
    ),
    option(
        "store.flushes_per_table",
        Kind::Integer(16, 100_000),
        "256",
        "After so many flushes the rows go from log to table. A restart replays at most about this many objects.",
    ),
    option(
        "store.request_retries_max",
        Kind::Integer(1, 100_000),
        "180",
        "How often the embedded store sends one request to the bucket again, with waits that soon are about a second. \
         After that it is not known what is durable, and the store closes. On a local folder nothing is tried again.",
    ),
    option(
        "store.garbage_age_min",
        Kind::Span("10s", "7d"),
        "1m",
        "Objects of the store that nothing refers to are kept this long before they are deleted.",
    ),
    option(
        "metadata.store",
        Kind::MetadataStore,
        "embedded",
        "Where metadata is kept: `embedded` in the bucket, with one metadata process at work at a time, or `fdb:CLUSTERFILE` in FoundationDB, with any number. A cluster cannot change it. FoundationDB needs a program built with the feature `fdb`.",
    ),
    option(
        "metadata.checkpoint_interval",
        Kind::Span("1s", "10m"),
        "10s",
        "How long after the first change changed partitions and producers are written down.",
    ),
    option(
        "metadata.checkpoint_manifests",
        Kind::Integer(1, 1_000_000),
        "2000",
        "After so many segments they are written down in any case. A takeover replays at most this many.",
    ),
    option(
        "metadata.producers_in_memory",
        Kind::Integer(100, 100_000_000),
        "100000",
        "Idempotent producers that are kept in memory, as many as the memory of the metadata has room for; others are read again when they come back.",
    ),
    option(
        "metadata.partitions_in_memory",
        Kind::Integer(100, 100_000_000),
        "100000",
        "Partitions that are kept in memory, as many as the memory of the metadata has room for; others are read again when they are written or read.",
    ),
    option(
        "metadata.producer_expiry",
        Kind::Span("5m", "365d"),
        "1d",
        "How long after its last batch an idempotent producer is forgotten; from then on what it sends again is no duplicate. Keep it well above the time for which clients retry.",
    ),
    option(
        "metadata.retention_interval",
        Kind::Span("1s", "1d"),
        "5m",
        "How often at most it is looked at what is to go by the retention of its topic, as `log.retention.check.interval.ms` of Kafka. Where nothing is due nothing is looked at.",
    ),
    option(
        "metadata.merge",
        Kind::Flag,
        "true",
        "Whether small segments are merged into large ones. Without, reading old records takes many requests, and metadata grows with every segment.",
    ),
    option(
        "metadata.merge_age",
        Kind::Span("1s", "1d"),
        "45s",
        "Segments are merged once they are so old, if there are two of them at least.",
    ),
    option(
        "metadata.merge_bytes",
        Kind::Size("1MiB", "256MiB"),
        "64MiB",
        "How large merged segments are at most. As soon as there is so much to merge, it is merged. A janitor holds one of them in memory: a process that also has that role makes them smaller where its memory is small.",
    ),
    option(
        "metadata.merge_growth",
        Kind::Integer(0, 64),
        "8",
        "Merged data of a partition that is small is merged again, once what comes of it is so many times as large as each piece. The less, the fewer requests reading old records takes, and the more often each byte is copied. 0 or 1 merges nothing again.",
    ),
    option(
        "metadata.merge_again_age",
        Kind::Span("1s", "7d"),
        "1h",
        "What is to be merged again waits so long for more of it, or until there is as much as a merged segment has.",
    ),
    option(
        "metadata.rewrite_live_percent",
        Kind::Integer(0, 90),
        "30",
        "When less than so many hundredths of a merged segment are still needed, what is left of it is written anew, together with that of others, and the segment is deleted. The more, the less is stored that nobody needs, and the more often bytes are copied. 0 writes nothing anew: a segment stays whole until nothing of it is needed.",
    ),
    option(
        "metadata.rewrite_age",
        Kind::Span("1s", "30d"),
        "1h",
        "What is left of a merged segment waits so long for that of others, once or twice, before it is written anew. What goes within that time by the retention of its topic is not.",
    ),
    unset(
        "metadata.tail_age_max",
        Kind::Span("1m", "365d"),
        "When the oldest data of a shard that is not merged is older than this, the shard takes nothing new until merging has caught up, and producers wait. Unset, there is no limit.",
    ),
    option(
        "fdb.prefix",
        Kind::Text,
        "tidelog/",
        "All keys in FoundationDB begin with this, so that several clusters can share one.",
    ),
    option(
        "fdb.timeout",
        Kind::Span("100ms", "1m"),
        "5s",
        "How long one call of FoundationDB may take before its outcome counts as unknown.",
    ),
    option(
        "fdb.knobs",
        Kind::Text,
        "",
        "Knobs of the FoundationDB client, as `NAME=VALUE` with commas.",
    ),
    unset(
        "fdb.tls_cert",
        Kind::Path,
        "The certificate with which this process connects to FoundationDB, as PEM.",
    ),
    unset(
        "fdb.tls_key",
        Kind::Path,
        "The key of that certificate, as PEM.",
    ),
    unset(
        "fdb.tls_ca",
        Kind::Path,
        "The authorities that certificates of FoundationDB are checked against, as PEM.",
    ),
    unset(
        "fdb.tls_verify",
        Kind::Text,
        "What must hold of certificates of FoundationDB, in its own language of verification.",
    ),
    unset(
        "cluster.name",
        Kind::Text,
        "What people call this process. Unset takes the name of its host.",
    ),
    option(
        "cluster.zone",
        Kind::Text,
        "",
        "The zone that this process runs in, for clients that prefer what is near.",
    ),
    option(
        "cluster.metadata",
        Kind::Peers,
        "",
        "Where metadata processes serve other members, as `host:port` with commas: all or some of them. A process without the role `metadata` needs it; one with it names the others.",
    ),
    option(
        "cluster.shards",
        Kind::IntegerOrAuto(1, 1024),
        AUTO,
        "How many shards a new cluster has: the unit in which ownership is spread over metadata processes. `auto` is 1 for the embedded store and 32 for FoundationDB. An existing cluster keeps its number.",
    ),
    unset(
        "cluster.advertise_grpc",
        Kind::Peer,
        "Where clients reach gRPC of this process, as `host:port`, if not at `listen.grpc`.",
    ),
    unset(
        "cluster.advertise_kafka",
        Kind::Peer,
        "Where Kafka clients reach this process, as `host:port`, if not at `listen.kafka`.",
    ),
    unset(
        "cluster.advertise_internal",
        Kind::Peer,
        "Where other members reach this process, as `host:port`, if not at `listen.internal`.",
    ),
    option(
        "cluster.beat",
        Kind::Span("50ms", "10s"),
        "300ms",
        "How often a metadata process says that it is alive.",
    ),
    option(
        "cluster.lease",
        Kind::Span("500ms", "1m"),
        "2s",
        "A metadata process that has been silent for so long loses its shards to others; one that its store has not answered for so long takes no part until it does. The same in all processes.",
    ),
    option(
        "cluster.member_grace",
        Kind::Span("1s", "10m"),
        "5s",
        "How long a member that was lost without a word stays listed, in case it comes back.",
    ),
    unset(
        "cluster.tls_cert",
        Kind::Path,
        "The certificate, as PEM, that this process shows to other members. With it, its key and the authority, members speak mutual TLS.",
    ),
    unset(
        "cluster.tls_key",
        Kind::Path,
        "The key of that certificate, as PEM.",
    ),
    unset(
        "cluster.tls_ca",
        Kind::Path,
        "The authority, as PEM, that must have signed the certificates of other members.",
    ),
];
