//! `ListOffsets` and `OffsetForLeaderEpoch`.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::list_offsets_request::ListOffsetsPartition;
use tidelog_kafka_codec::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use tidelog_kafka_codec::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use tidelog_kafka_codec::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use tidelog_kafka_codec::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use tidelog_metadata_api::{OffsetQuery, TopicInfo};
use tidelog_runtime::access::Operation;
use tidelog_types::Timestamp;

use crate::brokers::LEADER_EPOCH;
use crate::call::{Call, check_epoch, partition};
use crate::errors::Refusal;
use crate::fetch::isolation;
use crate::repeats::Repeats;

/// `isolation_level` of readers who want nothing of open or aborted transactions.
const READ_COMMITTED: i8 = 1;
/// The first version whose answers name the leader epoch.
const EPOCH_FROM: i16 = 4;

/// What an offset is asked by; the numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Query(OffsetQuery),
    /// Of the tiers that Kafka may have and this log has not: nothing is there.
    Elsewhere,
}

/// What a timestamp of a request means in a version.
fn asked(timestamp: i64, version: i16) -> Result<Asked, Refusal> {
    let since = |from: i16, asked| {
        if version >= from {
            return Ok(asked);
        }
        let message = format!("version `{version}` has no offset of the kind `{timestamp}`");
        Err(Refusal::new(ErrorCode::UnsupportedVersion, message))
    };
    match timestamp {
        -1 => Ok(Asked::Query(OffsetQuery::Latest)),
        -2 => Ok(Asked::Query(OffsetQuery::Earliest)),
        -3 => since(7, Asked::Query(OffsetQuery::MaxTimestamp)),
        // The earliest on local disks: all of the log is where its broker is.
        -4 => since(8, Asked::Query(OffsetQuery::Earliest)),
        -5 => since(9, Asked::Elsewhere),
        -6 => since(11, Asked::Elsewhere),
        0.. => Ok(Asked::Query(OffsetQuery::AtTime(Timestamp::from_millis(
            timestamp,
        )))),
        _ => since(i16::MAX, Asked::Elsewhere),
    }
}

impl Call {
    pub(crate) async fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let is_committed = request.isolation_level == READ_COMMITTED;
        let mut repeats = Repeats::of(request.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|wanted| (topic.name.clone(), wanted.partition_index))
        }));
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let found = self.topic(Operation::Describe, &topic.name).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                let key = (topic.name.clone(), wanted.partition_index);
                let Some(allowed) = repeats.check_once(&key, "a partition") else {
                    continue;
                };
                let result = match (allowed, &found) {
                    (Ok(()), Ok(topic)) => self.find_offset(topic, &wanted, is_committed).await,
                    (Err(refusal), _) => Err(refusal),
                    (Ok(()), Err(refusal)) => Err(refusal.clone()),
                };
                partitions.push(self.offset_response(wanted.partition_index, result));
            }
            topics.push(ListOffsetsTopicResponse {
                name: topic.name,
                partitions,
            });
        }
        ListOffsetsResponse {
            topics,
            ..ListOffsetsResponse::default()
        }
    }

    /// The offset, if there is one, and its record's time, if that is known.
    async fn find_offset(
        &self,
        topic: &TopicInfo,
        wanted: &ListOffsetsPartition,
        is_committed: bool,
    ) -> Result<Option<(i64, i64)>, Refusal> {
        let at = partition(topic, wanted.partition_index)?;
        check_epoch(wanted.current_leader_epoch)?;
        let Asked::Query(query) = asked(wanted.timestamp, self.version)? else {
            return Ok(None);
        };
        let engine = self.front.engine();
        let found = engine.offset(at, query, isolation(is_committed)).await;
        let Some(found) = found.map_err(|error| Refusal::from(&error))? else {
            return Ok(None);
        };
        let time = found.timestamp.map_or(-1, Timestamp::as_millis);
        Ok(Some((found.offset.to_i64(), time)))
    }

    fn offset_response(
        &self,
        partition_index: i32,
        result: Result<Option<(i64, i64)>, Refusal>,
    ) -> ListOffsetsPartitionResponse {
        let response = ListOffsetsPartitionResponse {
            partition_index,
            ..ListOffsetsPartitionResponse::default()
        };
        match result {
            Ok(Some((offset, timestamp))) => ListOffsetsPartitionResponse {
                offset,
                timestamp,
                leader_epoch: if self.version >= EPOCH_FROM {
                    LEADER_EPOCH
                } else {
                    response.leader_epoch
                },
                ..response
            },
            Ok(None) => response,
            Err(refusal) => ListOffsetsPartitionResponse {
                error_code: self.code(refusal.code),
                ..response
            },
        }
    }

    pub(crate) async fn offset_for_leader_epoch(
        &self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let found = self.topic(Operation::Describe, &topic.topic).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                let result = match &found {
                    Ok(topic) => self.end_of_epoch(topic, &wanted).await,
                    Err(refusal) => Err(refusal.clone()),
                };
                let (leader_epoch, end_offset) = result.as_ref().copied().unwrap_or((-1, -1));
                let code = result.err().map_or(ErrorCode::None, |error| error.code);
                partitions.push(EpochEndOffset {
                    error_code: self.code(code),
                    partition: wanted.partition,
                    leader_epoch,
                    end_offset,
                });
            }
            topics.push(OffsetForLeaderTopicResult {
                topic: topic.topic,
                partitions,
            });
        }
        OffsetForLeaderEpochResponse {
            topics,
            ..OffsetForLeaderEpochResponse::default()
        }
    }

    /// The only epoch ends where the log does; there is no other.
    async fn end_of_epoch(
        &self,
        topic: &TopicInfo,
        wanted: &OffsetForLeaderPartition,
    ) -> Result<(i32, i64), Refusal> {
        let at = partition(topic, wanted.partition)?;
        check_epoch(wanted.current_leader_epoch)?;
        if wanted.leader_epoch != LEADER_EPOCH {
            return Ok((-1, -1));
        }
        let bounds = self.front.engine().bounds(at).await;
        let bounds = bounds.map_err(|error| Refusal::from(&error))?;
        Ok((LEADER_EPOCH, bounds.high_watermark.to_i64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_timestamps_are_kinds_of_offsets_from_the_version_that_knows_them() {
        let query = |timestamp, version| match asked(timestamp, version) {
            Ok(Asked::Query(query)) => Some(query),
            _ => None,
        };
        assert_eq!(query(-1, 1), Some(OffsetQuery::Latest));
        assert_eq!(query(-2, 1), Some(OffsetQuery::Earliest));
        assert_eq!(query(-3, 6), None);
        assert_eq!(query(-3, 7), Some(OffsetQuery::MaxTimestamp));
        assert_eq!(query(-4, 8), Some(OffsetQuery::Earliest));
        assert_eq!(asked(-5, 9), Ok(Asked::Elsewhere));
        for (timestamp, version) in [(-4, 7), (-5, 8), (-6, 10), (-7, 11), (i64::MIN, 11)] {
            let refusal = asked(timestamp, version).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::UnsupportedVersion);
        }
        let at = Timestamp::from_millis(7);
        assert_eq!(query(7, 1), Some(OffsetQuery::AtTime(at)));
    }
}
