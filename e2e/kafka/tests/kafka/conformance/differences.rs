//! What is answered in another way than by Apache Kafka, and why. The page on compatibility tells users.

/// A question, as it is noted, and why its answer differs.
pub(super) type Different = (&'static str, &'static str);

const ORDER: &str = "partitions are told in the order in which they were asked for";
const NO_INTERNAL_TOPICS: &str = "there are no internal topics";

pub(super) const GROUPS: &[Different] = &[
    ("an old commit of a consumer v8", "any version may commit"),
    ("offsets are deleted v0", ORDER),
];

const COUNTED_FROM_ONE: &str = "the first coordinator has the epoch 1";

pub(super) const TRANSACTIONS: &[Different] = &[
    ("some that are not there v3", ORDER),
    ("offsets of a transaction v4", ORDER),
    ("committed: who has written", COUNTED_FROM_ONE),
    ("aborted: who has written", COUNTED_FROM_ONE),
];

pub(super) const TOOLS: &[Different] = &[
    (
        "all leaders are elected v2",
        "topics without a partition to tell of are left out",
    ),
    ("a quota is set v1", "clients have no quotas of their own"),
    ("resources of the types [2] v1", NO_INTERNAL_TOPICS),
];

const NEWER: &str = "the codec knows a newer version, which no client of today asks for";
const NO_SHARE_GROUPS: &str = "there are no share groups";
const NO_STREAMS_GROUPS: &str = "there are no groups of the streams protocol";
const NO_QUORUM: &str = "there is no quorum of controllers";
const NO_SASL: &str = "nobody says who they are yet";
const METRICS: &str = "clients ask again in an hour, also if nobody wants their metrics";
const ALWAYS_ON: &str = "the feature cannot be turned off";

pub(super) const ABOUT: &[Different] = &[
    ("SaslHandshake", NO_SASL),
    ("SaslAuthenticate", NO_SASL),
    ("ApiVersions", NEWER),
    ("TxnOffsetCommit", NEWER),
    ("DeleteGroups", NEWER),
    ("DescribeQuorum", NO_QUORUM),
    ("AddRaftVoter", NO_QUORUM),
    ("RemoveRaftVoter", NO_QUORUM),
    ("kraft.version", NO_QUORUM),
    ("metadata.version", NO_QUORUM),
    ("eligible.leader.replicas.version", "there are no replicas"),
    ("GetTelemetrySubscriptions", METRICS),
    ("PushTelemetry", METRICS),
    ("ShareGroupHeartbeat", NO_SHARE_GROUPS),
    ("ShareGroupDescribe", NO_SHARE_GROUPS),
    ("ShareFetch", NO_SHARE_GROUPS),
    ("ShareAcknowledge", NO_SHARE_GROUPS),
    ("DescribeShareGroupOffsets", NO_SHARE_GROUPS),
    ("AlterShareGroupOffsets", NO_SHARE_GROUPS),
    ("DeleteShareGroupOffsets", NO_SHARE_GROUPS),
    ("share.version", NO_SHARE_GROUPS),
    ("StreamsGroupHeartbeat", NO_STREAMS_GROUPS),
    ("StreamsGroupDescribe", NO_STREAMS_GROUPS),
    ("streams.version", NO_STREAMS_GROUPS),
    ("group.version", ALWAYS_ON),
    ("transaction.version", ALWAYS_ON),
];

const NAMELESS: &str = "what is named by nothing is an id that no topic has";
const COMPRESSION: &str = "records are stored as they were compressed by their producers";
const NO_REPLICATION: &str = "nothing is replicated by brokers";
const NO_TIERS: &str = "the bucket is the only tier";

pub(super) const TOPICS: &[Different] = &[
    ("a topic and another", ORDER),
    ("a topic by nothing", NAMELESS),
    ("topics by names and by ids", "each is answered for"),
    ("a topic is tried v7", "what is only tried has no id"),
    ("one of two is made v7", "what is only tried has no id"),
    (
        "a key with synonyms",
        "the default of a key is told under its own name",
    ),
    ("keys besides", "deleted topics can be undeleted"),
    ("the key compression.gzip.level", COMPRESSION),
    ("the key compression.lz4.level", COMPRESSION),
    ("the key compression.zstd.level", COMPRESSION),
    (
        "the key follower.replication.throttled.replicas",
        NO_REPLICATION,
    ),
    (
        "the key leader.replication.throttled.replicas",
        NO_REPLICATION,
    ),
    ("the key min.insync.replicas", NO_REPLICATION),
    ("the key local.retention.bytes", NO_TIERS),
    ("the key local.retention.ms", NO_TIERS),
    ("the key remote.log.copy.disable", NO_TIERS),
    ("the key remote.log.delete.on.disable", NO_TIERS),
    ("the key remote.storage.enable", NO_TIERS),
    (
        "the key message.timestamp.after.max.ms",
        "any time may be written",
    ),
    (
        "the key message.timestamp.before.max.ms",
        "any time may be written",
    ),
    (
        "an odd operation, tried v1",
        "it is a request that cannot be, and not an error of the server",
    ),
    (
        "an odd operation, done v0",
        "it is a request that cannot be, and not an error of the server",
    ),
];

const NOT_DECODED: &str = "records are not decoded";
const REPEATED: &str = "of a batch that was there already the time is not told";

pub(super) const RECORDS: &[Different] = &[
    ("offsets of no partition", ORDER),
    (
        "a batch and a half",
        "what comes behind a batch is not thrown away",
    ),
    ("two batches", "several batches of a partition are taken"),
    (
        "a batch that begins later",
        "the log gives out offsets, whatever a batch says",
    ),
    (
        "a batch with the time of the server",
        "the server gives out its time, and does not take over another",
    ),
    (
        "a batch of a transaction of nobody",
        "the header of such a batch contradicts itself",
    ),
    (
        "a batch of an odd compression",
        "it is a batch that cannot be, and not an error of the server",
    ),
    (
        "a batch whose records are not compressed as it says",
        NOT_DECODED,
    ),
    ("a batch from tomorrow", "any time may be written"),
    ("in order: the second again", REPEATED),
    ("in order: the first again", REPEATED),
    (
        "in order: an epoch that is none",
        "the header of such a batch contradicts itself",
    ),
    (
        "in order: not the first of another",
        "a partition that is too young to have forgotten a producer waits for its first batch",
    ),
    (
        "records behind those of epoch 5",
        "there is one epoch, and which is the last that a reader has seen is not looked at",
    ),
    (
        "records behind those of epoch 5: records",
        "there is one epoch, and which is the last that a reader has seen is not looked at",
    ),
];
