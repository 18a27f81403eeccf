//! Partitions, bounds, extents and offsets.

use bytes::Bytes;
use tidelog_api::internal::v1;
use tidelog_format::location::Location;
use tidelog_metadata_api::{
    Extent, LookupAnswer, LookupRequest, OffsetAnswer, OffsetQuery, PartitionBounds,
};
use tidelog_types::{OffsetRange, PartitionIndex, Timestamp, TopicNumber, TopicPartition};

use super::{WireError, offset};

/// The longest stored form of a location that is looked at; all that are known are shorter.
const LOCATION_BYTES_MAX: usize = 64;

pub(crate) const fn partition_to(partition: TopicPartition) -> v1::Partition {
    v1::Partition {
        topic: partition.topic.get(),
        index: partition.partition.get(),
    }
}

pub(crate) fn partition_from(
    partition: Option<v1::Partition>,
) -> Result<TopicPartition, WireError> {
    let partition = partition.ok_or(WireError::Missing("partition"))?;
    let topic = TopicNumber::new(partition.topic);
    Ok(TopicPartition::new(
        topic,
        PartitionIndex::new(partition.index),
    ))
}

pub(crate) const fn bounds_to(bounds: PartitionBounds) -> v1::PartitionBounds {
    v1::PartitionBounds {
        log_start: bounds.log_start.get(),
        last_stable: bounds.last_stable.get(),
        high_watermark: bounds.high_watermark.get(),
        aborted_below: bounds.aborted_below.get(),
    }
}

pub(crate) fn bounds_from(
    bounds: Option<v1::PartitionBounds>,
) -> Result<PartitionBounds, WireError> {
    let bounds = bounds.ok_or(WireError::Missing("bounds"))?;
    Ok(PartitionBounds {
        log_start: offset("log_start", bounds.log_start)?,
        last_stable: offset("last_stable", bounds.last_stable)?,
        high_watermark: offset("high_watermark", bounds.high_watermark)?,
        aborted_below: offset("aborted_below", bounds.aborted_below)?,
    })
}

pub(super) fn extent_to(extent: &Extent) -> v1::Extent {
    v1::Extent {
        base_offset: extent.offsets.base.get(),
        next_offset: extent.offsets.next.get(),
        location: Bytes::from(extent.location.encode()),
        crc32c: extent.crc32c,
        max_timestamp: extent.max_timestamp.as_millis(),
    }
}

pub(super) fn extent_from(extent: &v1::Extent) -> Result<Extent, WireError> {
    let base = offset("base_offset", extent.base_offset)?;
    let next = offset("next_offset", extent.next_offset)?;
    if next < base {
        return Err(WireError::Range {
            field: "next_offset",
            value: next.get(),
        });
    }
    if extent.location.len() > LOCATION_BYTES_MAX {
        return Err(WireError::TooLong {
            field: "location",
            max: LOCATION_BYTES_MAX,
        });
    }
    let location = Location::decode(&extent.location)
        .map_err(|error| WireError::damaged("location", &error))?;
    Ok(Extent {
        offsets: OffsetRange { base, next },
        location,
        crc32c: extent.crc32c,
        max_timestamp: Timestamp::from_millis(extent.max_timestamp),
    })
}

pub(crate) fn lookup_to(request: &LookupRequest) -> v1::Lookup {
    v1::Lookup {
        partition: Some(partition_to(request.partition)),
        offset: request.offset.get(),
        bytes_max: request.bytes_max,
        extents_max: u32::try_from(request.extents_max).unwrap_or(u32::MAX),
    }
}

pub(crate) fn lookup_from(lookup: v1::Lookup) -> Result<LookupRequest, WireError> {
    Ok(LookupRequest {
        partition: partition_from(lookup.partition)?,
        offset: offset("offset", lookup.offset)?,
        bytes_max: lookup.bytes_max,
        extents_max: usize::try_from(lookup.extents_max).unwrap_or(usize::MAX),
    })
}

pub(crate) fn located_to(answer: &LookupAnswer) -> v1::Located {
    v1::Located {
        bounds: Some(bounds_to(answer.bounds)),
        extents: answer.extents.iter().map(extent_to).collect(),
    }
}

pub(crate) fn located_from(located: &v1::Located) -> Result<LookupAnswer, WireError> {
    let extents = located.extents.iter().map(extent_from);
    Ok(LookupAnswer {
        bounds: bounds_from(located.bounds)?,
        extents: extents.collect::<Result<_, _>>()?,
    })
}

/// The position and, where it matters, the time.
pub(crate) const fn query_to(query: OffsetQuery) -> (v1::OffsetPosition, i64) {
    match query {
        OffsetQuery::Earliest => (v1::OffsetPosition::Earliest, 0),
        OffsetQuery::Latest => (v1::OffsetPosition::Latest, 0),
        OffsetQuery::LastStable => (v1::OffsetPosition::LastStable, 0),
        OffsetQuery::AtTime(time) => (v1::OffsetPosition::AtTime, time.as_millis()),
        OffsetQuery::MaxTimestamp => (v1::OffsetPosition::MaxTimestamp, 0),
    }
}

pub(crate) fn query_from(position: i32, timestamp: i64) -> Result<OffsetQuery, WireError> {
    match v1::OffsetPosition::try_from(position) {
        Ok(v1::OffsetPosition::Earliest) => Ok(OffsetQuery::Earliest),
        Ok(v1::OffsetPosition::Latest) => Ok(OffsetQuery::Latest),
        Ok(v1::OffsetPosition::LastStable) => Ok(OffsetQuery::LastStable),
        Ok(v1::OffsetPosition::AtTime) => {
            Ok(OffsetQuery::AtTime(Timestamp::from_millis(timestamp)))
        }
        Ok(v1::OffsetPosition::MaxTimestamp) => Ok(OffsetQuery::MaxTimestamp),
        Ok(v1::OffsetPosition::Unspecified) => Err(WireError::Missing("position")),
        Err(_) => Err(WireError::Range {
            field: "position",
            value: u64::from(position.cast_unsigned()),
        }),
    }
}

pub(crate) fn offset_answer_to(answer: &OffsetAnswer) -> v1::ResolveOffsetResponse {
    use v1::resolve_offset_response::Answer;
    let answer = match answer {
        OffsetAnswer::Offset(offset) => Some(Answer::Offset(offset.get())),
        OffsetAnswer::Within(extent) => Some(Answer::Within(extent_to(extent))),
        OffsetAnswer::None => None,
    };
    v1::ResolveOffsetResponse { answer }
}

pub(crate) fn offset_answer_from(
    response: &v1::ResolveOffsetResponse,
) -> Result<OffsetAnswer, WireError> {
    use v1::resolve_offset_response::Answer;
    match &response.answer {
        Some(Answer::Offset(raw)) => offset("offset", *raw).map(OffsetAnswer::Offset),
        Some(Answer::Within(extent)) => extent_from(extent).map(OffsetAnswer::Within),
        None => Ok(OffsetAnswer::None),
    }
}
