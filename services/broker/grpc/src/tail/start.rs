//! Where a `Tail` begins.

use std::collections::HashSet;

use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::Isolation;
use tidelog_metadata_api::{OffsetQuery, TopicInfo};
use tidelog_types::{Offset, PartitionIndex, Timestamp, TopicPartition};

use super::Cursor;
use crate::data::isolation;
use crate::errors::{fetch_error, log_error, no_partition};
use crate::fetch::position;
use crate::front::Front;
use crate::settings::REQUEST_PARTITIONS_MAX;

impl Front {
    /// Where reading of one partition begins and ends.
    pub(super) async fn cursor(
        &self,
        topic: &TopicInfo,
        request: &v1::TailRequest,
        index: u32,
    ) -> Result<Cursor, ApiError> {
        let (at, _) = topic
            .partition(PartitionIndex::new(index))
            .map_err(|code| {
                no_partition(code, &topic.name, index)
                    .with("partition_count", &topic.partition_count())
            })?;
        let named = request
            .offsets
            .iter()
            .find(|named| named.partition == index);
        let isolation = isolation(request.isolation)?;
        let next = match (named, &request.start) {
            (Some(named), _) => Offset::new(named.offset),
            (None, Some(v1::tail_request::Start::Offset(offset))) => Offset::new(*offset),
            (None, Some(v1::tail_request::Start::TimestampMs(millis))) => {
                let query = OffsetQuery::AtTime(Timestamp::from_millis(*millis));
                match self.resolve(at, query, isolation).await? {
                    Some(offset) => offset,
                    None => self.latest(at, isolation).await?,
                }
            }
            (None, Some(v1::tail_request::Start::Position(number))) => self
                .resolve(at, position(*number)?, isolation)
                .await?
                .unwrap_or_default(),
            (None, None) => self.latest(at, isolation).await?,
        };
        let earliest = i32::from(v1::OffsetPosition::Earliest);
        let is_at_first = named.is_none()
            && matches!(request.start, Some(v1::tail_request::Start::Position(number)) if number == earliest);
        let end = if request.until_end {
            Some(self.latest(at, isolation).await?)
        } else {
            None
        };
        let mut bounds = self
            .engine()
            .bounds(at)
            .await
            .map_err(|error| log_error(&error))?;
        // The end that is told is the end that is kept.
        if let Some(end) = end {
            match isolation {
                Isolation::Uncommitted => bounds.high_watermark = end,
                Isolation::Committed => {
                    bounds.last_stable = end;
                    bounds.high_watermark = bounds.high_watermark.max(end);
                }
            }
        }
        Ok(Cursor {
            at,
            next,
            end,
            bounds,
            is_at_first,
        })
    }

    /// Where reading ends now.
    async fn latest(&self, at: TopicPartition, isolation: Isolation) -> Result<Offset, ApiError> {
        let latest = self.resolve(at, OffsetQuery::Latest, isolation).await?;
        Ok(latest.unwrap_or_default())
    }

    async fn resolve(
        &self,
        at: TopicPartition,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<Option<Offset>, ApiError> {
        let found = self.engine().offset(at, query, isolation).await;
        Ok(found
            .map_err(|error| fetch_error(&error))?
            .map(|found| found.offset))
    }
}

/// The partitions of a request, checked.
pub(super) fn partitions(
    topic: &TopicInfo,
    request: &v1::TailRequest,
) -> Result<Vec<u32>, ApiError> {
    if request.partitions.len() > REQUEST_PARTITIONS_MAX {
        let message = format!("a request has at most {REQUEST_PARTITIONS_MAX} partitions");
        return Err(ApiError::invalid(message));
    }
    let indexes: Vec<u32> = if request.partitions.is_empty() {
        (0..topic.partition_count()).collect()
    } else {
        request.partitions.clone()
    };
    let distinct: HashSet<u32> = indexes.iter().copied().collect();
    if distinct.len() != indexes.len() {
        return Err(ApiError::invalid(
            "a partition stands in `partitions` twice",
        ));
    }
    let named = request.offsets.iter().map(|named| named.partition);
    let named: Vec<u32> = named.collect();
    let named_once: HashSet<u32> = named.iter().copied().collect();
    if named_once.len() != named.len() || !named_once.is_subset(&distinct) {
        let message = "`offsets` names partitions that are read, each once";
        return Err(ApiError::invalid(message));
    }
    Ok(indexes)
}
