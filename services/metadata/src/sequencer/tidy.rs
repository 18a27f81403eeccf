//! Searches for rows that nobody needs any more and deletes them: receipts and floors of writers that have
//! ended, receipts below a floor that the owners of their shards do not know of, producers that have expired,
//! aborted transactions below the log start.
//!
//! After each checkpoint some small transactions, one after each of the groups that follow, go on where
//! the last one stopped. Without groups there are none, so that an idle shard does nothing.

use bytes::Bytes;
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Store, Transaction};
use tidelog_types::{Incarnation, SegmentSequence, ShardId, Timestamp};

use super::error::SequencerError;
use super::floors::read_floor;
use super::lease::Lease;
use super::message::read_oldest_live;
use super::state::ShardState;
use crate::keyspace::{
    Counter, EndedWriterRow, FloorRow, KeyKind, Keyspace, NumberRow, PartitionRow, ProducerRow,
    RowError,
};

/// Rows that one transaction looks at.
const ROWS: usize = 1_000;
/// Rows that are looked at to see whether there is anything to delete.
const ROWS_AT_FIRST: usize = 16;
/// Transactions after one checkpoint. A checkpoint comes after at most 2,000 receipts and some thousand
/// producers, so that more goes than comes.
const STEPS: u32 = 16;
/// The owner of this shard does it for the whole cluster.
const SHARD: ShardId = ShardId::new(0);
/// Expired producers are looked for this many times within the time in which one expires.
const PRODUCER_PASSES: i64 = 8;
/// Aborted transactions below a log start are looked for once in so long.
const ABORTED_INTERVAL_MILLIS: i64 = 10 * 60 * 1_000;
/// Partitions with aborted transactions that one transaction looks at.
const PARTITIONS: usize = 64;

/// What is looked for now.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Receipts,
    Floors,
    Producers,
    Aborted,
}

/// How far the search has come. It is in memory only: another owner begins anew, and finds less.
#[derive(Debug, Default)]
pub(crate) struct Tidy {
    steps_left: u32,
    phase: Phase,
    /// Where the next step goes on in the rows of its phase.
    rest: Option<KeyRange>,
    /// Whether the last step deleted something, so that more is likely to follow.
    has_found: bool,
    producers_due: Option<Timestamp>,
    aborted_due: Option<Timestamp>,
}

/// What one step found.
#[derive(Debug, Default)]
struct Found {
    deletes: Vec<Bytes>,
    puts: Vec<(Bytes, Bytes)>,
    rest: Option<KeyRange>,
}

impl Tidy {
    /// Allows some steps: a checkpoint is complete.
    pub(crate) fn begin(&mut self) {
        self.steps_left = STEPS;
    }

    /// Whether there is something to look at.
    pub(crate) fn is_time(&self, shard: ShardId) -> bool {
        self.steps_left > 0 && shard == SHARD
    }

    /// Looks at some rows and deletes those that may go; returns how many.
    pub(crate) async fn step(
        &mut self,
        store: &dyn Store,
        lease: &Lease,
        state: &ShardState,
    ) -> Result<u64, SequencerError> {
        if !self.is_time(lease.shard) {
            return Ok(0);
        }
        self.steps_left -= 1;
        let mut transaction = store.begin().await?;
        lease.check(transaction.as_mut()).await?;
        let found = match self.phase {
            Phase::Receipts => self.receipts(transaction.as_mut(), state.keys).await?,
            Phase::Floors => self.floors(transaction.as_mut(), state.keys).await?,
            Phase::Producers => self.producers(transaction.as_mut(), state).await?,
            Phase::Aborted => self.aborted(transaction.as_mut(), state.keys).await?,
        };
        let deleted = u64::try_from(found.deletes.len()).unwrap_or(u64::MAX);
        if deleted > 0 {
            for key in found.deletes {
                transaction.delete(key);
            }
            for (key, value) in found.puts {
                transaction.put(key, value);
            }
            transaction.commit().await?;
        }
        self.has_found = deleted > 0;
        self.rest = found.rest;
        if self.rest.is_none() {
            self.next_phase(state);
        }
        Ok(deleted)
    }

    /// Goes on with the next kind of rows that it is time for. After the last one all was looked at: the next
    /// checkpoint begins anew.
    fn next_phase(&mut self, state: &ShardState) {
        let now = state.commit_time;
        self.phase = match self.phase {
            Phase::Receipts => Phase::Floors,
            Phase::Floors if is_due(&mut self.producers_due, now, producers_interval(state)) => {
                Phase::Producers
            }
            Phase::Floors | Phase::Producers
                if is_due(&mut self.aborted_due, now, ABORTED_INTERVAL_MILLIS) =>
            {
                Phase::Aborted
            }
            Phase::Floors | Phase::Producers | Phase::Aborted => {
                self.steps_left = 0;
                Phase::Receipts
            }
        };
    }

    /// Rule C5: a receipt goes only in a transaction that sees the floor of its incarnation above its
    /// sequence. Floors and the oldest live incarnation are read serializably here.
    async fn receipts(
        &mut self,
        transaction: &mut dyn Transaction,
        keys: Keyspace,
    ) -> Result<Found, SequencerError> {
        let oldest_live = read_oldest_live(keys, transaction).await?;
        let searched = read_searched(keys, transaction).await?;
        let range = self
            .rest
            .take()
            .unwrap_or_else(|| keys.all(KeyKind::Receipt));
        let rows = if self.has_found { ROWS } else { ROWS_AT_FIRST };
        let options = ScanOptions::limit(rows).snapshot();
        let page = transaction.scan(range.clone(), options).await?;
        let mut found = Found {
            rest: page.next(&range, options.direction),
            ..Found::default()
        };
        let mut writer: Option<(Incarnation, SegmentSequence)> = None;
        let mut highest: Option<(Incarnation, SegmentSequence)> = None;
        for (key, _) in page.rows {
            let segment = Keyspace::receipt_segment(&key).ok_or(RowError {
                kind: "receipt",
                what: "its key is too short",
            })?;
            let incarnation = segment.incarnation;
            let is_old = incarnation < oldest_live;
            if !is_old && writer.is_none_or(|(seen, _)| seen != incarnation) {
                let floor = read_floor(keys, transaction, incarnation).await?;
                writer = Some((incarnation, floor));
            }
            let is_ended = |(seen, floor)| seen == incarnation && FloorRow { floor }.has_ended();
            let has_ended = is_old || writer.is_some_and(is_ended);
            if !has_ended && writer.is_some_and(|(_, floor)| segment.sequence >= floor) {
                // The rest of this writer stays, and those after it are looked at next.
                let next = Incarnation::new(incarnation.get().saturating_add(1));
                found.rest = Some(keys.receipts_from(next));
                break;
            }
            if has_ended && incarnation > searched {
                if let Some(done) = highest.filter(|(seen, _)| *seen != incarnation) {
                    found.puts.extend(ended(keys, transaction, done).await?);
                }
                highest = Some((incarnation, segment.sequence));
            }
            found.deletes.push(key);
        }
        if let Some(done) = highest {
            found.puts.extend(ended(keys, transaction, done).await?);
        }
        Ok(found)
    }

    /// Floors of writers that have ended: whatever they send is refused without them.
    async fn floors(
        &mut self,
        transaction: &mut dyn Transaction,
        keys: Keyspace,
    ) -> Result<Found, SequencerError> {
        let oldest_live = read_oldest_live(keys, transaction).await?;
        let range = keys.floors_below(oldest_live);
        let options = ScanOptions::limit(ROWS).snapshot();
        let page = transaction.scan(range.clone(), options).await?;
        Ok(Found {
            rest: page.next(&range, options.direction),
            deletes: page.rows.into_iter().map(|(key, _)| key).collect(),
            puts: Vec::new(),
        })
    }

    /// Producers that have expired, of all shards. The rows are read serializably: if an owner writes
    /// one anew, the deletion conflicts.
    async fn producers(
        &mut self,
        transaction: &mut dyn Transaction,
        state: &ShardState,
    ) -> Result<Found, SequencerError> {
        let all = || state.keys.all(KeyKind::Producer);
        let range = self.rest.take().unwrap_or_else(all);
        let options = ScanOptions::limit(ROWS);
        let page = transaction.scan(range.clone(), options).await?;
        let mut found = Found {
            rest: page.next(&range, options.direction),
            ..Found::default()
        };
        for (key, value) in page.rows {
            let Ok(row) = ProducerRow::decode(value) else {
                // Whoever needs it will say so.
                continue;
            };
            let known = super::producer::ProducerState::from_row(&row);
            // One that has come back since is written by the next checkpoint, as one without a past.
            if known.is_expired(state.commit_time, state.producer_expiry) {
                found.deletes.push(key);
            }
        }
        Ok(found)
    }

    /// Aborted transactions whose markers lie below the log starts of their partitions, of all shards. A log start
    /// only goes up, so that what its row says may be old. Of each partition the rows that go come first.
    async fn aborted(
        &mut self,
        transaction: &mut dyn Transaction,
        keys: Keyspace,
    ) -> Result<Found, SequencerError> {
        let mut found = Found {
            rest: Some(self.rest.take().unwrap_or(keys.all(KeyKind::Aborted))),
            ..Found::default()
        };
        for _ in 0..PARTITIONS {
            let Some(range) = found.rest.take() else {
                break;
            };
            let first = transaction.scan(range.clone(), ScanOptions::limit(1).snapshot());
            let Some((key, _)) = first.await?.rows.into_iter().next() else {
                break;
            };
            let at = Keyspace::partition_of(&key).zip(Keyspace::aborted_marker(&key));
            let (partition, marker) = at.ok_or(RowError {
                kind: "aborted",
                what: "its key has another length",
            })?;
            let row = keys.partition(partition);
            let row = transaction.get(&row, ReadMode::Snapshot).await?;
            let row = row.map(PartitionRow::decode).transpose()?;
            let log_start = row.unwrap_or_default().log_start;
            let mut start = keys.aborted_after(partition);
            if marker < log_start {
                let below = KeyRange::new(key, keys.aborted(partition, log_start));
                let left = ROWS.saturating_sub(found.deletes.len());
                let options = ScanOptions::limit(left).snapshot();
                let page = transaction.scan(below.clone(), options).await?;
                if let Some(more) = page.next(&below, options.direction) {
                    start = more.start;
                }
                let keys = page.rows.into_iter().map(|(key, _)| key);
                found.deletes.extend(keys);
            }
            let end = range.end;
            found.rest = Some(KeyRange { start, end });
            if found.deletes.len() >= ROWS {
                break;
            }
        }
        Ok(found)
    }
}

/// Whether it is time for something, which then comes again after `interval`.
fn is_due(due: &mut Option<Timestamp>, now: Timestamp, interval: i64) -> bool {
    let is_due = due.is_none_or(|due| now >= due);
    if is_due {
        *due = Some(Timestamp::from_millis(
            now.as_millis().saturating_add(interval),
        ));
    }
    is_due
}

fn producers_interval(state: &ShardState) -> i64 {
    let expiry = i64::try_from(state.producer_expiry.as_millis()).unwrap_or(i64::MAX);
    expiry / PRODUCER_PASSES
}

/// Up to here nobody asks any more how far writers came.
async fn read_searched(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
) -> Result<Incarnation, SequencerError> {
    let key = keys.counter(Counter::SearchedIncarnation);
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    let row = value.map(NumberRow::decode).transpose()?;
    Ok(Incarnation::new(row.map_or(0, |row| row.0)))
}

/// What stays of a writer whose receipts go: whoever looks for its orphans needs to know how far it came.
async fn ended(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    (incarnation, highest): (Incarnation, SegmentSequence),
) -> Result<Option<(Bytes, Bytes)>, SequencerError> {
    let key = keys.ended_writer(incarnation);
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    let before = value.map(EndedWriterRow::decode).transpose()?;
    let is_higher = before.is_none_or(|row| row.highest < highest);
    Ok(is_higher.then(|| (key, EndedWriterRow { highest }.encode())))
}
