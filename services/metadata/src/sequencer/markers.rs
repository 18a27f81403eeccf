//! Ends of transactions: what becomes of a marker.

use tidelog_metadata_api::{
    ActiveProducer, Decision, LogError, TransactionMarker, TransactionNumber,
};
use tidelog_types::{ProducerId, ShardId, TopicPartition};

use super::group::Group;
use super::producer::ProducerState;
use super::state::PartitionState;
use crate::keyspace::{EndedTransaction, MarkerRow, TailRow};

/// A producer, if anything is known of it.
pub(crate) type KnownProducer = (ProducerId, Option<ActiveProducer>);

impl Group<'_> {
    /// Decides markers, one after the other. What is appended goes into one entry of the tail, and so shows at once.
    pub(crate) fn end_transactions(
        &mut self,
        shard: ShardId,
        markers: &[TransactionMarker],
    ) -> Vec<Result<(), LogError>> {
        let mut rows = Vec::new();
        let mut outcomes = Vec::with_capacity(markers.len());
        for marker in markers {
            let decided = self.end_transaction(marker);
            outcomes.push(decided.map(|row| rows.extend(row)));
        }
        if !rows.is_empty() {
            let row = TailRow::Markers {
                commit_time: self.decided.commit_time,
                markers: rows,
            };
            self.push_tail(row.encode(), shard);
            self.decided.markers.entries += 1;
        }
        outcomes
    }

    /// The marker to append, if it does not say what is so already.
    fn end_transaction(
        &mut self,
        marker: &TransactionMarker,
    ) -> Result<Option<MarkerRow>, LogError> {
        if self.state.is_gone(marker.partition) {
            return Err(LogError::UnknownPartition(marker.partition));
        }
        let key = (marker.partition, marker.producer.id);
        let known = self.producer(key).cloned();
        let Some(number) = judge_marker(known.as_ref(), marker)? else {
            return Ok(None);
        };
        let before = self.partition(marker.partition);
        if before.next.checked_add(1).is_none() {
            return Err(LogError::Unavailable {
                reason: "the partition has no more offsets".to_owned(),
            });
        }
        let open = known.as_ref().and_then(|known| known.open);
        let mut row = MarkerRow {
            partition: marker.partition,
            offset: before.next,
            marker: marker.end_marker(),
            number,
            ended: open.map(|open| EndedTransaction {
                first: open.first,
                last_stable: open.first,
            }),
        };
        let mut state = before;
        state.end(&row);
        if let Some(ended) = &mut row.ended {
            ended.last_stable = state.last_stable();
        }
        self.append_marker(state, known, &row);
        Ok(Some(row))
    }

    fn append_marker(
        &mut self,
        mut state: PartitionState,
        known: Option<ProducerState>,
        row: &MarkerRow,
    ) {
        let now = self.decided.commit_time;
        let extent = row.extent(now);
        state.max_timestamp = state.max_timestamp.max(extent.max_timestamp);
        self.put_partition(row.partition, state);
        let key = (row.partition, row.marker.producer_id);
        let producer = ProducerState::end(known, row, now);
        self.decided.producers.insert(key, producer);
        self.decided.extents.push((row.partition, extent));
        if let Some(aborted) = row.aborted() {
            let key = self.state.keys.aborted(row.partition, row.offset);
            self.push_row(key, aborted.encode());
        }
        match row.marker.decision {
            Decision::Commit => self.decided.markers.commits += 1,
            Decision::Abort => self.decided.markers.aborts += 1,
        }
    }

    /// The producers of a partition that are in memory or in the group.
    pub(crate) fn producers_of(&self, partition: TopicPartition) -> Vec<KnownProducer> {
        let producers = self.state.producers.keys();
        let of_partition = |(at, _): &&(TopicPartition, ProducerId)| *at == partition;
        let decided = self.decided.producers.keys().filter(of_partition);
        let mut ids: Vec<_> = producers.filter(of_partition).chain(decided).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = |key: &(TopicPartition, ProducerId)| {
            let known = self.producer(*key);
            (key.1, known.map(|known| known.to_active(key.1)))
        };
        ids.into_iter().map(known).collect()
    }
}

/// The number of the transaction that a marker ends; nothing if it has ended here already.
///
/// A coordinator has decided for good before it sends a marker, and sends it until it is heard. So one with a number
/// is not refused, also not for an epoch that is older than what the partition has seen.
fn judge_marker(
    known: Option<&ProducerState>,
    marker: &TransactionMarker,
) -> Result<Option<TransactionNumber>, LogError> {
    let producer = marker.producer;
    if !producer.id.is_idempotent() || producer.epoch.get() < 0 {
        return Err(LogError::NoTransaction(producer.id));
    }
    let open = known.and_then(|known| known.open);
    let Some(number) = marker.number else {
        return judge_order(known, marker).map(Some);
    };
    // A later one can only be open here if this one is past.
    let is_past = known.is_some_and(|known| number <= known.ended)
        || open.is_some_and(|open| number < open.number);
    Ok((!is_past).then_some(number))
}

/// The same for a marker of an operator, who knows only the producer.
fn judge_order(
    known: Option<&ProducerState>,
    marker: &TransactionMarker,
) -> Result<TransactionNumber, LogError> {
    let none = || LogError::NoTransaction(marker.producer.id);
    let known = known.ok_or_else(none)?;
    if marker.producer.epoch < known.epoch {
        return Err(LogError::ProducerFenced(known.epoch));
    }
    match known.coordinator_epoch {
        Some(epoch) if marker.coordinator_epoch < epoch => Err(LogError::CoordinatorFenced(epoch)),
        _ => known.open.map(|open| open.number).ok_or_else(none),
    }
}
