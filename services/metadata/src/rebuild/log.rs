//! What the bytes of recovered extents say: which transactions ended how, and who has sent what.

use std::collections::BTreeMap;

use bytes::Bytes;

use tidelog_format::batch::{BatchHeader, BatchView};
use tidelog_format::extent::prove;
use tidelog_format::marker::{Decision, EndMarker};
use tidelog_metadata_api::TransactionNumber;
use tidelog_types::limits::PRODUCER_BATCHES_KEPT;
use tidelog_types::{Offset, OffsetRange, ProducerEpoch, ProducerId, Timestamp};

use crate::keyspace::{AbortedRow, OpenTransactionRow, PartitionRow, ProducerRow, SentBatch};

/// The log of a partition as it is read on from the end of a backup.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) producers: BTreeMap<ProducerId, ProducerRow>,
    /// Open transactions, by producer: where each begins, and whether the backup knew of it.
    open: BTreeMap<ProducerId, (Offset, bool)>,
    /// By the offsets of their markers.
    pub(super) aborted: BTreeMap<Offset, AbortedRow>,
    pub(super) aborted_below: Offset,
    /// Where the backup ends.
    from: Offset,
    /// The highest epoch of each producer that has sent something in a transaction.
    pub(super) epochs: BTreeMap<ProducerId, ProducerEpoch>,
    /// Whether a batch has fewer records than offsets: then compaction has gone over it.
    pub(super) is_compacted: bool,
    /// By what batches are told apart that no producer has numbered: how many there are of each.
    pub(super) prints: BTreeMap<Print, u64>,
}

/// Checksum and bytes of a batch, neither of which hangs on its offset.
pub(super) type Print = (u32, u32);

pub(super) const fn print_of(header: &BatchHeader) -> Print {
    (header.crc, header.size())
}

impl LogState {
    pub(super) fn of(row: &PartitionRow, producers: BTreeMap<ProducerId, ProducerRow>) -> Self {
        let open = row.open.iter();
        Self {
            producers,
            open: open
                .map(|(first, producer)| (*producer, (*first, true)))
                .collect(),
            aborted: BTreeMap::new(),
            aborted_below: row.aborted_below,
            from: row.next,
            epochs: BTreeMap::new(),
            is_compacted: false,
            prints: BTreeMap::new(),
        }
    }

    /// Reads the bytes of an extent, whose batches carry their offsets, of which these are taken. What is wrong with
    /// them otherwise.
    pub(super) fn read(
        &mut self,
        bytes: &Bytes,
        crc32c: Option<u32>,
        taken: OffsetRange,
        at: Timestamp,
    ) -> Result<(), String> {
        for crc32c in [crc32c, None] {
            prove(crc32c, &[&bytes[..]]).map_err(|error| error.to_string())?;
        }
        for view in BatchView::all(bytes.clone()) {
            let view = view.map_err(|error| error.to_string())?;
            let header = view.header();
            let base = Offset::from_i64(header.base_offset).ok_or("an offset is negative")?;
            let has_all = u32::try_from(header.record_count) == Ok(header.offset_count());
            self.is_compacted |= !has_all;
            if base < self.from.max(taken.base) || base >= taken.next {
                continue;
            }
            *self.prints.entry(print_of(header)).or_default() += 1;
            if header.producer_id.get() < 0 {
                continue;
            }
            if header.attributes.is_transactional() {
                let highest = self.epochs.entry(header.producer_id);
                let highest = highest.or_insert(header.producer_epoch);
                *highest = header.producer_epoch.max(*highest);
            }
            if header.attributes.is_control() {
                self.marker(&view, base, at)?;
            } else {
                self.batch(header, base, at);
            }
        }
        Ok(())
    }

    /// A batch of a producer, which is in the log at this offset.
    pub(super) fn batch(&mut self, header: &BatchHeader, base: Offset, at: Timestamp) {
        let producer = header.producer_id;
        let row = self.producers.entry(producer).or_insert_with(new_row);
        if row.epoch != header.producer_epoch {
            row.epoch = header.producer_epoch;
            row.batches.clear();
        }
        row.last_used = row.last_used.max(at);
        if header.base_sequence >= 0 {
            let count = i32::try_from(header.offset_count()).unwrap_or(i32::MAX);
            let last = i64::from(header.base_sequence) + i64::from(count) - 1;
            // Sequences begin again at 0 after the largest one.
            let last = i32::try_from(last % (i64::from(i32::MAX) + 1)).unwrap_or_default();
            row.batches.push(SentBatch {
                first_sequence: header.base_sequence,
                last_sequence: last,
                base_offset: base,
            });
            let extra = row.batches.len().saturating_sub(PRODUCER_BATCHES_KEPT);
            row.batches.drain(..extra);
        }
        if header.attributes.is_transactional() {
            self.open.entry(producer).or_insert((base, false));
        }
    }

    /// Where the log of the backup ends.
    pub(super) const fn known_next(&self) -> Offset {
        self.from
    }

    /// Whether the log has a batch that was found elsewhere, or what its producer has sent after it. Of batches that are
    /// told apart by their checksums only it is then one less.
    pub(super) fn has(&mut self, header: &BatchHeader) -> bool {
        let known = self.producers.get(&header.producer_id);
        if let Some(known) = known.filter(|_| header.base_sequence >= 0) {
            let last = known.batches.last().map(|sent| sent.last_sequence);
            return header.producer_epoch < known.epoch
                || (header.producer_epoch == known.epoch && last >= Some(header.base_sequence));
        }
        let left = self.prints.get_mut(&print_of(header));
        let left = left.filter(|left| **left > 0);
        left.is_some_and(|left| {
            *left -= 1;
            true
        })
    }

    fn marker(&mut self, view: &BatchView, offset: Offset, at: Timestamp) -> Result<(), String> {
        let header = view.header();
        let Some(decision) = decision_of(view) else {
            return Err("a control batch is none that ends a transaction".to_owned());
        };
        let row = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(new_row);
        row.epoch = header.producer_epoch;
        row.last_used = row.last_used.max(at);
        if let Some(open) = row.open.take() {
            row.ended = row.ended.max(open.number);
        }
        self.end(header.producer_id, offset, decision);
        Ok(())
    }

    fn end(&mut self, producer: ProducerId, offset: Offset, decision: Decision) {
        let Some((first, _)) = self.open.remove(&producer) else {
            return;
        };
        if decision == Decision::Commit {
            return;
        }
        let after = offset.checked_add(1).unwrap_or(offset);
        let still_open = self.open.values().map(|(first, _)| *first);
        let last_stable = still_open.min().unwrap_or(after);
        let row = AbortedRow {
            producer,
            first,
            last_stable,
        };
        self.aborted.insert(offset, row);
        self.aborted_below = after;
    }

    /// Ends transactions that began after the backup: nobody knows of them any more. The markers that do it, in order,
    /// from an offset on.
    pub(super) fn abort_unknown(&mut self, from: Offset) -> Vec<(Offset, EndMarker)> {
        let open = self.open.iter();
        let unknown = open.filter(|(_, (_, is_known))| !is_known);
        let unknown: Vec<ProducerId> = unknown.map(|(producer, _)| *producer).collect();
        let mut markers = Vec::with_capacity(unknown.len());
        let mut at = from;
        for producer_id in unknown {
            let producer_epoch = self.producers.get(&producer_id).map(|row| row.epoch);
            let marker = EndMarker {
                producer_id,
                producer_epoch: producer_epoch.unwrap_or(ProducerEpoch::NONE),
                coordinator_epoch: 0,
                decision: Decision::Abort,
            };
            self.end(producer_id, at, Decision::Abort);
            markers.push((at, marker));
            at = at.checked_add(1).unwrap_or(at);
        }
        markers
    }

    /// The open transactions, as the row of a partition has them.
    pub(super) fn open(&self) -> Vec<(Offset, ProducerId)> {
        let open = self.open.iter();
        let mut open: Vec<_> = open
            .map(|(producer, (first, _))| (*first, *producer))
            .collect();
        open.sort_unstable();
        open
    }
}

fn new_row() -> ProducerRow {
    ProducerRow {
        as_of: tidelog_types::GroupNumber::default(),
        epoch: ProducerEpoch::NONE,
        last_used: Timestamp::from_millis(0),
        batches: Vec::new(),
        ended: TransactionNumber(0),
        coordinator_epoch: None,
        open: None::<OpenTransactionRow>,
    }
}

/// How a control batch ends a transaction: it is the one that such a marker is always read as.
fn decision_of(view: &BatchView) -> Option<Decision> {
    let record = view.body();
    // Length, attributes, two deltas and the length of the key, each in one byte; then two of its version.
    let number = record.get(7..9)?;
    match number {
        [0, 0] => Some(Decision::Abort),
        [0, 1] => Some(Decision::Commit),
        _ => None,
    }
}
