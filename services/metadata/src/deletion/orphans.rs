//! Names of writers under which segments may lie that were never committed.
//!
//! A writer counts its segments from 1 and leaves no number out, so whatever lies in the bucket below its floor and has no
//! row of live bytes is an orphan, or has been deleted already. Each name is looked at once: up to where that was done is
//! in a row of the writer, and in a counter for all writers up to some incarnation.

use bytes::Bytes;
use tidelog_metadata_api::{DELETIONS_MAX, LogError, OrphanSearch};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Transaction, transact};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use super::{Deletion, Failed, Rest, Step, damaged, earliest, failed};
use crate::catalogue::RETRY;
use crate::keyspace::{
    Counter, EndedWriterRow, FloorRow, KeyKind, Keyspace, NumberRow, OrphansRow, RowError,
};

/// Writers that one step looks at.
const WRITERS: u64 = 100;
/// Rows of live bytes that a search reads at once.
const ROWS: usize = 1_000;
/// A stretch of so many incarnations was never given out: a restore has gone over it. What a generation has lost is found
/// by an audit.
const SKIPPED: u64 = 1 << 24;

impl Deletion {
    /// Looks at some writers, and hands out the names of one of them.
    pub(super) async fn orphans(&self, from: Incarnation) -> Result<Step, LogError> {
        let (store, env) = (self.parts.store.as_ref(), &self.parts.env);
        let step = transact(store, env, RETRY, |mut transaction| async move {
            let mut step = Step::default();
            if !self.may_go(transaction.as_mut()).await? {
                step.is_blocked = true;
                return Ok((transaction, step));
            }
            self.look_at_writers(transaction.as_mut(), from, &mut step)
                .await?;
            Ok((transaction, step))
        });
        step.await.map_err(failed)
    }

    async fn look_at_writers(
        &self,
        transaction: &mut dyn Transaction,
        from: Incarnation,
        step: &mut Step,
    ) -> Result<(), Failed> {
        let searched = self
            .number(transaction, Counter::SearchedIncarnation)
            .await?;
        let oldest_live = self
            .number(transaction, Counter::OldestLiveIncarnation)
            .await?;
        let last = self.number(transaction, Counter::Incarnation).await?;
        let searched = self.raise(transaction, searched, oldest_live).await?;
        let next = searched.saturating_add(1);
        let first = from.get().max(next);
        let end = if oldest_live.saturating_sub(next) > SKIPPED {
            // The counter has to get over the stretch first, so that only what it stands before is looked at.
            next
        } else {
            last.min(first.saturating_add(WRITERS - 1))
        };
        for number in first..=end {
            let writer = Incarnation::new(number);
            let row = self.row(transaction, writer).await?;
            if row.is_done() {
                continue;
            }
            let has_ended = number < oldest_live;
            if row.below < row.until {
                match self.is_over(row.since) {
                    Ok(()) => {
                        let search = self.search(transaction, writer, row).await?;
                        step.found.orphans.push(search);
                        step.rest = Some(Rest::Orphans(writer_after(writer)));
                        return Ok(());
                    }
                    Err(due) => step.due = Some(earliest(step.due, due)),
                }
            } else if let Some(until) = self.limit(transaction, writer, has_ended, row).await? {
                let now = self.now();
                let row = OrphansRow {
                    until,
                    since: now,
                    ..row
                };
                transaction.put(self.keys().orphans(writer), row.encode());
                step.due = self.is_over(now).err().into_iter().chain(step.due).min();
            }
        }
        let has_more = end < last && first <= end && end > next;
        step.rest = has_more.then(|| Rest::Orphans(Incarnation::new(end + 1)));
        Ok(())
    }

    /// Up to where names of a writer may be looked at, if that is further than before.
    async fn limit(
        &self,
        transaction: &mut dyn Transaction,
        writer: Incarnation,
        has_ended: bool,
        row: OrphansRow,
    ) -> Result<Option<SegmentSequence>, Failed> {
        if has_ended {
            return Ok(Some(OrphansRow::ALL));
        }
        let floor = self.floor(transaction, writer).await?;
        if (FloorRow { floor }).has_ended() {
            return Ok(Some(OrphansRow::ALL));
        }
        Ok((floor > row.until).then_some(floor))
    }

    /// Names of a writer that have no row of live bytes, in the order of their numbers.
    async fn search(
        &self,
        transaction: &mut dyn Transaction,
        writer: Incarnation,
        row: OrphansRow,
    ) -> Result<OrphanSearch, Failed> {
        let at = |sequence| SegmentName::new(writer, sequence);
        let range = KeyRange {
            start: self.keys().live_bytes_of(at(row.below)).start,
            end: Some(self.keys().live_bytes_of(at(row.until)).start),
        };
        let options = ScanOptions::limit(ROWS).snapshot();
        let page = transaction.scan(range, options).await?;
        let mut names = Names::from(row.below);
        for (key, _) in &page.rows {
            let segment = segment_of(key, "live bytes")?;
            if !names.up_to(segment.sequence) {
                break;
            }
            names.next = names.next.max(segment.sequence.get().saturating_add(1));
        }
        let is_ended = row.until == OrphansRow::ALL;
        let mut is_last = false;
        if !page.more && !names.is_full() {
            let end = if is_ended {
                let highest = self.highest(transaction, writer).await?;
                SegmentSequence::new(highest.get().saturating_add(1))
            } else {
                row.until
            };
            is_last = names.up_to(end) && is_ended;
        }
        Ok(OrphanSearch {
            writer,
            below: SegmentSequence::new(names.next),
            sequences: names.missing,
            is_last,
            since: row.since,
        })
    }

    /// The highest sequence of a writer that is known to have been committed.
    async fn highest(
        &self,
        transaction: &mut dyn Transaction,
        writer: Incarnation,
    ) -> Result<SegmentSequence, Failed> {
        let key = self.keys().ended_writer(writer);
        let value = transaction.get(&key, ReadMode::Snapshot).await?;
        let row = value.map(EndedWriterRow::decode).transpose();
        let row = row.map_err(|error| damaged(&error))?;
        let known = row.map(|row| row.highest).unwrap_or_default();
        let range = KeyRange {
            start: self.keys().receipts_from(writer).start,
            end: Some(self.keys().receipts_from(writer_after(writer)).start),
        };
        let options = ScanOptions::limit(1).backward().snapshot();
        let last = transaction.scan(range, options).await?.rows;
        let last = last.first().map(|(key, _)| segment_of(key, "receipt"));
        let last = last.transpose()?.map(|segment| segment.sequence);
        Ok(known.max(last.unwrap_or_default()))
    }

    pub(super) async fn row(
        &self,
        transaction: &mut dyn Transaction,
        writer: Incarnation,
    ) -> Result<OrphansRow, Failed> {
        let key = self.keys().orphans(writer);
        let value = transaction.get(&key, ReadMode::Serializable).await?;
        let row = value.map(OrphansRow::decode).transpose();
        Ok(row.map_err(|error| damaged(&error))?.unwrap_or_default())
    }

    /// Raises the counter over writers of which nothing is left to look at, and deletes what is kept of them.
    async fn raise(
        &self,
        transaction: &mut dyn Transaction,
        before: u64,
        oldest_live: u64,
    ) -> Result<u64, Failed> {
        let mut searched = before;
        for _ in 0..WRITERS {
            let next = searched.saturating_add(1);
            if next >= oldest_live {
                break;
            }
            let writer = Incarnation::new(next);
            if self.row(transaction, writer).await?.is_done() {
                transaction.delete(self.keys().orphans(writer));
                transaction.delete(self.keys().ended_writer(writer));
                searched = next;
            } else if oldest_live - next > SKIPPED {
                let known = self.next_known(transaction, writer).await?;
                let known = known.map_or(oldest_live, |known| known.get().min(oldest_live));
                if known == next {
                    break;
                }
                searched = known.saturating_sub(1).max(searched);
            } else {
                break;
            }
        }
        if searched > before {
            let key = self.keys().counter(Counter::SearchedIncarnation);
            transaction.put(key, NumberRow(searched).encode());
        }
        Ok(searched)
    }

    /// The first writer from one on of which there are rows.
    async fn next_known(
        &self,
        transaction: &mut dyn Transaction,
        from: Incarnation,
    ) -> Result<Option<Incarnation>, Failed> {
        let keys = self.keys();
        let first = SegmentName::new(from, SegmentSequence::default());
        let starts = [
            (KeyKind::LiveBytes, keys.live_bytes_of(first).start),
            (KeyKind::Receipt, keys.receipts_from(from).start),
            (KeyKind::EndedWriter, keys.ended_writer(from)),
        ];
        let mut known: Option<Incarnation> = None;
        for (kind, start) in starts {
            let end = keys.all(kind).end;
            let options = ScanOptions::limit(1).snapshot();
            let page = transaction.scan(KeyRange { start, end }, options).await?;
            let found = page.rows.first().and_then(|(key, _)| writer_of(key));
            known = known.into_iter().chain(found).min();
        }
        Ok(known)
    }
}

fn writer_after(writer: Incarnation) -> Incarnation {
    Incarnation::new(writer.get().saturating_add(1))
}

/// The incarnation with which the rest of a key begins.
fn writer_of(key: &Bytes) -> Option<Incarnation> {
    let number = key.get(6..14)?.try_into().ok()?;
    Some(Incarnation::new(u64::from_be_bytes(number)))
}

fn segment_of(key: &[u8], kind: &'static str) -> Result<SegmentName, Failed> {
    Keyspace::receipt_segment(key).ok_or(damaged(&RowError {
        kind,
        what: "its key is too short",
    }))
}

/// Numbers that are missing, as they are counted up.
struct Names {
    next: u64,
    missing: Vec<SegmentSequence>,
}

impl Names {
    fn from(below: SegmentSequence) -> Self {
        Self {
            next: below.get().max(1),
            missing: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.missing.len() >= DELETIONS_MAX
    }

    /// All up to one are missing. Whether there was room for them.
    fn up_to(&mut self, end: SegmentSequence) -> bool {
        while self.next < end.get() && !self.is_full() {
            self.missing.push(SegmentSequence::new(self.next));
            self.next += 1;
        }
        self.next >= end.get()
    }
}
