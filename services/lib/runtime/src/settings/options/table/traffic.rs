//! What callers send and read, and the memory for it.

use super::super::{Kind, OptionDoc};
use super::{option, unset};
use crate::settings::units::AUTO;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "listen.grpc",
        Kind::Address,
        "127.0.0.1:7070",
        "Where gRPC is served.",
    ),
    option(
        "listen.kafka",
        Kind::Address,
        "127.0.0.1:9092",
        "Where Kafka's protocol is served.",
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
        "Where a metadata process or a reader serves other members. Unset is 127.0.0.1:7071 where the process is one of several, and nowhere where it is all there is.",
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
        "kafka.connections_max",
        Kind::Integer(1, 1_000_000),
        "20480",
        "Connections of Kafka clients at the same time. One more is closed at once.",
    ),
    option(
        "kafka.request_bytes_max",
        Kind::Size("64KiB", "64MiB"),
        "16MiB",
        "Largest request of a Kafka client. A connection that claims a larger one is closed.",
    ),
    option(
        "kafka.request_timeout",
        Kind::Span("100ms", "10m"),
        "30s",
        "How long a request of a Kafka client may take from its first byte to its last. A connection on which one takes longer is closed.",
    ),
    option(
        "kafka.stall_timeout",
        Kind::Span("100ms", "10m"),
        "10s",
        "A Kafka client that takes no byte of its answer for this long is closed.",
    ),
    option(
        "kafka.idle_timeout",
        Kind::Span("1s", "24h"),
        "10m",
        "A connection of a Kafka client on which nothing happens for this long is closed.",
    ),
    option(
        "kafka.in_flight_max",
        Kind::Integer(1, 10_000),
        "64",
        "Requests of one Kafka connection that may be on their way at the same time.",
    ),
    option(
        "kafka.auto_create_topics",
        Kind::Flag,
        "false",
        "Whether a topic is created when a Kafka client that wants so asks for one that there is not, as producers and consumers do by default.",
    ),
    option(
        "kafka.default_partitions",
        Kind::Integer(1, 10_000),
        "1",
        "Partitions of a topic that a Kafka client creates without a number.",
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
        "Segments that are uploaded at the same time; where classes have buckets of their own, half of them at most to each bucket.",
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
        "fetch.reader_patience",
        Kind::Span("10ms", "1m"),
        "1s",
        "How long a reader of the zone may take for a page before it is asked of the bucket.",
    ),
    option(
        "fetch.cached_extents",
        Kind::Integer(1_000, 100_000_000),
        "200000",
        "Extents that are kept in memory.",
    ),
    unset(
        "cache.disk_path",
        Kind::Path,
        "A folder on a local disk for pages of segments that have no room in memory. It holds nothing that is not in the bucket: it may be lost, and a folder that cannot be used costs nothing but its speed. Unset, pages are kept in memory alone.",
    ),
    unset(
        "cache.disk_size",
        Kind::Size("1GiB", "256TiB"),
        "How much of that disk pages may take, all of which is taken at start. About 50 MiB of memory go to reading and writing it.",
    ),
];
