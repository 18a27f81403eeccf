//! What compaction does to a log, without I/O: which keys are later written again, and what stays of each batch.
//!
//! ```text
//!   start                    cleaned                    end
//!     v                         v                        v
//!     [ compacted before        ][ keys are noted        ]  first pass
//!     [ records with a later one of their key go ........]  second pass
//! ```
//!
//! The rules are those of Kafka's cleaner (KIP-58, KIP-354, KIP-534). A record stays if no later one of its key is
//! known, whatever became of the rest. Tombstones get a time until which they stay when they are first met, in the
//! header of their batch, and go with the first pass after that: by then every earlier record of their key has gone.
//!
//! Records that cannot be read, or for which there is no memory, stay as they are, byte for byte. Nobody knows what keys
//! they have: they supersede nothing, and no tombstone behind them goes.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use tidelog_format::batch::{
    BatchHeader, BatchView, DecodeLimit, GAP_OFFSETS_MAX, Record, RecordError, RetainError,
    Retained, gap_batch,
};
use tidelog_metadata_api::AbortedTransaction;
use tidelog_types::{Offset, OffsetRange, ProducerId, Timestamp};

use super::keys::Keys;

/// There are no whole batches where there should be some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no whole batches behind offset `{0}`")]
pub(crate) struct Uncleanable(pub(crate) Offset);

/// The aborted transactions with records in what is looked at.
#[derive(Debug, Default)]
pub(crate) struct Aborted(HashMap<ProducerId, Vec<(Offset, Offset)>>);

impl Aborted {
    /// Each is there once, those of one producer in order.
    pub(crate) fn new(transactions: &[AbortedTransaction]) -> Self {
        let mut all: HashMap<ProducerId, Vec<(Offset, Offset)>> = HashMap::new();
        for transaction in transactions {
            let ranges = all.entry(transaction.producer).or_default();
            ranges.push((transaction.first, transaction.last));
        }
        Self(all)
    }

    fn has(&self, header: &BatchHeader) -> bool {
        if !header.attributes.is_transactional() || header.attributes.is_control() {
            return false;
        }
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let ranges = self.0.get(&header.producer_id);
        ranges.is_some_and(|ranges| {
            let at = ranges.partition_point(|(_, last)| *last <= base);
            ranges.get(at).is_some_and(|(first, _)| *first <= base)
        })
    }
}

fn base_of(header: &BatchHeader) -> Offset {
    Offset::from_i64(header.base_offset).unwrap_or_default()
}

fn next_of(header: &BatchHeader) -> Offset {
    let next = base_of(header).checked_add(u64::from(header.offset_count()));
    next.unwrap_or(Offset::MAX)
}

/// Whether it has records of clients.
const fn has_records(header: &BatchHeader) -> bool {
    header.record_count > 0 && !header.attributes.is_control()
}

// ----- the first pass -------------------------------------------------------------------------------

/// What came of taking note of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The first record for which there was no room.
    pub(crate) full: Option<Offset>,
    /// The first batch that could not be read.
    pub(crate) unread: Option<Offset>,
}

/// Takes note of the keys in batches, of records with some offsets; which ends with the first record for which there
/// is no room. Of what lies behind the range nobody knows yet whether it will be aborted.
pub(crate) fn note_keys(
    keys: &mut Keys,
    batches: Bytes,
    offsets: OffsetRange,
    aborted: &Aborted,
    limit: DecodeLimit,
) -> Result<Noted, Uncleanable> {
    let mut noted = Noted::default();
    for batch in BatchView::all(batches) {
        let batch = batch.map_err(|_| Uncleanable(offsets.base))?;
        let header = batch.header();
        if !has_records(header) || next_of(header) <= offsets.base || aborted.has(header) {
            continue;
        }
        // Of a batch that cannot be read to its end nothing takes the place of anything.
        let base = base_of(header);
        if walk(&batch, limit, |_| true).is_err() {
            noted.unread.get_or_insert(base);
            continue;
        }
        let put = |record: Record| {
            let key = record.key.filter(|_| offsets.contains(record.offset));
            let has_room = key.is_none_or(|key| keys.put(&key, record.offset));
            if !has_room {
                noted.full = Some(record.offset);
            }
            has_room
        };
        // It could be read just now.
        let _ = walk(&batch, limit, put);
        if noted.full.is_some() {
            break;
        }
    }
    Ok(noted)
}

/// Goes through the records of a batch, as long as they are wanted.
fn walk(
    batch: &BatchView,
    limit: DecodeLimit,
    mut wants: impl FnMut(Record) -> bool,
) -> Result<(), RecordError> {
    for record in batch.records(base_of(batch.header()), limit)? {
        if !wants(record?) {
            break;
        }
    }
    Ok(())
}

// ----- the second pass ------------------------------------------------------------------------------

/// What came of some batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) records_in: u64,
    pub(crate) records_out: u64,
    /// Batches that stay as they are, since they cannot be read.
    pub(crate) unread_batches: u64,
}

/// What a pass goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Keys below it are all noted.
    pub(crate) end: Offset,
    /// The owner's time: what is over by then may go.
    pub(crate) now: Timestamp,
    /// What is met for the first time stays for a while from then on. Not before the owner's time.
    pub(crate) later: Timestamp,
    pub(crate) tombstones_millis: i64,
    /// The first batch of which no keys could be noted.
    pub(crate) unread: Option<Offset>,
}

/// Goes through the log of a partition, from its start on.
#[derive(Debug)]
pub(crate) struct Cleaner {
    keys: Keys,
    terms: Terms,
    /// Producers that have records left of the transaction that is open here.
    survivors: HashSet<ProducerId>,
    /// Offsets without records that are not written yet, and of how many batches without records they come.
    gap: Option<(Offset, Offset)>,
    gap_batches: u32,
    out: BytesMut,
    has_changed: bool,
    /// The first batch that could not be read, and why.
    pub(crate) unread: Option<(Offset, RetainError)>,
    pub(crate) counts: Counts,
    /// When the last tombstone that was met may go.
    pub(crate) tombstones_until: Option<Timestamp>,
}

impl Cleaner {
    pub(crate) fn new(keys: Keys, terms: Terms) -> Self {
        Self {
            keys,
            terms,
            survivors: HashSet::new(),
            gap: None,
            gap_batches: 0,
            out: BytesMut::new(),
            has_changed: false,
            unread: None,
            counts: Counts::default(),
            tombstones_until: None,
        }
    }

    /// Takes batches that follow those before, with their offsets in them. One that comes to more than the limit is not
    /// read.
    pub(crate) fn take(
        &mut self,
        batches: Bytes,
        aborted: &Aborted,
        limit: DecodeLimit,
    ) -> Result<(), Uncleanable> {
        for batch in BatchView::all(batches) {
            let batch = batch.map_err(|_| Uncleanable(self.terms.end))?;
            self.batch(&batch, aborted, limit);
        }
        Ok(())
    }

    /// Bytes that stay so far of what was taken since the last [`Cleaner::cut`].
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// All that stays since the last time, and whether it is other than what was taken.
    pub(crate) fn cut(&mut self) -> (Bytes, bool) {
        self.end_gap();
        let has_changed = std::mem::take(&mut self.has_changed);
        (self.out.split().freeze(), has_changed)
    }

    fn batch(&mut self, batch: &BatchView, aborted: &Aborted, limit: DecodeLimit) {
        let header = *batch.header();
        if header.attributes.is_control() {
            self.marker(batch);
            return;
        }
        if header.record_count == 0 {
            self.gap_batches += 1;
            // Two that follow each other become one.
            self.has_changed |= self.gap_batches > 1;
            self.pass(&header);
            return;
        }
        let count = u64::try_from(header.record_count).unwrap_or_default();
        self.counts.records_in += count;
        if aborted.has(&header) {
            self.has_changed = true;
            self.pass(&header);
            return;
        }
        match self.retained(batch, limit) {
            Ok(Retained::None) => {
                self.has_changed = true;
                self.pass(&header);
            }
            Ok(Retained::All) => self.keep(&header, batch.bytes()),
            Ok(Retained::Some(bytes)) => {
                self.has_changed = true;
                self.keep(&header, &bytes);
            }
            Err(error) => {
                self.counts.records_out += count;
                self.counts.unread_batches += 1;
                self.unread.get_or_insert((base_of(&header), error));
                self.keep(&header, batch.bytes());
            }
        }
    }

    fn retained(&mut self, batch: &BatchView, limit: DecodeLimit) -> Result<Retained, RetainError> {
        let header = batch.header();
        let terms = self.terms;
        let horizon = header.attributes.has_delete_horizon();
        let horizon = horizon.then_some(header.base_timestamp);
        // A record of its key may be in what was not read, in this pass or when keys were noted.
        let unread = terms.unread.is_some_and(|unread| unread <= base_of(header));
        let may_go = !unread && self.unread.is_none();
        let is_over = may_go && horizon.is_some_and(|horizon| horizon < terms.now);
        let later = terms
            .later
            .as_millis()
            .saturating_add(terms.tombstones_millis.max(0));
        let later = Timestamp::from_millis(later);
        // Earlier records of a tombstone beyond the end may be there still.
        let new = Some(later).filter(|_| may_go && next_of(header) <= terms.end);
        let (mut tombstones, mut kept) = (0_u64, 0_u64);
        let keys = &self.keys;
        let keep = |record: &Record| {
            let stays = stays(keys, record, is_over);
            kept += u64::from(stays);
            tombstones += u64::from(stays && record.key.is_some() && record.value.is_none());
            stays
        };
        let retained = batch.retain(base_of(header), limit, new, keep)?;
        self.counts.records_out += kept;
        if tombstones > 0 && may_go {
            let until = horizon.or(new).unwrap_or(later);
            self.tombstones_until = self.tombstones_until.max(Some(until));
        }
        Ok(retained)
    }

    /// The end of a transaction. That of an aborted one stays as long as readers are told of the transaction: they leave
    /// out what its producer sent up to the marker. One of a committed transaction means nothing to them, and goes when
    /// nothing of the transaction is left and it is as old as a tombstone becomes.
    fn marker(&mut self, batch: &BatchView) {
        let header = *batch.header();
        let has_survivors = self.survivors.remove(&header.producer_id);
        let age = self
            .terms
            .now
            .as_millis()
            .saturating_sub(header.max_timestamp.as_millis());
        let is_old = age > self.terms.tombstones_millis;
        if !has_survivors && is_old && next_of(&header) <= self.terms.end && is_commit(batch) {
            self.has_changed = true;
            self.pass(&header);
        } else {
            self.keep_bytes(batch.bytes());
        }
    }

    fn keep(&mut self, header: &BatchHeader, bytes: &Bytes) {
        if header.attributes.is_transactional() {
            self.survivors.insert(header.producer_id);
        }
        self.keep_bytes(bytes);
    }

    fn keep_bytes(&mut self, bytes: &Bytes) {
        self.end_gap();
        self.out.extend_from_slice(bytes);
    }

    /// Nothing of a batch stays.
    fn pass(&mut self, header: &BatchHeader) {
        let (base, next) = (base_of(header), next_of(header));
        let from = self.gap.map_or(base, |(from, _)| from);
        self.gap = Some((from, next));
    }

    fn end_gap(&mut self) {
        self.gap_batches = 0;
        let Some((mut from, next)) = self.gap.take() else {
            return;
        };
        while from < next {
            let count = (next.get() - from.get()).min(u64::from(GAP_OFFSETS_MAX));
            let narrow = u32::try_from(count).unwrap_or(GAP_OFFSETS_MAX);
            self.out.extend_from_slice(&gap_batch(from, narrow));
            from = Offset::new(from.get() + count);
        }
    }
}

/// Whether a record stays. One without a key stays: it was acknowledged, and nothing has taken its place. Kafka's cleaner
/// drops those, but Kafka's brokers refuse them.
fn stays(keys: &Keys, record: &Record, tombstones_are_over: bool) -> bool {
    let Some(key) = &record.key else {
        return true;
    };
    if keys.is_superseded(key, record.offset) {
        return false;
    }
    record.value.is_some() || !tombstones_are_over
}

/// Whether a control batch is the marker of a commit.
fn is_commit(batch: &BatchView) -> bool {
    let base = base_of(batch.header());
    let limit = DecodeLimit::bytes(MARKER_RECORDS_BYTES);
    let Ok(mut records) = batch.records(base, limit) else {
        return false;
    };
    let Some(Ok(record)) = records.next() else {
        return false;
    };
    // The version of the key and its type, as Kafka has them.
    record.key.as_deref() == Some(&[0, 0, 0, COMMIT][..])
}

/// The type of a control record that commits; Kafka's number.
const COMMIT: u8 = 1;
/// Bytes of the records of a control batch at most.
const MARKER_RECORDS_BYTES: usize = 1_024;
