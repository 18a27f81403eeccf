//! How a group consumer subscribes.

use std::time::Duration;

use tidelog_api::{prost_types, v1};
use tidelog_env::BackoffPolicy;
use tidelog_format::batch::DecodeLimit;

use crate::consumer::Isolation;

/// Where to begin in a partition without a committed offset, or whose committed offset is not there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record that is there.
    Earliest,
    /// At the next record that is written.
    #[default]
    Latest,
    /// Nowhere: it is an error of the partition, which is read after [`seek`](crate::GroupConsumer::seek).
    None,
}

/// Options of a [`GroupConsumer`](crate::GroupConsumer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Topics by a pattern, besides those by name. Default: none.
    pub topic_pattern: String,
    /// The user's name for the member, which makes it a static one: when it comes back soon it has the partitions that
    /// it had. Default: none.
    pub instance_id: String,
    /// How partitions are to be assigned: `uniform` or `range`. Default: no wish.
    pub assignor: String,
    /// How long partitions that are taken away may be kept, to commit what was done. Default: the service's choice.
    pub rebalance_timeout: Option<Duration>,
    /// Where to begin without a committed offset. Default: at the latest.
    pub offset_reset: OffsetReset,
    /// Which records are read of transactions. Default: those that are committed.
    pub isolation: Isolation,
    /// Bytes of batches that are sent ahead of the caller. Default: 8 MiB.
    pub window_bytes: u64,
    /// About how many bytes come in one chunk. 0, the default: the service's choice.
    pub chunk_bytes: u32,
    /// How many bytes one batch may have once decompressed. Default: 64 MiB.
    pub decode_limit: DecodeLimit,
    /// The waits between attempts to go on after a break. Default: the client's.
    pub backoff: Option<BackoffPolicy>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            topic_pattern: String::new(),
            instance_id: String::new(),
            assignor: String::new(),
            rebalance_timeout: None,
            offset_reset: OffsetReset::Latest,
            isolation: Isolation::Committed,
            window_bytes: 8 * 1024 * 1024,
            chunk_bytes: 0,
            decode_limit: DecodeLimit::DEFAULT,
            backoff: None,
        }
    }
}

impl SubscribeOptions {
    /// From the first record that there is, where nothing is committed.
    pub fn from_earliest() -> Self {
        Self {
            offset_reset: OffsetReset::Earliest,
            ..Self::default()
        }
    }

    /// The message that joins.
    pub(super) fn join(
        &self,
        group: &str,
        topics: &[String],
        member_id: &str,
    ) -> v1::SubscribeJoin {
        let reset = match self.offset_reset {
            OffsetReset::Earliest => v1::OffsetReset::Earliest,
            OffsetReset::Latest => v1::OffsetReset::Latest,
            OffsetReset::None => v1::OffsetReset::None,
        };
        let timeout = self.rebalance_timeout;
        v1::SubscribeJoin {
            group: group.to_owned(),
            topics: topics.to_vec(),
            topic_pattern: self.topic_pattern.clone(),
            member_id: member_id.to_owned(),
            instance_id: self.instance_id.clone(),
            assignor: self.assignor.clone(),
            rebalance_timeout: timeout.and_then(|it| prost_types::Duration::try_from(it).ok()),
            offset_reset: reset.into(),
            record_format: v1::RecordFormat::Batches.into(),
            max_bytes: self.chunk_bytes,
            credit: Some(v1::SubscribeCredit {
                records: None,
                bytes: Some(self.window_bytes),
            }),
            token: bytes::Bytes::new(),
            isolation: match self.isolation {
                Isolation::Committed => v1::Isolation::Committed,
                Isolation::Uncommitted => v1::Isolation::Uncommitted,
            }
            .into(),
        }
    }
}
