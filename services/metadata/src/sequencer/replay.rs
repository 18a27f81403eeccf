//! Applies rows of the tail to the state and the view of a shard, in order, each to what is older than it.

use tidelog_format::manifest::{BatchEntry, Manifest, Outcome};
use tidelog_metadata_api::{Extent, TransactionNumber};
use tidelog_types::{GroupNumber, Offset, Timestamp, TopicPartition};

use super::extents::extents_of;
use super::load::Rows;
use super::producer::{ProducerState, producer_of, sequences};
use super::state::{PartitionState, ProducerKey, ShardState};
use super::view::ShardView;
use super::window::PartitionView;
use crate::keyspace::{BegunTransaction, MarkerRow, SentBatch, TailCommand, TailRow};

/// Applies rows of the tail, in order.
pub(super) struct Replay<'a> {
    pub(super) state: &'a mut ShardState,
    pub(super) view: &'a mut ShardView,
    /// What is stored of all that these rows change.
    pub(super) stored: &'a Rows,
    pub(super) group: GroupNumber,
    /// Whether the row is later than the checkpoint, so that it may change state.
    pub(super) replayed: bool,
    /// Whether extents that rows know of are in pages.
    pub(super) is_paged: bool,
}

impl Replay<'_> {
    pub(super) fn row(&mut self, row: TailRow) {
        self.state.group = self.state.group.max(self.group);
        self.state.commit_time = self.state.commit_time.max(row.commit_time());
        match row {
            TailRow::Manifest {
                commit_time,
                manifest,
                receipt,
                begun,
            } => {
                for slice in &manifest.slices {
                    self.open_view(slice.partition);
                }
                for (partition, extent) in extents_of(&manifest, &receipt.outcomes) {
                    self.append(partition, &extent, commit_time);
                }
                if self.replayed {
                    self.manifest(&manifest, &receipt.outcomes, &begun, commit_time);
                }
            }
            TailRow::Command {
                partition,
                command,
                commit_time,
            } if self.replayed => {
                if self.applies_to(partition, commit_time) {
                    self.command(partition, command);
                }
            }
            TailRow::Command { .. } => {}
            TailRow::Markers {
                commit_time,
                markers,
            } => {
                for row in &markers {
                    self.open_view(row.partition);
                    self.append(row.partition, &row.extent(commit_time), commit_time);
                    if self.replayed {
                        self.marker(row, commit_time);
                    }
                }
            }
        }
    }

    fn append(&mut self, partition: TopicPartition, extent: &Extent, commit_time: Timestamp) {
        self.view.append(partition, extent, commit_time);
        if let Some(state) = self.state.partitions.get_mut(&partition) {
            state.max_timestamp = state.max_timestamp.max(extent.max_timestamp);
        }
    }

    /// Begins the partition in the view where its row ends: what lies before is in pages.
    fn open_view(&mut self, partition: TopicPartition) {
        if self.stored.is_gone(partition) {
            return;
        }
        self.load_row(partition);
        if self.view.partition(partition).is_some() {
            return;
        }
        let known = self.state.partitions.get(&partition);
        let mut state = known.cloned().unwrap_or_default();
        if !self.is_paged {
            // Such rows are older than transactions are.
            state.next = Offset::ZERO;
            state.log_start = Offset::ZERO;
            state.max_timestamp = Timestamp::NONE;
            state.total = 0;
        }
        self.view.open(partition, || PartitionView::new(&state));
    }

    /// Takes a partition from its row, unless a row of the tail has done so before.
    fn load_row(&mut self, partition: TopicPartition) -> Option<GroupNumber> {
        let row = self.stored.partition(partition);
        let new = || PartitionState::from_row(row.cloned().unwrap_or_default());
        self.state.partitions.entry(partition).or_insert_with(new);
        row.map(|row| row.as_of)
    }

    fn manifest(
        &mut self,
        manifest: &Manifest,
        outcomes: &[Outcome],
        begun: &[BegunTransaction],
        commit_time: Timestamp,
    ) {
        let mut outcomes = (0_u32..).zip(outcomes);
        let mut begun = begun.iter().peekable();
        for slice in &manifest.slices {
            let applies = self.applies_to(slice.partition, commit_time);
            for batch in &slice.batches {
                let Some((at, Outcome::Accepted { base_offset })) = outcomes.next() else {
                    continue;
                };
                let begun = begun.next_if(|begun| begun.batch == at);
                let begun = begun.map(|begun| begun.number);
                if applies && let Some(state) = self.state.partitions.get_mut(&slice.partition) {
                    let next = base_offset.checked_add(u64::from(batch.record_count));
                    state.next = next.unwrap_or(state.next).max(state.next);
                    state.total = state.total.saturating_add(u64::from(batch.length));
                    if begun.is_some() {
                        state.open.begin(*base_offset, batch.producer_id);
                    }
                }
                self.batch(slice.partition, batch, (*base_offset, begun), commit_time);
            }
        }
    }

    /// An accepted batch of an idempotent producer.
    fn batch(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        (base_offset, begun): (Offset, Option<TransactionNumber>),
        commit_time: Timestamp,
    ) {
        let Some(((first_sequence, last_sequence), producer)) =
            sequences(batch).zip(producer_of(batch))
        else {
            return;
        };
        let key = (partition, producer);
        if !self.applies_to_producer(key) {
            return;
        }
        let sent = SentBatch {
            first_sequence,
            last_sequence,
            base_offset,
        };
        let known = self.known(key, commit_time);
        let state = ProducerState::accept(known, batch.producer_epoch, sent, begun, commit_time);
        self.state.producers.insert(key, Some(state));
    }

    fn marker(&mut self, row: &MarkerRow, commit_time: Timestamp) {
        if self.applies_to(row.partition, commit_time)
            && let Some(state) = self.state.partitions.get_mut(&row.partition)
        {
            state.end(row);
        }
        let key = (row.partition, row.marker.producer_id);
        if self.applies_to_producer(key) {
            let known = self.known(key, commit_time);
            let state = ProducerState::end(known, row, commit_time);
            self.state.producers.insert(key, Some(state));
        }
    }

    /// What was known of a producer at a time.
    fn known(&self, key: ProducerKey, at: Timestamp) -> Option<ProducerState> {
        let expiry = self.state.producer_expiry;
        let known = self.state.producers.get(&key).cloned().flatten();
        known.filter(|known| !known.is_expired(at, expiry))
    }

    fn command(&mut self, partition: TopicPartition, command: TailCommand) {
        if let Some(state) = self.state.partitions.get_mut(&partition) {
            match command {
                TailCommand::SetFencingToken(token) => state.fencing_token = token,
                TailCommand::SetLogStart(offset) => {
                    state.log_start = state.log_start.max(offset);
                }
            }
        }
    }

    /// The same for a producer's row.
    fn applies_to_producer(&mut self, key: ProducerKey) -> bool {
        if self.stored.is_gone(key.0) {
            return false;
        }
        if self.state.changed_producers.contains(&key) {
            return true;
        }
        let row = self.stored.producer(key);
        let applies = row.is_none_or(|row| row.as_of < self.group);
        let known = row.map(ProducerState::from_row);
        self.state.producers.entry(key).or_insert(known);
        if applies {
            self.state.changed_producers.insert(key);
        }
        applies
    }

    /// Whether the partition's row is older than this group. A checkpoint that was cut off has written
    /// some rows and not others; each says how far it goes.
    fn applies_to(&mut self, partition: TopicPartition, commit_time: Timestamp) -> bool {
        if self.stored.is_gone(partition) {
            return false;
        }
        if self.state.changed_partitions.contains(&partition) {
            return true;
        }
        let as_of = self.load_row(partition);
        let applies = as_of.is_none_or(|as_of| as_of < self.group);
        if applies {
            self.state.changed_partitions.insert(partition);
            if let Some(state) = self.state.partitions.get_mut(&partition)
                && state.since == Timestamp::NONE
            {
                state.since = commit_time;
            }
        }
        applies
    }
}
