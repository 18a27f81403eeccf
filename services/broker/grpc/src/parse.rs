//! The parts of a produce entry, from wire types to ours.

use bytes::Bytes;
use tidelog_api::{ApiError, v1};
use tidelog_env::error_chain;
use tidelog_format::batch::{
    BatchBuf, BatchBuilder, BatchRules, BuilderError, Compression, ProducerStamp,
};
use tidelog_metadata_api::{BatchCondition, FencingToken, TopicInfo};
use tidelog_types::limits::SEGMENT_BYTES_MAX;
use tidelog_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::errors::{batch_error, keyless};
use crate::settings::ENTRY_BATCHES_MAX;

/// About how many bytes a record takes in memory.
pub(crate) fn record_bytes(record: &v1::Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record
        .headers
        .iter()
        .map(|header| header.key.len() + length(&header.value) + 8)
        .sum();
    length(&record.key) + length(&record.value) + headers + 32
}

/// What must hold for an entry, and what it sets.
pub(crate) fn condition(entry: &v1::ProduceEntry) -> Result<BatchCondition, ApiError> {
    let token = |text: &Option<String>| {
        let token = text
            .clone()
            .map(|text| FencingToken::new(Bytes::from(text)));
        token
            .transpose()
            .map_err(|error| ApiError::invalid(error.to_string()))
    };
    Ok(BatchCondition {
        expected_next: entry.expected_next_offset.map(Offset::new),
        fencing_token: token(&entry.fencing_token)?,
        set_fencing_token: token(&entry.set_fencing_token)?,
        transaction: None,
    })
}

/// The place of an entry in the work of an idempotent producer.
pub(crate) fn producer_stamp(producer: &v1::ProducerSequence) -> Result<ProducerStamp, ApiError> {
    let epoch = i16::try_from(producer.producer_epoch)
        .ok()
        .filter(|epoch| *epoch >= 0);
    let (Some(epoch), 0.., 0..) = (epoch, producer.producer_id, producer.base_sequence) else {
        return Err(ApiError::invalid(
            "`producer` has an id and a sequence from 0 and an epoch from 0 to 32767",
        ));
    };
    Ok(ProducerStamp {
        id: ProducerId::new(producer.producer_id),
        epoch: ProducerEpoch::new(epoch),
        base_sequence: producer.base_sequence,
        transactional: false,
    })
}

/// The codec with this number of the wire.
pub(crate) fn compression(number: i32) -> Result<Compression, ApiError> {
    Ok(match v1::Compression::try_from(number) {
        Ok(v1::Compression::Unspecified | v1::Compression::None) => Compression::None,
        Ok(v1::Compression::Gzip) => Compression::Gzip,
        Ok(v1::Compression::Snappy) => Compression::Snappy,
        Ok(v1::Compression::Lz4) => Compression::Lz4,
        Ok(v1::Compression::Zstd) => Compression::Zstd,
        Err(_) => {
            return Err(ApiError::invalid(format!(
                "no compression has the number `{number}`"
            )));
        }
    })
}

/// Checks ready batches without decoding their records.
pub(crate) fn parse_batches(topic: &TopicInfo, bytes: Bytes) -> Result<Vec<BatchBuf>, ApiError> {
    let rules = BatchRules::client(topic.config.batch_bytes_max());
    let mut batches = Vec::new();
    for batch in BatchBuf::parse_all(bytes, rules) {
        if batches.len() == ENTRY_BATCHES_MAX {
            let message = format!("`batches` has at most {ENTRY_BATCHES_MAX} record batches");
            return Err(ApiError::invalid(message));
        }
        batches
            .push(batch.map_err(|error| batch_error(&error).with("batch_index", &batches.len()))?);
    }
    if batches.is_empty() {
        return Err(ApiError::invalid("`batches` has at least one record batch"));
    }
    Ok(batches)
}

/// Refuses records without a key where the topic is compacted.
pub(crate) fn check_records(topic: &TopicInfo, records: &v1::Records) -> Result<(), ApiError> {
    if !topic.config.cleanup_policy().compact {
        return Ok(());
    }
    let indexed = (0..).zip(&records.records);
    let found = indexed.filter(|(_, record)| record.key.is_none());
    let found: Vec<u32> = found.map(|(index, _)| index).collect();
    if found.is_empty() {
        return Ok(());
    }
    let message = format!(
        "topic `{}` is compacted (`cleanup.policy`) and takes no records without a key: `{}` have none",
        topic.name,
        found.len()
    );
    Err(keyless(&found, message))
}

/// Makes one batch of records.
pub(crate) fn build(
    topic: &TopicInfo,
    compression: Compression,
    stamp: Option<ProducerStamp>,
    records: &[v1::Record],
    now: Timestamp,
) -> Result<BatchBuf, ApiError> {
    let capacity: usize = records.iter().map(record_bytes).sum();
    let mut builder = BatchBuilder::new(compression, capacity.min(SEGMENT_BYTES_MAX as usize));
    for record in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|header| (header.key.as_bytes(), header.value.as_deref()))
            .collect();
        let time = record.timestamp_ms.map_or(now, Timestamp::from_millis);
        builder
            .append(
                time,
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )
            .map_err(|error| builder_error(&error))?;
    }
    let batch = builder
        .finish(stamp)
        .map_err(|error| builder_error(&error))?;
    let limit = topic.config.batch_bytes_max();
    if batch.size() > limit {
        let message = format!(
            "the records make a batch of `{}` bytes, more than the `{limit}` of the topic's \
             `max.message.bytes`; send fewer at once",
            batch.size()
        );
        return Err(ApiError::new(ErrorCode::BatchTooLarge, message));
    }
    Ok(batch)
}

fn builder_error(error: &BuilderError) -> ApiError {
    let code = match error {
        BuilderError::TooLarge => ErrorCode::BatchTooLarge,
        _ => ErrorCode::InvalidArgument,
    };
    ApiError::new(code, error_chain(error))
}
