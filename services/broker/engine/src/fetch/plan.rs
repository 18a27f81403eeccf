//! What a fetch will read: which extents, of which pages, and whose pages they are.

use std::collections::HashSet;

use tidelog_cache::{PageKey, Pool};
use tidelog_metadata_api::{Extent, LogError, LookupAnswer, LookupRequest, PartitionBounds};
use tidelog_types::{OffsetRange, TopicPartition};

use super::ahead::{Reader, TAIL_BYTES};
use super::reads::{answer_bytes, pages_of};
use super::{FetchError, FetchPartition, Fetcher, Isolation};

/// What is to be read of one partition.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) wanted: FetchPartition,
    pub(super) bounds: PartitionBounds,
    pub(super) isolation: Isolation,
    pub(super) extents: Vec<Extent>,
    /// Those behind them, for which the budget had no room.
    pub(super) later: Vec<Extent>,
    pub(super) bytes_max: u64,
    /// Whose pages these are: those who read old data do not evict the tail.
    pub(super) pool: Pool,
}

/// A plan, or why there is none.
pub(super) type Planned = Result<Plan, (TopicPartition, FetchError)>;

/// The bytes of all extents that the plans touch: a first batch is read whole, however little was asked for.
pub(super) fn whole_bytes(plans: &[Planned]) -> u64 {
    let extents = plans.iter().flatten().flat_map(|plan| &plan.extents);
    extents.map(answer_bytes).sum()
}

/// The pages that the plans touch.
pub(super) fn pages_now(plans: &[Planned]) -> HashSet<PageKey> {
    let extents = plans.iter().flatten().flat_map(|plan| &plan.extents);
    extents.flat_map(pages_of).collect()
}

impl Fetcher {
    /// Where the bytes of each partition are.
    pub(super) async fn plan_all(
        &self,
        wanted: &[FetchPartition],
        bytes_max: u64,
        isolation: Isolation,
        reader: Option<&Reader>,
    ) -> Vec<Planned> {
        let limit = bytes_max.min(self.settings.answer_bytes_max);
        let partitions = (wanted.len() as u64).max(1);
        let tail = TAIL_BYTES / partitions;
        let request = |(at, wanted): (usize, &FetchPartition)| {
            let ahead = reader.map_or(tail, |reader| reader.bytes(at));
            LookupRequest {
                partition: wanted.partition,
                offset: wanted.offset,
                bytes_max: wanted.bytes_max.min(limit).saturating_add(ahead),
                extents_max: self.settings.extents_max,
            }
        };
        let requests = wanted.iter().enumerate().map(request);
        let requests: Vec<LookupRequest> = requests.collect();
        let answers = self.extents.find_all(&requests, isolation).await;
        let plans = wanted.iter().zip(answers).map(|(wanted, answer)| {
            let planned = answer.map_err(FetchError::from);
            let bytes_max = wanted.bytes_max.min(limit);
            let planned =
                planned.and_then(|answer| plan(*wanted, (bytes_max, tail), isolation, answer));
            planned.map_err(|error| (wanted.partition, error))
        });
        plans.collect()
    }
}

/// What is to be read where the log says the bytes are, as far as the reader may see it. A reader that has no more
/// than `tail` bytes to go beyond what it gets is one of the tail.
fn plan(
    wanted: FetchPartition,
    (bytes_max, tail): (u64, u64),
    isolation: Isolation,
    answer: LookupAnswer,
) -> Result<Plan, FetchError> {
    let bounds = answer.bounds;
    if wanted.offset < bounds.log_start {
        let valid = OffsetRange {
            base: bounds.log_start,
            next: bounds.high_watermark,
        };
        let error = LogError::OffsetOutOfRange {
            offset: wanted.offset,
            valid,
        };
        return Err(error.into());
    }
    let end = isolation.end(&bounds);
    let mut extents = answer.extents;
    let last = extents.last().map(|extent| extent.offsets.next);
    extents.retain(|extent| extent.offsets.base < end);
    let bytes: u64 = extents.iter().map(answer_bytes).sum();
    let is_far = bytes > bytes_max.saturating_add(tail);
    let catches_up = is_far || last.is_some_and(|last| last < end);
    Ok(Plan {
        wanted,
        bounds,
        isolation,
        extents,
        later: Vec::new(),
        bytes_max,
        pool: if catches_up {
            Pool::CatchUp
        } else {
            Pool::Tail
        },
    })
}
