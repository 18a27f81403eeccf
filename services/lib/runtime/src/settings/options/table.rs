//! The table itself.

use super::{Kind, OptionDoc};
use crate::settings::units::AUTO;

const fn option(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> OptionDoc {
    OptionDoc {
        key,
        kind,
        default: Some(default),
        doc,
        since: "0.1",
    }
}

const fn unset(key: &'static str, kind: Kind, doc: &'static str) -> OptionDoc {
    OptionDoc {
        key,
        kind,
        default: None,
        doc,
        since: "0.1",
    }
}

/// All options, in the order of the reference.
pub const OPTIONS: &[OptionDoc] = &[
    option(
        "roles",
        Kind::Roles,
        "metadata,broker",
        "What the process does. `metadata` gives out offsets and keeps the catalogue, `broker` serves producers and consumers. All of it in one process is a whole cluster; with fewer, `cluster.metadata` says where the rest is.",
    ),
    unset(
        "data",
        Kind::Path,
        "The local folder that is the bucket. If neither this nor `bucket` is set, it is `./tidelog-data`.",
    ),
    unset(
        "bucket",
        Kind::Text,
        "The bucket, as `s3://NAME` or `s3://NAME/PREFIX`. Not together with `data`.",
    ),
    unset(
        "s3.endpoint",
        Kind::Url,
        "URL of a store that speaks S3, such as `http://127.0.0.1:9000`. Unset means AWS.",
    ),
    unset(
        "s3.region",
        Kind::Text,
        "Region of the bucket. Unset takes `AWS_REGION` from the environment, then `us-east-1`.",
    ),
    unset(
        "s3.access_key_id",
        Kind::Secret,
        "A static access key. Unset takes the usual AWS sources: environment, web identity, container, instance.",
    ),
    unset(
        "s3.secret_access_key",
        Kind::Secret,
        "The secret of the static access key.",
    ),
    unset(
        "s3.session_token",
        Kind::Secret,
        "The session token of a static key that is a temporary one.",
    ),
    unset(
        "s3.path_style",
        Kind::Flag,
        "Whether the bucket's name stands in the URL's path instead of its host. Unset means yes with `s3.endpoint`, no with AWS.",
    ),
    option(
        "s3.allow_http",
        Kind::Flag,
        "false",
        "Whether plain HTTP is allowed. Without TLS anyone on the network can read and change what is stored.",
    ),
    option(
        "s3.checksum",
        Kind::Choice(&["crc64nvme", "sha256", "none"]),
        "crc64nvme",
        "The checksum that goes with each PUT and that the store verifies.",
    ),
    option(
        "s3.sign_payload",
        Kind::Flag,
        "false",
        "Whether bodies are signed, which costs a SHA-256 of each. For stores that refuse unsigned payloads.",
    ),
    option(
        "s3.connect_timeout",
        Kind::Span("100ms", "1m"),
        "3s",
        "Longest wait for a connection.",
    ),
    option(
        "s3.request_timeout",
        Kind::Span("1s", "10m"),
        "2m",
        "Longest time of one request with its body. The attempt's own limit, `requests.attempt_timeout`, acts first.",
    ),
    option(
        "s3.pool_idle_timeout",
        Kind::Span("1s", "10m"),
        "15s",
        "How long an idle connection is kept.",
    ),
    option(
        "s3.pool_idle_max",
        Kind::Integer(1, 4096),
        "64",
        "How many idle connections are kept.",
    ),
    option(
        "local.stale_staged_after",
        Kind::Span("1m", "7d"),
        "1h",
        "Staged files of a local folder that are older are removed at start: a process that died left them.",
    ),
    option(
        "requests.retries_max",
        Kind::Integer(0, 100),
        "5",
        "How often a request to the bucket is sent again after the first time.",
    ),
    option(
        "requests.wait_initial",
        Kind::Span("1ms", "10s"),
        "50ms",
        "The first wait before a request is sent again; it doubles each time.",
    ),
    option(
        "requests.wait_max",
        Kind::Span("1ms", "1m"),
        "2s",
        "The longest wait before a request is sent again.",
    ),
    option(
        "requests.attempt_timeout",
        Kind::Span("100ms", "10m"),
        "20s",
        "How long one attempt of a request may take, body included.",
    ),
    option(
        "requests.hedge",
        Kind::Flag,
        "true",
        "Whether a slow GET is sent a second time. A local folder is never hedged.",
    ),
    option(
        "requests.hedge_percentile",
        Kind::Integer(50, 99),
        "95",
        "A GET is slow when it takes longer than this share of those before it, in percent.",
    ),
    option(
        "requests.hedge_delay_min",
        Kind::Span("1ms", "1m"),
        "20ms",
        "No GET is hedged sooner.",
    ),
    option(
        "requests.hedge_delay_max",
        Kind::Span("1ms", "1m"),
        "2s",
        "A GET that takes this long is hedged in any case.",
    ),
    option(
        "requests.requests_per_hedge",
        Kind::Integer(1, 1000),
        "10",
        "At most one hedge for this many GETs.",
    ),
    option(
        "listen.grpc",
        Kind::Address,
        "127.0.0.1:7070",
        "Where gRPC is served.",
    ),
    option(
        "listen.http",
        Kind::Address,
        "127.0.0.1:7080",
        "Where health and metrics are served over HTTP.",
    ),
    unset(
        "listen.internal",
        Kind::Address,
        "Where a metadata process serves other members. Unset is 127.0.0.1:7071 where the process is one of several, and nowhere where it is all there is.",
    ),
    option(
        "listen.insecure",
        Kind::Flag,
        "false",
        "Allows addresses that other machines can reach. There is no TLS and no authentication yet, so whoever reaches the port can read and write everything.",
    ),
    option(
        "grpc.connections_max",
        Kind::IntegerOrAuto(1, 1_000_000),
        AUTO,
        "Connections at the same time. One more takes the place of the connection that has done nothing for the longest time; if all are at work it is refused with a GOAWAY that says so. `auto` is what the share of `memory.total` for connections allows: 69 with 128MiB, 276 with 512MiB; it cannot be more.",
    ),
    option(
        "grpc.streams_max",
        Kind::Integer(1, 65_536),
        "256",
        "Calls that one connection may have open at the same time.",
    ),
    option(
        "grpc.keep_alive",
        Kind::Span("1s", "1h"),
        "30s",
        "How often a quiet connection is asked whether it is still there. One that does not answer within the same time, at most 20s, is closed.",
    ),
    option(
        "grpc.greeting_timeout",
        Kind::Span("100ms", "1m"),
        "10s",
        "A connection that has not begun to speak HTTP/2 after this long is closed.",
    ),
    option(
        "grpc.stall_timeout",
        Kind::Span("100ms", "1m"),
        "1s",
        "When others wait for memory, a message that does not come on for this long is refused, and a connection that takes nothing of its answers for this long is closed.",
    ),
    option(
        "memory.total",
        Kind::Size("128MiB", "16TiB"),
        "512MiB",
        "Memory of the whole process. It is divided among connections, segments, caches, decoding and the store; past its share a part refuses work.",
    ),
    option(
        "produce.segment_bytes",
        Kind::Size("64KiB", "32MiB"),
        "8MiB",
        "A segment closes at this size.",
    ),
    option(
        "produce.linger",
        Kind::SpanOrAuto("0ms", "1m"),
        AUTO,
        "A segment closes this long after its first byte. `auto` is 250ms for S3 and 5ms for a local folder.",
    ),
    option(
        "produce.flush_rate",
        Kind::Integer(1, 100_000),
        "4",
        "How often in a second a segment may close before its linger, when nothing is being uploaded. It caps the number of PUTs of a quiet log.",
    ),
    option(
        "produce.flush_burst",
        Kind::Integer(1, 100_000),
        "4",
        "How many such closes may come together after a pause.",
    ),
    option(
        "produce.uploads_max",
        Kind::Integer(1, 1024),
        "8",
        "Segments that are uploaded at the same time.",
    ),
    option(
        "produce.unanswered_max",
        Kind::Integer(1, 65_536),
        "64",
        "Segments that are closed and not yet answered.",
    ),
    option(
        "produce.hedge_after",
        Kind::Span("10ms", "10m"),
        "2s",
        "An upload that takes longer is started a second time under another name.",
    ),
    option(
        "fetch.answer_bytes_max",
        Kind::Size("64KiB", "1GiB"),
        "16MiB",
        "Most bytes of one answer, whatever the client asks for.",
    ),
    option(
        "fetch.wait_max",
        Kind::Span("0ms", "10m"),
        "30s",
        "Longest wait for new records, whatever the client asks for.",
    ),
    option(
        "fetch.extents_max",
        Kind::Integer(1, 100_000),
        "256",
        "Extents that one fetch reads of one partition.",
    ),
    option(
        "fetch.reads_in_flight",
        Kind::Integer(1, 1024),
        "8",
        "Reads of the bucket that one fetch has in flight.",
    ),
    option(
        "fetch.cached_extents",
        Kind::Integer(1_000, 100_000_000),
        "200000",
        "Extents that are kept in memory.",
    ),
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
        "cluster.advertise_internal",
        Kind::Peer,
        "Where other members reach this process, as `host:port`, if not at `listen.internal`.",
    ),
    option(
        "cluster.beat",
        Kind::Span("50ms", "10s"),
        "500ms",
        "How often a metadata process says that it is alive.",
    ),
    option(
        "cluster.lease",
        Kind::Span("500ms", "1m"),
        "2500ms",
        "A metadata process that has been silent for so long loses its shards to others. The same in all processes.",
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
    option(
        "drain.timeout",
        Kind::Span("0s", "1h"),
        "30s",
        "How long the process may take to finish its work after it was asked to end.",
    ),
    option(
        "log.level",
        Kind::Text,
        "info",
        "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,tidelog_blob=debug`.",
    ),
    option(
        "log.format",
        Kind::Choice(&["auto", "text", "json"]),
        AUTO,
        "How it is logged. `auto` is text on a terminal and JSON elsewhere.",
    ),
    unset(
        "otlp.endpoint",
        Kind::Url,
        "URL of an OpenTelemetry collector that takes OTLP over gRPC, such as `http://127.0.0.1:4317`. With https its certificate must be one that this system trusts. Unset exports nothing.",
    ),
    option(
        "otlp.traces",
        Kind::Flag,
        "true",
        "Whether traces are exported, if there is an endpoint.",
    ),
    option(
        "otlp.metrics",
        Kind::Flag,
        "true",
        "Whether metrics are exported, if there is an endpoint. They are the same as at `/metrics`.",
    ),
    option(
        "otlp.sample_ratio",
        Kind::Number(0.0, 1.0),
        "0.01",
        "Which share of traces that begin here is exported; a caller's own decision is followed.",
    ),
    option(
        "otlp.interval",
        Kind::Span("1s", "1h"),
        "15s",
        "How often metrics are exported.",
    ),
    option(
        "otlp.timeout",
        Kind::Span("100ms", "1m"),
        "10s",
        "How long one export may take.",
    ),
];
