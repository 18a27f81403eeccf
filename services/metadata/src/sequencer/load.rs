//! What a new owner reads: the checkpoint, the tail, and the rows that the tail changes.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tidelog_store::{ReadMode, ScanOptions, Store, Transaction, Version};
use tidelog_types::{GroupNumber, ShardId, Timestamp, TopicNumber, TopicPartition};

use super::error::SequencerError;
use super::producer::producer_of;
use super::replay::Replay;
use super::state::{ProducerKey, ShardState};
use super::view::ShardView;
use super::window::PartitionView;
use crate::keyspace::{
    CheckpointRow, Keyspace, MergedRow, PartitionRow, ProducerRow, RowError, TailRow, TopicRow,
};

/// How many tail rows are read in one transaction, so that none grows old.
const PAGE_ROWS: usize = 1_000;

/// The state and the view of a shard, read from the store at a version not older than `since` (C4).
///
/// What the checkpoint has reached is in rows and pages, and is read when it is asked for: so a takeover
/// costs what is later, however long the log is.
pub(crate) async fn load(
    store: &dyn Store,
    mut state: ShardState,
    shard: ShardId,
    since: Version,
) -> Result<(ShardState, ShardView), SequencerError> {
    let keys = state.keys;
    let mut view = ShardView::default();
    let (checkpoint, merged, tail_since) = read_checkpoint(store, keys, shard, since).await?;
    state.merged = merged.group;
    state.tail_since = tail_since;
    state.checkpoint = checkpoint.group;
    state.group = checkpoint.group;
    state.commit_time = checkpoint.commit_time;
    // Where there are no pages yet, the whole tail is read, and the next checkpoint writes them.
    let mut rest = Some(if checkpoint.is_paged {
        keys.tail_after(shard, checkpoint.group)
    } else {
        keys.tail_of(shard)
    });
    let mut stored = Rows::default();
    while let Some(range) = rest.take() {
        let mut transaction = begin_since(store, since).await?;
        let page = transaction
            .scan(range.clone(), ScanOptions::limit(PAGE_ROWS).snapshot())
            .await?;
        rest = page.next(&range, ScanOptions::default().direction);
        let rows: Result<Vec<_>, _> = page.rows.into_iter().map(TailRow::of_row).collect();
        let rows = rows?;
        let wants = wanted(&rows, &stored, checkpoint.group);
        stored
            .read(keys, transaction.as_mut(), shard, wants)
            .await?;
        for (group, row) in rows {
            let mut replay = Replay {
                state: &mut state,
                view: &mut view,
                stored: &stored,
                group,
                replayed: group > checkpoint.group,
                is_paged: checkpoint.is_paged,
            };
            replay.row(row);
        }
    }
    if state.group.get() == u64::MAX {
        // No group could follow; none has ever come near.
        return Err(RowError {
            kind: "tail",
            what: "its group number has reached its end",
        }
        .into());
    }
    view.group = state.group;
    for (topic, fate) in &stored.topics {
        if *fate != Fate::Kept {
            state.has_gone(*topic);
        }
    }
    if !checkpoint.is_paged {
        state.changed_partitions.extend(view.partitions());
    }
    show_loaded_bounds(store, &mut state, &mut view, since).await?;
    if !checkpoint.is_paged {
        state.count_bytes(&view);
    }
    Ok((state, view))
}

/// The checkpoint, how far the tail is merged, and the commit time of the first entry that is not.
async fn read_checkpoint(
    store: &dyn Store,
    keys: Keyspace,
    shard: ShardId,
    since: Version,
) -> Result<(CheckpointRow, MergedRow, Option<Timestamp>), SequencerError> {
    let mut transaction = begin_since(store, since).await?;
    let value = transaction
        .get(&keys.checkpoint(shard), ReadMode::Snapshot)
        .await?;
    let checkpoint = value.map(CheckpointRow::decode).transpose()?;
    let value = transaction
        .get(&keys.merged(shard), ReadMode::Snapshot)
        .await?;
    let merged = value
        .map(MergedRow::decode)
        .transpose()?
        .unwrap_or_default();
    let rest = keys.tail_after(shard, merged.group);
    let first = transaction
        .scan(rest, ScanOptions::limit(1).snapshot())
        .await?;
    let first = first.rows.into_iter().next();
    // Only its age is asked for. If it is damaged, whoever merges it will say so.
    let first = first.and_then(|(_, value)| TailRow::decode(value).ok());
    let tail_since = first.map(|row| row.commit_time());
    Ok((checkpoint.unwrap_or_default(), merged, tail_since))
}

/// Rule C4. A store that gives out an older version than one it has committed breaks its contract.
async fn begin_since(
    store: &dyn Store,
    since: Version,
) -> Result<Box<dyn Transaction>, SequencerError> {
    let transaction = store.begin().await?;
    tidelog_env::invariant!(
        I4,
        transaction.read_version() >= since,
        "read version `{}` is older than the lease's `{since}`",
        transaction.read_version()
    );
    Ok(transaction)
}

/// Shows the bounds of every partition that the tail or its replay has touched.
async fn show_loaded_bounds(
    store: &dyn Store,
    state: &mut ShardState,
    view: &mut ShardView,
    since: Version,
) -> Result<(), SequencerError> {
    let mut partitions: Vec<TopicPartition> = view.partitions().collect();
    partitions.extend(state.partitions.keys());
    partitions.sort_unstable();
    partitions.dedup();
    for some in partitions.chunks(PAGE_ROWS) {
        let mut transaction = begin_since(store, since).await?;
        state.load_partitions(transaction.as_mut(), some).await?;
        for partition in some {
            if let Some(loaded) = state.partitions.get(partition) {
                view.open(*partition, || PartitionView::new(loaded))
                    .raise(loaded.bounds());
            }
        }
    }
    Ok(())
}

/// What becomes of the topic of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// There is one.
    Kept,
    /// It is being purged, and this shard may have something of it that is to be taken off the books.
    Purging,
    /// This shard has nothing of it any more, whatever the tail says.
    Gone,
}

/// Rows that the tail changes, as they are stored. Each is read once: the tail may name it often.
#[derive(Debug, Default)]
pub(super) struct Rows {
    topics: HashMap<TopicNumber, Fate>,
    partitions: HashMap<TopicPartition, Option<PartitionRow>>,
    producers: HashMap<ProducerKey, Option<ProducerRow>>,
}

/// Names of rows that are still to be read.
#[derive(Debug, Default)]
struct Wants {
    partitions: HashSet<TopicPartition>,
    producers: HashSet<ProducerKey>,
}

/// What replaying `rows` asks for and nobody has read yet.
fn wanted(rows: &[(GroupNumber, TailRow)], known: &Rows, checkpoint: GroupNumber) -> Wants {
    let mut wants = Wants::default();
    for (group, row) in rows {
        let replayed = *group > checkpoint;
        match row {
            TailRow::Manifest { manifest, .. } => {
                for slice in &manifest.slices {
                    wants.partitions.insert(slice.partition);
                    let producers = slice.batches.iter().filter_map(producer_of);
                    for producer in producers.filter(|_| replayed) {
                        wants.producers.insert((slice.partition, producer));
                    }
                }
            }
            TailRow::Command { partition, .. } if replayed => {
                wants.partitions.insert(*partition);
            }
            TailRow::Command { .. } => {}
            TailRow::Markers { markers, .. } => {
                for row in markers {
                    wants.partitions.insert(row.partition);
                    if replayed {
                        let producer = row.marker.producer_id;
                        wants.producers.insert((row.partition, producer));
                    }
                }
            }
        }
    }
    let Wants {
        partitions,
        producers,
    } = &mut wants;
    partitions.retain(|partition| !known.partitions.contains_key(partition));
    producers.retain(|key| !known.producers.contains_key(key));
    wants
}

impl Rows {
    async fn read(
        &mut self,
        keys: Keyspace,
        transaction: &mut dyn Transaction,
        shard: ShardId,
        wants: Wants,
    ) -> Result<(), SequencerError> {
        let snapshot = |key: Bytes| (key, ReadMode::Snapshot);
        let partitions: Vec<_> = wants.partitions.into_iter().collect();
        let topics: HashSet<_> = partitions.iter().map(|at| at.topic).collect();
        let new = topics
            .into_iter()
            .filter(|at| !self.topics.contains_key(at));
        let new: Vec<_> = new.collect();
        for some in new.chunks(PAGE_ROWS) {
            self.read_topics(keys, transaction, shard, some).await?;
        }
        for some in partitions.chunks(PAGE_ROWS) {
            let asked: Vec<_> = some
                .iter()
                .map(|at| snapshot(keys.partition(*at)))
                .collect();
            let values = transaction.get_many(&asked).await?;
            for (partition, value) in some.iter().zip(values) {
                let row = value.map(PartitionRow::decode).transpose()?;
                self.partitions.insert(*partition, row);
            }
        }
        let producers: Vec<_> = wants.producers.into_iter().collect();
        for some in producers.chunks(PAGE_ROWS) {
            let key = |(partition, producer)| snapshot(keys.producer(partition, producer));
            let asked: Vec<_> = some.iter().copied().map(key).collect();
            let values = transaction.get_many(&asked).await?;
            for (key, value) in some.iter().zip(values) {
                let row = value.map(ProducerRow::decode).transpose()?;
                self.producers.insert(*key, row);
            }
        }
        Ok(())
    }

    async fn read_topics(
        &mut self,
        keys: Keyspace,
        transaction: &mut dyn Transaction,
        shard: ShardId,
        topics: &[TopicNumber],
    ) -> Result<(), SequencerError> {
        let asked = topics
            .iter()
            .map(|at| (keys.topic(*at), ReadMode::Snapshot));
        let values = transaction.get_many(&asked.collect::<Vec<_>>()).await?;
        for (topic, value) in topics.iter().zip(values) {
            let fate = if value.is_none() {
                Fate::Gone
            } else if !TopicRow::is_gone(value) {
                Fate::Kept
            } else {
                let key = keys.emptied(*topic, shard);
                let emptied = transaction.get(&key, ReadMode::Snapshot).await?;
                emptied.map_or(Fate::Purging, |_| Fate::Gone)
            };
            self.topics.insert(*topic, fate);
        }
        Ok(())
    }

    /// Whether the shard has nothing of the partition any more.
    pub(super) fn is_gone(&self, partition: TopicPartition) -> bool {
        self.topics.get(&partition.topic) == Some(&Fate::Gone)
    }

    pub(super) fn partition(&self, partition: TopicPartition) -> Option<&PartitionRow> {
        self.partitions.get(&partition).and_then(Option::as_ref)
    }

    pub(super) fn producer(&self, key: ProducerKey) -> Option<&ProducerRow> {
        self.producers.get(&key).and_then(Option::as_ref)
    }
}
