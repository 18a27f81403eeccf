//! What a request holds, checked as far as this broker can.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_broker_engine::KeyCheck;
use tidelog_format::batch::{BatchBuf, BatchRules, Compression};
use tidelog_kafka_codec::messages::produce_request::TopicProduceData;
use tidelog_kafka_codec::{ByteString, ErrorCode, Records, Uuid};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::Operation;
use tidelog_types::TopicPartition;

use crate::call::{Call, partition};
use crate::errors::Refusal;
use crate::settings::PARTITION_BATCHES_MAX;

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 13;
/// The first version whose clients know zstd.
const ZSTD_FROM: i16 = 7;

/// The batches of a partition.
pub(super) struct Parsed {
    pub(super) topic: Arc<TopicInfo>,
    pub(super) at: TopicPartition,
    /// In their order; at least one.
    pub(super) batches: Vec<BatchBuf>,
}

/// A topic of a request, and each partition with its batches or why they cannot be taken.
pub(super) struct ParsedTopic {
    pub(super) name: ByteString,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<(i32, Result<Parsed, Refusal>)>,
}

impl Call {
    /// Looks a topic up and checks its batches, unless everything is refused.
    pub(super) async fn parse_topic(
        &self,
        topic: TopicProduceData,
        refusal: Option<&Refusal>,
        keys: &mut KeyCheck<'_>,
    ) -> ParsedTopic {
        let found = match refusal {
            Some(refusal) => Err(refusal.clone()),
            None if self.version >= BY_ID_FROM => {
                self.topic_by_id(Operation::Write, topic.topic_id).await
            }
            None => self.topic(Operation::Write, &topic.name).await,
        };
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let parsed = match &found {
                Ok(topic) => {
                    let parsed = parse(topic, data.index, data.records, self.version);
                    with_keys(parsed, keys).await
                }
                Err(refusal) => Err(refusal.clone()),
            };
            partitions.push((data.index, parsed));
        }
        ParsedTopic {
            partitions,
            name: topic.name,
            id: topic.topic_id,
        }
    }
}

/// Refuses records without a key where the topic is compacted.
async fn with_keys(
    parsed: Result<Parsed, Refusal>,
    keys: &mut KeyCheck<'_>,
) -> Result<Parsed, Refusal> {
    let parsed = parsed?;
    keys.check(&parsed.topic, &parsed.batches).await?;
    Ok(parsed)
}

/// Checks batches without decoding their records.
fn parse(
    topic: &Arc<TopicInfo>,
    index: i32,
    records: Option<Records>,
    version: i16,
) -> Result<Parsed, Refusal> {
    let at = partition(topic, index)?;
    let bytes = records.map_or_else(Bytes::new, |records| records.to_bytes());
    let invalid = |message: &str| Refusal::new(ErrorCode::InvalidRecord, message);
    let rules = BatchRules::client(topic.config.batch_bytes_max());
    let mut batches = Vec::new();
    for batch in BatchBuf::parse_all(bytes, rules) {
        let batch = batch.map_err(|error| Refusal::from(&error))?;
        if batches.len() == PARTITION_BATCHES_MAX {
            return Err(invalid("a request has too many batches of one partition"));
        }
        if batch.compression() == Compression::Zstd && version < ZSTD_FROM {
            let message = "a client of this version of the protocol does not know zstd";
            let code = ErrorCode::UnsupportedCompressionType;
            return Err(Refusal::new(code, message));
        }
        batches.push(batch);
    }
    if batches.is_empty() {
        return Err(invalid("a partition is named without a record batch"));
    }
    Ok(Parsed {
        topic: Arc::clone(topic),
        at,
        batches,
    })
}
