//! From stored batches to what a client asked for.

use bytes::Bytes;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::Isolation;
use tidelog_env::error_chain;
use tidelog_format::batch::{BatchView, Compression, DecodeLimit, RecordError};
use tidelog_metadata_api::PartitionBounds;
use tidelog_types::{ErrorCode, Offset};

use crate::decode::RECORD_BYTES;

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

/// Which records of transactions a request wants.
pub(crate) fn isolation(number: i32) -> Result<Isolation, ApiError> {
    match v1::Isolation::try_from(number) {
        Ok(v1::Isolation::Unspecified | v1::Isolation::Committed) => Ok(Isolation::Committed),
        Ok(v1::Isolation::Uncommitted) => Ok(Isolation::Uncommitted),
        Err(_) => Err(ApiError::invalid(format!(
            "no isolation has the number `{number}`"
        ))),
    }
}

/// An answer of a partition without data: where to go on, and the bounds.
pub(crate) fn shell(
    topic: String,
    partition: u32,
    next: Offset,
    bounds: PartitionBounds,
) -> v1::PartitionData {
    v1::PartitionData {
        topic,
        partition,
        data: None,
        next_offset: next.get(),
        high_watermark: bounds.high_watermark.get(),
        log_start_offset: bounds.log_start.get(),
        error: None,
        last_stable_offset: Some(bounds.last_stable.get()),
    }
}

/// An answer that is only an error.
pub(crate) fn failed(
    topic: String,
    partition: u32,
    from: Offset,
    error: &ApiError,
) -> v1::PartitionData {
    v1::PartitionData {
        error: Some(error.to_proto()),
        last_stable_offset: None,
        ..shell(topic, partition, from, PartitionBounds::default())
    }
}

/// What a client gets, and whether it gets nothing because its first batch would pass the budget.
pub(crate) struct Made {
    pub(crate) data: v1::PartitionData,
    pub(crate) over_budget: bool,
}

/// Puts the records of batches into a partition's answer. They may take `budget` bytes beside the batches;
/// those that would take more are left for the next answer.
pub(crate) fn partition_data(
    mut data: v1::PartitionData,
    batches: Bytes,
    from: Offset,
    budget: u64,
) -> Made {
    let mut over_budget = false;
    match decode(batches, from, budget) {
        Ok(records) => {
            data.data = Some(v1::partition_data::Data::Records(v1::Records { records }));
        }
        Err(Undecodable {
            before,
            next,
            error,
            ..
        }) if !before.is_empty() => {
            // What comes before is an answer; the client hears of the rest when it comes there.
            tracing::debug!(error = error.message, "batch cannot be decoded");
            data.next_offset = next.get();
            let records = v1::Records { records: before };
            data.data = Some(v1::partition_data::Data::Records(records));
        }
        Err(Undecodable {
            error,
            next,
            over_budget: over,
            ..
        }) => {
            over_budget = over;
            data.next_offset = next.get();
            data.error = Some(error.to_proto());
        }
    }
    Made { data, over_budget }
}

/// A batch whose records cannot be decoded.
struct Undecodable {
    before: Vec<v1::Record>,
    /// Where the batch begins.
    next: Offset,
    error: ApiError,
    /// Whether it would be decoded with a larger budget.
    over_budget: bool,
}

fn decode(batches: Bytes, from: Offset, budget: u64) -> Result<Vec<v1::Record>, Undecodable> {
    let mut records = Vec::new();
    let mut left = budget;
    for batch in BatchView::all(batches) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                // The engine hands out whole, proven batches.
                let error = ApiError::new(ErrorCode::Internal, error_chain(&error));
                return Err(Undecodable {
                    before: records,
                    next: from,
                    error,
                    over_budget: false,
                });
            }
        };
        let base = Offset::from_i64(batch.header().base_offset).unwrap_or_default();
        if batch.header().attributes.is_control() {
            continue;
        }
        let kept = records.len();
        if let Err(error) = decode_batch(&batch, base, from, &mut left, &mut records) {
            records.truncate(kept);
            let next = base.get() + u64::from(batch.header().offset_count());
            return Err(undecodable(records, base, next, &error));
        }
    }
    Ok(records)
}

/// A header of a record in memory besides its bytes.
const HEADER_BYTES: u64 = size_of::<v1::Header>() as u64;

/// Why the records of a batch are not handed out.
enum DecodeError {
    /// They would take more than the budget.
    OverBudget(String),
    /// They are no records.
    Broken(String),
}

impl From<RecordError> for DecodeError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::TooLarge { .. } => Self::OverBudget(error_chain(&error)),
            _ => Self::Broken(error_chain(&error)),
        }
    }
}

fn undecodable(
    before: Vec<v1::Record>,
    base: Offset,
    next: u64,
    error: &DecodeError,
) -> Undecodable {
    let (over_budget, why) = match error {
        DecodeError::OverBudget(why) => (true, why),
        DecodeError::Broken(why) => (false, why),
    };
    let message = format!(
        "the records of the batch at offset `{base}` cannot be decoded: {why}; its producer sent it so: \
         read it as RECORD_FORMAT_BATCHES or go on from offset `{next}`"
    );
    Undecodable {
        before,
        next: base,
        error: ApiError::new(ErrorCode::CorruptBatch, message).with("offset", &base),
        over_budget,
    }
}

/// Decodes a batch within what is left of the budget, and takes from it what the records take.
fn decode_batch(
    batch: &BatchView,
    base: Offset,
    from: Offset,
    left: &mut u64,
    out: &mut Vec<v1::Record>,
) -> Result<(), DecodeError> {
    let header = batch.header();
    let count = u64::try_from(header.record_count).unwrap_or_default();
    let in_memory = count * RECORD_BYTES;
    let for_bytes = left.checked_sub(in_memory).ok_or_else(|| {
        DecodeError::OverBudget(format!("`{count}` records take more than `{left}` bytes"))
    })?;
    let limit = DecodeLimit::bytes(usize::try_from(for_bytes).unwrap_or(usize::MAX));
    let records = batch.records(base, limit)?;
    let mut taken = match header.attributes.compression() {
        Some(Compression::None) => 0,
        _ => records.byte_count() as u64,
    };
    for record in records {
        let record = record?;
        taken += record.headers.len() as u64 * HEADER_BYTES;
        if taken > for_bytes {
            let message = format!("its headers take more than `{for_bytes}` bytes");
            return Err(DecodeError::OverBudget(message));
        }
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
    *left = for_bytes.saturating_sub(taken);
    Ok(())
}
