//! What a group's decisions need from the store, read in one round: on a store over the network that is one way
//! there and back, however many members the group has.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use tidelog_env::MonoTime;
use tidelog_store::{KeyRange, ReadMode, Store, Transaction};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence, TopicNumber, TopicPartition};

use super::error::SequencerError;
use super::inlined::InlineRoom;
use super::lately::Lately;
use super::lease::Lease;
use super::message::Message;
use super::own_receipts::{OwnReceipts, Receipt};
use super::producer::producer_of;
use super::state::{ProducerKey, ShardState};
use crate::keyspace::{Counter, FloorRow, Keyspace, NumberRow, ReceiptRow, TopicRow};

/// What the store says of the segments and writers of a group.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) receipts: HashMap<SegmentName, ReceiptRow>,
    /// Segments that are committed, whose receipts nobody needs.
    pub(crate) committed: HashSet<SegmentName>,
    pub(crate) floors: HashMap<Incarnation, SegmentSequence>,
    pub(crate) oldest_live: Option<Incarnation>,
    /// Why the shard takes nothing new now, if so.
    pub(crate) overload: Option<String>,
    /// How much may come to lie in the store now.
    pub(crate) inline_room: InlineRoom,
}

/// What a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Want {
    Lease,
    OldestLive,
    Receipt(SegmentName),
    Floor(Incarnation),
    /// Whether there is the topic of a partition that is not in memory.
    Topic(TopicNumber),
    Partition(TopicPartition),
    Producer(ProducerKey),
}

/// A transaction, and what is known in it.
pub(crate) type Begun = (Box<dyn Transaction>, Known);

/// Begins a transaction for a group of which everything is known that it needs: it reads nothing, and conflicts
/// with whatever has changed. `None` if something is to be read.
pub(crate) fn recall(
    store: &dyn Store,
    state: &ShardState,
    lease: &Lease,
    (receipts, lately): (&OwnReceipts, &Lately),
    group: &[Message],
    now: MonoTime,
) -> Result<Option<Begun>, SequencerError> {
    if !writers(group)
        .iter()
        .all(|writer| receipts.has_met(*writer))
    {
        return Ok(None);
    }
    let mut committed = Known::default();
    let wants = wanted(state, receipts, group, &mut committed);
    let mut floors = Vec::new();
    for want in &wants {
        match want {
            Want::Lease | Want::OldestLive => {}
            Want::Floor(incarnation) => floors.push(*incarnation),
            Want::Receipt(_) | Want::Topic(_) | Want::Partition(_) | Want::Producer(_) => {
                return Ok(None);
            }
        }
    }
    let Some((version, known)) = lately.recall(now, floors) else {
        return Ok(None);
    };
    let Some(mut transaction) = store.begin_at(version)? else {
        return Ok(None);
    };
    for want in wants {
        let (key, _) = want.key(state.keys, lease);
        transaction.add_read_conflict(KeyRange::single(key));
    }
    let known = Known {
        committed: committed.committed,
        ..known
    };
    Ok(Some((transaction, known)))
}

/// Reads the lease (rule C1), receipts and floors of the group's segments, and rows of its partitions and
/// producers that are not in memory.
pub(crate) async fn read_needed(
    state: &mut ShardState,
    lease: &Lease,
    receipts: &mut OwnReceipts,
    transaction: &mut dyn Transaction,
    group: &[Message],
) -> Result<Known, SequencerError> {
    for incarnation in writers(group) {
        receipts.meet(lease, transaction, incarnation).await?;
    }
    let mut known = Known::default();
    let wants = wanted(state, receipts, group, &mut known);
    let keys: Vec<_> = wants
        .iter()
        .map(|want| want.key(state.keys, lease))
        .collect();
    let values = transaction.get_many(&keys).await?;
    let mut gone = Vec::new();
    for (want, value) in wants.into_iter().zip(values) {
        match want {
            Want::Lease => drop(lease.check_row(value)?),
            Want::OldestLive => {
                let row = value.map(NumberRow::decode).transpose()?;
                known.oldest_live = Some(Incarnation::new(row.map_or(0, |row| row.0)));
            }
            Want::Receipt(segment) => {
                if let Some(value) = value {
                    known.receipts.insert(segment, ReceiptRow::decode(value)?);
                }
            }
            Want::Floor(incarnation) => {
                let row = value.map(FloorRow::decode).transpose()?;
                let floor = row.map(|row| row.floor).unwrap_or_default();
                known.floors.insert(incarnation, floor);
            }
            Want::Topic(topic) => {
                if TopicRow::is_gone(value) && !state.gone.contains(&topic) {
                    gone.push(topic);
                }
            }
            Want::Partition(partition) => state.put_partition_row(partition, value)?,
            Want::Producer(key) => state.put_producer_row(key, value)?,
        }
    }
    for topic in gone {
        state.has_gone(topic);
    }
    Ok(known)
}

/// Who has written the group's segments, and those that they follow.
fn writers(group: &[Message]) -> BTreeSet<Incarnation> {
    let commits = group.iter().filter_map(|message| match message {
        Message::Commit { commit, .. } => Some(commit),
        _ => None,
    });
    let segments = commits.flat_map(|commit| commit.after.iter().chain([&commit.manifest.segment]));
    segments.map(|segment| segment.incarnation).collect()
}

/// Everything once.
fn wanted(
    state: &ShardState,
    receipts: &OwnReceipts,
    group: &[Message],
    known: &mut Known,
) -> Vec<Want> {
    let mut wanted = Wanted {
        state,
        seen: HashSet::new(),
        wants: vec![Want::Lease],
    };
    for message in group {
        match message {
            Message::Commit { commit, .. } => {
                let manifest = &commit.manifest;
                for segment in &commit.after {
                    match receipts.look(*segment) {
                        Receipt::There => drop(known.committed.insert(*segment)),
                        Receipt::Absent => {}
                        Receipt::Unsure => wanted.push(Want::Receipt(*segment)),
                    }
                }
                if receipts.look(manifest.segment) != Receipt::Absent {
                    wanted.push(Want::Receipt(manifest.segment));
                }
                wanted.push(Want::OldestLive);
                wanted.push(Want::Floor(manifest.segment.incarnation));
                for slice in &manifest.slices {
                    wanted.partition(slice.partition);
                    for producer in slice.batches.iter().filter_map(producer_of) {
                        wanted.producer((slice.partition, producer));
                    }
                }
            }
            Message::SetToken { partition, .. } | Message::DeleteRecords { partition, .. } => {
                wanted.partition(*partition);
            }
            Message::Expire { moves } => {
                for (partition, _) in moves {
                    wanted.partition(*partition);
                }
            }
            Message::Empty { partitions } => {
                for partition in partitions {
                    wanted.kept(*partition);
                }
            }
            Message::EndTransactions { markers, .. } => {
                for marker in markers {
                    wanted.partition(marker.partition);
                    wanted.producer((marker.partition, marker.producer.id));
                }
            }
            Message::Barrier { .. } | Message::Producers { .. } | Message::Rows { .. } => {}
        }
    }
    wanted.wants
}

struct Wanted<'a> {
    state: &'a ShardState,
    seen: HashSet<Want>,
    wants: Vec<Want>,
}

impl Wanted<'_> {
    fn push(&mut self, want: Want) {
        if self.seen.insert(want) {
            self.wants.push(want);
        }
    }

    fn partition(&mut self, partition: TopicPartition) {
        if !self.state.is_gone(partition) {
            self.kept(partition);
        }
    }

    /// Also of a topic that is being purged.
    fn kept(&mut self, partition: TopicPartition) {
        if !self.state.partitions.contains_key(&partition) {
            self.push(Want::Topic(partition.topic));
            self.push(Want::Partition(partition));
        }
    }

    fn producer(&mut self, key: ProducerKey) {
        if !self.state.is_gone(key.0) && !self.state.producers.contains_key(&key) {
            self.push(Want::Producer(key));
        }
    }
}

impl Want {
    /// Its key, and whether a later change makes the group conflict: a lease that goes (rule C1) and a floor
    /// that rises (rule C6). All else only owners write.
    fn key(self, keys: Keyspace, lease: &Lease) -> (Bytes, ReadMode) {
        let shard = lease.shard;
        match self {
            Self::Lease => (keys.lease(shard), ReadMode::Serializable),
            Self::OldestLive => (
                keys.counter(Counter::OldestLiveIncarnation),
                ReadMode::Serializable,
            ),
            Self::Floor(incarnation) => (keys.floor(incarnation), ReadMode::Serializable),
            Self::Receipt(segment) => (keys.receipt(segment, shard), ReadMode::Snapshot),
            // Whoever purges the topic is this owner, and none but a purge takes it away.
            Self::Topic(topic) => (keys.topic(topic), ReadMode::Snapshot),
            Self::Partition(partition) => (keys.partition(partition), ReadMode::Snapshot),
            Self::Producer((partition, producer)) => {
                (keys.producer(partition, producer), ReadMode::Snapshot)
            }
        }
    }
}
