//! Limits that more than one crate must agree on. Each says where its number comes from.

/// Longest topic name: file name limit 255 less the room Kafka keeps for its suffixes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Largest record batch that a topic accepts unless it says otherwise (`max.message.bytes`); Kafka's
/// default of 1 MiB and the 12 bytes of the batch's offset and length fields.
pub const BATCH_BYTES_MAX_DEFAULT: u32 = 1_048_588;

/// Largest `max.message.bytes` that a topic may ask for: a batch must fit into one segment.
pub const BATCH_BYTES_MAX_LIMIT: u32 = 8 * 1024 * 1024;

/// A segment closes at this size.
pub const SEGMENT_BYTES_TARGET: u32 = 8 * 1024 * 1024;

/// A segment never grows past its target and one more batch and its own footer.
pub const SEGMENT_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// A segment closes when its manifest for one shard reaches this size, so that manifest, receipt and
/// producer rows fit one transaction of the store.
pub const MANIFEST_BYTES_MAX: u32 = 64 * 1024;

/// A segment closes when it holds slices of this many partitions.
pub const SEGMENT_SLICES_MAX: u32 = 4096;

/// A merged segment never grows past this: four of the 64 MiB that one is meant to have, so that a few batches of
/// the largest size still fit behind what was planned.
pub const MERGED_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// A merged segment holds slices of at most this many partitions: with the longest names its footer is then a few MiB.
pub const MERGED_SLICES_MAX: u32 = 65_536;

/// A merged segment's extents are cut before they grow past this; only a batch that is larger makes a larger one. Some
/// hundred of them describe all of a large segment, and a page of the cache holds four.
pub const MERGED_EXTENT_BYTES: u32 = 1024 * 1024;

/// A topic has at most this many partitions.
pub const TOPIC_PARTITIONS_MAX: u32 = 100_000;

/// Largest value of the store: `FoundationDB`'s limit.
pub const STORE_VALUE_BYTES_MAX: usize = 100_000;

/// Largest key of the store; `FoundationDB` allows 10,000, short ones are fast.
pub const STORE_KEY_BYTES_MAX: usize = 512;

/// Largest transaction of the store, keys and values together: well under `FoundationDB`'s 10 MB,
/// within which its own advice is to stay below 1 MB.
pub const STORE_TRANSACTION_BYTES_MAX: usize = 1_000_000;

/// The largest segment that the store takes with the commit of it, in one value beside some bytes of its own. Its
/// manifest and receipt are then far smaller than those of a segment of the bucket may be, and a few fit one transaction.
pub const INLINE_SEGMENT_BYTES_MAX: u32 = 64 * 1024;

/// Longest fencing token of a partition.
pub const FENCING_TOKEN_BYTES_MAX: usize = 36;

/// How many of a producer's last batches are kept to recognise a retry; Kafka's number.
pub const PRODUCER_BATCHES_KEPT: usize = 5;

const _: () = assert!(BATCH_BYTES_MAX_DEFAULT <= BATCH_BYTES_MAX_LIMIT);
const _: () = assert!(BATCH_BYTES_MAX_LIMIT <= SEGMENT_BYTES_TARGET);
const _: () = assert!(SEGMENT_BYTES_TARGET * 2 < SEGMENT_BYTES_MAX);
const _: () = assert!((MANIFEST_BYTES_MAX as usize) < STORE_VALUE_BYTES_MAX);
const _: () = assert!(INLINE_SEGMENT_BYTES_MAX as usize + 64 < STORE_VALUE_BYTES_MAX);
