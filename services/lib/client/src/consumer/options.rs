//! What a consumer reads and where it begins.

use std::collections::BTreeMap;

use tidelog_env::BackoffPolicy;
use tidelog_format::batch::DecodeLimit;
use tidelog_types::Timestamp;

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that there is.
    Earliest,
    /// At the next record that is written, or at the first one of a transaction that is open.
    #[default]
    Latest,
    /// At this offset.
    Offset(u64),
    /// At the first record with this timestamp or a later one; at the latest if there is none.
    Timestamp(Timestamp),
}

/// Which records are read of the transactions that producers of Kafka's protocol write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Records outside of transactions, and those of committed ones, up to the first transaction that is open.
    #[default]
    Committed,
    /// All records, also those of transactions that are open or aborted.
    Uncommitted,
}

/// Options of a [`Consumer`](crate::Consumer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Which partitions. Default: none named, which means all.
    pub partitions: Vec<u32>,
    /// Where to begin in partitions that `offsets` does not name. Default: at the latest.
    pub start: Start,
    /// Where to begin in single partitions. Default: none named.
    pub offsets: BTreeMap<u32, u64>,
    /// Whether to end when everything has been read that was there at the start. Default: follow.
    pub until_end: bool,
    /// Which records are read of transactions. Default: those that are committed.
    pub isolation: Isolation,
    /// About how many bytes come in one chunk. 0, the default: the service's choice.
    pub chunk_bytes: u32,
    /// How many bytes one batch may have once decompressed. Default: 64 MiB.
    pub decode_limit: DecodeLimit,
    /// The waits between attempts to go on after a break, counted anew after each success. Default: the
    /// client's.
    pub backoff: Option<BackoffPolicy>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            partitions: Vec::new(),
            start: Start::Latest,
            offsets: BTreeMap::new(),
            until_end: false,
            isolation: Isolation::Committed,
            chunk_bytes: 0,
            decode_limit: DecodeLimit::DEFAULT,
            backoff: None,
        }
    }
}

impl ConsumerOptions {
    /// All partitions from the earliest record to what is there now.
    pub fn all_until_end() -> Self {
        Self {
            start: Start::Earliest,
            until_end: true,
            ..Self::default()
        }
    }

    /// All partitions from the earliest record on, following.
    pub fn from_earliest() -> Self {
        Self {
            start: Start::Earliest,
            ..Self::default()
        }
    }
}
