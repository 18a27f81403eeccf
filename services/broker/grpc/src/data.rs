//! From stored batches to what a client asked for.

use bytes::Bytes;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{FetchError, FetchedPartition};
use tidelog_format::batch::{BatchView, DecodeLimit};
use tidelog_types::{ErrorCode, Offset};

use crate::errors::{chain, fetch_error};

/// How records are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Records,
    Batches,
}

impl Form {
    pub(crate) fn of(number: i32) -> Result<Self, ApiError> {
        match v1::RecordFormat::try_from(number) {
            Ok(v1::RecordFormat::Unspecified | v1::RecordFormat::Records) => Ok(Self::Records),
            Ok(v1::RecordFormat::Batches) => Ok(Self::Batches),
            Err(_) => Err(ApiError::invalid(format!(
                "no record format has the number `{number}`"
            ))),
        }
    }
}

/// What was read of one partition, as a client gets it.
pub(crate) fn partition_data(
    topic: String,
    partition: u32,
    from: Offset,
    form: Form,
    found: Result<FetchedPartition, FetchError>,
) -> v1::PartitionData {
    let found = match found {
        Ok(found) => found,
        Err(error) => return failed(topic, partition, from, &fetch_error(&error)),
    };
    let mut data = v1::PartitionData {
        topic,
        partition,
        data: None,
        next_offset: found.next_offset.get(),
        high_watermark: found.bounds.high_watermark.get(),
        log_start_offset: found.bounds.log_start.get(),
        error: None,
    };
    if found.batches.is_empty() {
        return data;
    }
    match form {
        Form::Batches => data.data = Some(v1::partition_data::Data::Batches(found.batches)),
        Form::Records => match decode(found.batches, from) {
            Ok(records) => {
                data.data = Some(v1::partition_data::Data::Records(v1::Records { records }));
            }
            Err(Undecodable {
                before,
                next,
                error,
            }) if !before.is_empty() => {
                // What comes before is an answer; the client hears of the rest when it comes there.
                tracing::debug!(error = error.message, "batch cannot be decoded");
                data.next_offset = next.get();
                let records = v1::Records { records: before };
                data.data = Some(v1::partition_data::Data::Records(records));
            }
            Err(Undecodable { error, next, .. }) => {
                data.next_offset = next.get();
                data.error = Some(error.to_proto());
            }
        },
    }
    data
}

/// An answer that is only an error.
pub(crate) fn failed(
    topic: String,
    partition: u32,
    from: Offset,
    error: &ApiError,
) -> v1::PartitionData {
    v1::PartitionData {
        topic,
        partition,
        data: None,
        next_offset: from.get(),
        high_watermark: 0,
        log_start_offset: 0,
        error: Some(error.to_proto()),
    }
}

/// A batch whose records cannot be decoded.
struct Undecodable {
    before: Vec<v1::Record>,
    /// Where the batch begins.
    next: Offset,
    error: ApiError,
}

fn decode(batches: Bytes, from: Offset) -> Result<Vec<v1::Record>, Undecodable> {
    let mut records = Vec::new();
    for batch in BatchView::all(batches) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                // The engine hands out whole, proven batches.
                let error = ApiError::new(ErrorCode::Internal, chain(&error));
                return Err(Undecodable {
                    before: records,
                    next: from,
                    error,
                });
            }
        };
        let base = Offset::from_i64(batch.header().base_offset).unwrap_or_default();
        if batch.header().attributes.is_control() {
            continue;
        }
        let kept = records.len();
        if let Err(error) = decode_batch(&batch, base, from, &mut records) {
            records.truncate(kept);
            let message = format!(
                "the records of the batch at offset `{base}` cannot be decoded: {error}; its producer \
                 sent it so: read it as RECORD_FORMAT_BATCHES or go on from offset `{}`",
                base.get() + u64::from(batch.header().offset_count())
            );
            let error = ApiError::new(ErrorCode::CorruptBatch, message).with("offset", &base);
            return Err(Undecodable {
                before: records,
                next: base,
                error,
            });
        }
    }
    Ok(records)
}

fn decode_batch(
    batch: &BatchView,
    base: Offset,
    from: Offset,
    out: &mut Vec<v1::Record>,
) -> Result<(), String> {
    let records = batch
        .records(base, DecodeLimit::default())
        .map_err(|error| chain(&error))?;
    for record in records {
        let record = record.map_err(|error| chain(&error))?;
        if record.offset < from {
            continue;
        }
        let headers = record.headers.iter().map(|header| v1::Header {
            key: header.key_text().into_owned(),
            value: header.value.clone(),
        });
        let millis = record.timestamp.as_millis();
        out.push(v1::Record {
            offset: record.offset.get(),
            headers: headers.collect(),
            timestamp_ms: (millis >= 0).then_some(millis),
            key: record.key,
            value: record.value,
        });
    }
    Ok(())
}
