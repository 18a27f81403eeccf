//! The log side of transactions: markers find their sequencers, and readers what was aborted.

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, LogError, MARKERS_MAX, PRODUCERS_SHOWN_MAX,
    TransactionMarker,
};
use tidelog_types::{OffsetRange, ShardId, TopicPartition};

use super::Inner;
use crate::sequencer::is_past;

/// Partitions of markers that are looked up in the catalogue at once.
const LOOKUPS_AT_ONCE: usize = 16;

/// Markers of one shard, with their places among all.
#[derive(Default)]
struct Part {
    places: Vec<usize>,
    markers: Vec<TransactionMarker>,
}

impl Inner {
    /// Sends markers to the sequencers of their shards.
    pub(super) async fn end_transactions(
        &self,
        markers: Vec<TransactionMarker>,
    ) -> Vec<Result<(), LogError>> {
        let lost = || {
            Err(LogError::Unavailable {
                reason: "nobody has looked at the marker".to_owned(),
            })
        };
        let mut outcomes: Vec<_> = markers.iter().map(|_| lost()).collect();
        let shards = markers.iter().map(|marker| marker.partition);
        let shards = shards.map(|at| self.partition_shards.kept_shard(at).boxed());
        let shards: Vec<_> = shards.collect();
        let shards = futures::stream::iter(shards).buffered(LOOKUPS_AT_ONCE);
        let shards: Vec<_> = shards.collect().await;
        let mut parts: BTreeMap<ShardId, Part> = BTreeMap::new();
        for (place, (marker, shard)) in markers.into_iter().zip(shards).enumerate() {
            match shard {
                Ok(shard) => {
                    let part = parts.entry(shard).or_default();
                    part.places.push(place);
                    part.markers.push(marker);
                }
                Err(error) => outcomes[place] = Err(error),
            }
        }
        let parts = parts.into_iter();
        let ended = join_all(parts.map(|(shard, part)| self.end_in_shard(shard, part))).await;
        for (place, outcome) in ended.into_iter().flatten() {
            outcomes[place] = outcome;
        }
        outcomes
    }

    /// Sends the markers of one shard, each message as many as can show at once.
    async fn end_in_shard(&self, shard: ShardId, part: Part) -> Vec<(usize, Result<(), LogError>)> {
        let sequencer = match self.shards.get(shard) {
            Ok(sequencer) => sequencer,
            Err(reason) => {
                let error = LogError::from(reason);
                let places = part.places.into_iter();
                return places.map(|place| (place, Err(error.clone()))).collect();
            }
        };
        let messages = part.markers.chunks(MARKERS_MAX);
        let ended = messages.map(|markers| sequencer.end_transactions(markers.to_vec()));
        let ended: Vec<_> = ended.collect();
        let outcomes = join_all(ended).await.into_iter().flatten();
        part.places.into_iter().zip(outcomes).collect()
    }

    /// The aborted transactions of a range that ends at the last stable offset or before. Their rows became durable
    /// with the markers, so they are in the store, whoever owns the shard.
    pub(super) async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        self.shard(partition).await?;
        if offsets.base >= offsets.next {
            return Ok(Vec::new());
        }
        self.metrics.history_reads.inc();
        self.history.aborted(partition, offsets).await
    }

    /// The producers of a partition. What memory says was so after the question came; a producer that is not in
    /// memory is in its row.
    pub(super) async fn producers(
        &self,
        partition: TopicPartition,
    ) -> Result<Vec<ActiveProducer>, LogError> {
        let sequencer = self.sequencer(partition).await?;
        let in_memory = sequencer.producers(partition).await?;
        let in_memory: BTreeMap<_, _> = in_memory.into_iter().collect();
        let mut shown: Vec<_> = in_memory.values().flatten().copied().collect();
        keep_some(&mut shown);
        let expiry = self.producer_expiry;
        let now = self.env.clock.wall();
        let look = |producer: ActiveProducer| {
            let is_expired =
                producer.open_from.is_none() && is_past(producer.last_used, now, expiry);
            if !is_expired && !in_memory.contains_key(&producer.producer.id) {
                shown.push(producer);
            }
            if shown.len() >= 2 * PRODUCERS_SHOWN_MAX {
                keep_some(&mut shown);
            }
        };
        self.history.producers(partition, look).await?;
        keep_some(&mut shown);
        shown.sort_unstable_by_key(|producer| producer.producer);
        Ok(shown)
    }
}

/// Keeps those that are shown of many: open transactions first, then those that were used last.
fn keep_some(producers: &mut Vec<ActiveProducer>) {
    if producers.len() > PRODUCERS_SHOWN_MAX {
        producers.sort_unstable_by_key(|producer| {
            (
                producer.open_from.is_none(),
                std::cmp::Reverse(producer.last_used),
            )
        });
        producers.truncate(PRODUCERS_SHOWN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::ProducerIdentity;
    use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

    use super::*;

    fn used_at(millis: i64, open_from: Option<u64>) -> ActiveProducer {
        ActiveProducer {
            producer: ProducerIdentity::new(ProducerId::new(millis), ProducerEpoch::new(0)),
            last_sequence: None,
            last_used: Timestamp::from_millis(millis),
            coordinator_epoch: None,
            open_from: open_from.map(Offset::new),
        }
    }

    #[test]
    fn of_too_many_producers_those_with_open_transactions_and_then_the_latest_are_kept() {
        let count = i64::try_from(PRODUCERS_SHOWN_MAX).unwrap();
        let mut producers: Vec<_> = (1..count).map(|millis| used_at(millis, None)).collect();
        producers.push(used_at(0, Some(7)));
        let all = producers.clone();
        keep_some(&mut producers);
        assert_eq!(producers, all, "there is room for all");
        producers.extend([used_at(count, None), used_at(count + 1, None)]);
        keep_some(&mut producers);
        let mut kept: Vec<_> = producers
            .iter()
            .map(|it| it.last_used.as_millis())
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, [vec![0], (3..=count + 1).collect()].concat());
    }
}
