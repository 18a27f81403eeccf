//! Dying segments: which of them are dead, and since when.

use std::collections::HashMap;

use bytes::Bytes;
use tidelog_metadata_api::{DeadSegment, LogError};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Transaction, transact};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use super::{Deletion, Failed, Rest, Step, damaged, earliest, failed};
use crate::catalogue::RETRY;
use crate::keyspace::{Counter, DyingRow, FloorRow, Keyspace, LiveBytesRow, RowError};

/// Dying rows that one step looks at.
pub(super) const ROWS: usize = 100;
/// Shards that a segment has rows of, at most: as many as a cluster may have.
const SHARDS: usize = 1_024;

/// What all shards together say of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Live {
    pub(super) bytes: u64,
    pub(super) committed: u64,
}

/// Which commits may still come.
struct Takes {
    oldest_live: u64,
    floors: HashMap<Incarnation, SegmentSequence>,
}

impl Deletion {
    /// Looks at some dying rows.
    pub(super) async fn dying(&self, range: KeyRange) -> Result<Step, LogError> {
        let (store, env) = (self.parts.store.as_ref(), &self.parts.env);
        let step = transact(store, env, RETRY, |mut transaction| {
            let range = range.clone();
            async move {
                let mut step = Step::default();
                if !self.may_go(transaction.as_mut()).await? {
                    step.is_blocked = true;
                    return Ok((transaction, step));
                }
                let oldest_live = self
                    .number(transaction.as_mut(), Counter::OldestLiveIncarnation)
                    .await?;
                let mut takes = Takes {
                    oldest_live,
                    floors: HashMap::new(),
                };
                let options = ScanOptions::limit(ROWS).snapshot();
                let page = transaction.scan(range.clone(), options).await?;
                step.rest = page.next(&range, options.direction).map(Rest::Dying);
                for (key, value) in page.rows {
                    self.look(transaction.as_mut(), &mut takes, &mut step, (key, value))
                        .await?;
                }
                Ok((transaction, step))
            }
        });
        step.await.map_err(failed)
    }

    async fn look(
        &self,
        transaction: &mut dyn Transaction,
        takes: &mut Takes,
        step: &mut Step,
        (key, value): (Bytes, Bytes),
    ) -> Result<(), Failed> {
        let row = DyingRow::decode(value);
        let named = Keyspace::receipt_segment(&key);
        let (Some(segment), Ok(row)) = (named, row) else {
            self.pass_over("a dying row is damaged");
            return Ok(());
        };
        step.in_store += u32::from(row.in_store);
        if let Some(dead_since) = row.dead_since
            && let Err(due) = self.is_over(dead_since)
        {
            // Nothing is looked at that changes nothing yet.
            step.oldest = Some(earliest(step.oldest, dead_since));
            step.due = Some(earliest(step.due, due));
            return Ok(());
        }
        let Ok(live) = self.live(transaction, segment).await? else {
            self.pass_over("live bytes of a dying segment are damaged");
            return Ok(());
        };
        if live.bytes > 0 {
            // The shard that has them writes the row again when they go. Its row was read serializably, so that this
            // conflicts if that happens now.
            transaction.delete(key);
            return Ok(());
        }
        let Some(dead_since) = row.dead_since else {
            if !self.may_come(transaction, takes, segment).await? {
                let now = self.now();
                // No commit can come, and so no such row.
                let inline = self.keys().inline(segment);
                let inline = transaction.get(&inline, ReadMode::Snapshot).await?;
                let dead = DyingRow {
                    dead_since: Some(now),
                    in_store: inline.is_some(),
                };
                step.in_store += u32::from(dead.in_store);
                transaction.put(key, dead.encode());
                step.oldest = Some(earliest(step.oldest, now));
                step.due = self.is_over(now).err().into_iter().chain(step.due).min();
            }
            return Ok(());
        };
        step.oldest = Some(earliest(step.oldest, dead_since));
        step.found.dead.push(DeadSegment {
            segment,
            dead_since,
            bytes: live.committed,
            in_store: row.in_store,
        });
        Ok(())
    }

    /// What is damaged stays as it is, which costs storage and nothing else.
    fn pass_over(&self, what: &'static str) {
        self.parts.metrics.failures.inc();
        tracing::warn!("{what}, and is passed over");
    }

    /// The live bytes of all shards. Read serializably: what is decided by them conflicts with a change.
    pub(super) async fn live(
        &self,
        transaction: &mut dyn Transaction,
        segment: SegmentName,
    ) -> Result<Result<Live, RowError>, Failed> {
        let range = self.keys().live_bytes_of(segment);
        let page = transaction.scan(range, ScanOptions::limit(SHARDS)).await?;
        let mut live = Live::default();
        for (_, value) in page.rows {
            match LiveBytesRow::decode(value) {
                Ok(row) => {
                    live.bytes = live.bytes.saturating_add(row.bytes);
                    live.committed = live.committed.saturating_add(row.committed);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(live))
    }

    /// Whether a commit of a segment may still come, from any shard (rules C5, C6).
    async fn may_come(
        &self,
        transaction: &mut dyn Transaction,
        takes: &mut Takes,
        segment: SegmentName,
    ) -> Result<bool, Failed> {
        let writer = segment.incarnation;
        if writer.get() < takes.oldest_live {
            return Ok(false);
        }
        if let Some(floor) = takes.floors.get(&writer) {
            return Ok(segment.sequence >= *floor);
        }
        let floor = self.floor(transaction, writer).await?;
        takes.floors.insert(writer, floor);
        Ok(segment.sequence >= floor)
    }

    pub(super) async fn floor(
        &self,
        transaction: &mut dyn Transaction,
        writer: Incarnation,
    ) -> Result<SegmentSequence, Failed> {
        let key = self.keys().floor(writer);
        let value = transaction.get(&key, ReadMode::Serializable).await?;
        let row = value.map(FloorRow::decode).transpose();
        let row = row.map_err(|error| damaged(&error))?;
        Ok(row.map(|row| row.floor).unwrap_or_default())
    }
}
