//! One task of compaction, in rounds: each goes through the dirty part as far as there is room for its keys, and then
//! through the log up to there.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_env::error_chain;
use tidelog_format::location::Location;
use tidelog_format::segment::{MergedWriter, NewSlice};
use tidelog_metadata_api::{
    Compacted, CompactionTask, Extent, MergeRun, MergeTask, REPLACED_EXTENTS_MAX, SwapOutcome,
};
use tidelog_types::limits::MERGED_EXTENT_BYTES;
use tidelog_types::{Offset, OffsetRange, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use super::clean::{Aborted, Cleaner, Noted, Terms, note_keys};
use super::failure::Failure;
use super::keys::Keys;
use super::settings::Room;
use super::worker::Compactor;
use crate::merge;

/// Extents that are read at once.
const EXTENTS: usize = 512;
/// Extents of one run, beside those of one read: what is swapped at once.
const RUN_EXTENTS: usize = REPLACED_EXTENTS_MAX / 8;
/// A run of so many times as many extents as there need be is written anew although nothing of it has gone.
const SCATTERED: u64 = 8;

/// What is to be put in place of some extents.
#[derive(Debug, Default)]
struct Run {
    old: Vec<Extent>,
    bytes: u64,
    /// When the records of its first extent are from.
    time: Option<Timestamp>,
    /// The memory for what is read and what is to be written.
    memory: Option<OwnedSemaphorePermit>,
}

impl Run {
    /// How many of the extents that follow may become one with these, being of one part of the time: records of a longer one
    /// would be kept for as long as the youngest of them.
    fn fitting(&self, extents: &[Extent], span_millis: Option<i64>) -> usize {
        let Some(most) = span_millis else {
            return extents.len();
        };
        let first = self.time.or_else(|| Some(extents.first()?.max_timestamp));
        let first = first.map(|time| time.part(most));
        let fits = |extent: &&Extent| Some(extent.max_timestamp.part(most)) == first;
        extents.iter().take_while(fits).count()
    }

    fn push(&mut self, extents: Vec<Extent>) {
        for extent in &extents {
            self.time.get_or_insert(extent.max_timestamp);
            self.bytes += u64::from(extent.byte_count());
        }
        self.old.extend(extents);
    }

    /// Whether it would be far fewer extents.
    fn is_scattered(&self) -> bool {
        let least = self.bytes.div_ceil(u64::from(MERGED_EXTENT_BYTES)).max(1);
        self.old.len() as u64 >= SCATTERED * least
    }
}

impl Compactor {
    /// Does a task. What it ends with before its time is done anew by whoever gets the task next.
    pub(super) async fn task(&self, task: &CompactionTask) -> Result<(), Failure> {
        let mut cleaned = task.cleaned;
        let mut unread = None;
        loop {
            let (keys, end) = self.keys(task, cleaned, &mut unread).await?;
            let compacted = self.clean(task, keys, end, unread).await?;
            unread = compacted.unread;
            let is_last = end >= task.end;
            let (id, compactions) = (task.id, &self.parts.compactions);
            let note = || compactions.compacted(id, compacted, is_last);
            self.worker.patiently(note).await.map_err(Failure::Owner)?;
            if is_last {
                return Ok(());
            }
            cleaned = end;
        }
    }

    /// Takes note of the keys from an offset on; answers up to which offset there was room for them. `unread` becomes the
    /// first batch of which none could be noted.
    async fn keys(
        &self,
        task: &CompactionTask,
        cleaned: Offset,
        unread: &mut Option<Offset>,
    ) -> Result<(Keys, Offset), Failure> {
        let secret = self.worker.parts.env.rng.bytes_16();
        let log_start = self.parts.history.log_start(task.partition).await?;
        let mut at = cleaned.max(log_start);
        let dirty = OffsetRange {
            base: at,
            next: task.end.max(at),
        };
        let most = task.end.get().saturating_sub(at.get());
        let mut keys = Keys::new(secret, most, self.parts.settings.memory_bytes);
        let room = self.room();
        let limit = room.limit();
        while at < task.end {
            let memory = self.worker.hold(room.noting_bytes()).await;
            let extents = self.extents(task, at, task.end).await?;
            let next = next_of(&extents, at)?;
            let aborted = self.aborted(task, &extents).await?;
            let bytes = self.read(task, &extents).await?;
            let noting = move || {
                let mut all = Noted::default();
                for bytes in bytes {
                    let noted = note_keys(&mut keys, bytes, dirty, &aborted, limit)?;
                    all.unread = all.unread.or(noted.unread);
                    all.full = noted.full;
                    if all.full.is_some() {
                        break;
                    }
                }
                Ok((keys, all))
            };
            let supervisor = &self.worker.parts.env.supervisor;
            let noted = supervisor.run_blocking("note keys to compact", noting);
            let noted: Result<_, Failure> = noted.await.unwrap_or(Err(Failure::Panicked));
            drop(memory);
            let (back, noted) = noted?;
            keys = back;
            *unread = first(*unread, noted.unread);
            if let Some(full) = noted.full {
                return Ok((keys, full));
            }
            at = next;
        }
        Ok((keys, task.end))
    }

    /// Goes through the log up to an offset, and puts what stays in the place of what was.
    async fn clean(
        &self,
        task: &CompactionTask,
        keys: Keys,
        end: Offset,
        unread: Option<Offset>,
    ) -> Result<Compacted, Failure> {
        let room = self.room();
        let limit = room.limit();
        let terms = Terms {
            end,
            now: task.now,
            later: task.now.max(self.worker.parts.env.clock.wall()),
            tombstones_millis: task.tombstones_millis,
            unread,
        };
        let log_start = self.parts.history.log_start(task.partition).await?;
        let mut at = task.start.max(log_start);
        let mut cleaner = Cleaner::new(keys, terms);
        let mut run = Run::default();
        let mut bytes_out = 0;
        while at < end {
            if run.memory.is_none() {
                run.memory = self.worker.hold(room.cleaning_bytes()).await;
            }
            let mut extents = self.extents(task, at, end).await?;
            let fitting = run.fitting(&extents, task.span_millis);
            let is_cut = fitting < extents.len();
            extents.truncate(fitting);
            if extents.is_empty() && !run.old.is_empty() {
                let run = std::mem::take(&mut run);
                bytes_out += self.put(task, &mut cleaner, run).await?;
                continue;
            }
            let next = next_of(&extents, at)?;
            let aborted = self.aborted(task, &extents).await?;
            let bytes = self.read(task, &extents).await?;
            let cleaning = move || {
                for bytes in bytes {
                    cleaner.take(bytes, &aborted, limit)?;
                }
                Ok(cleaner)
            };
            let supervisor = &self.worker.parts.env.supervisor;
            let done = supervisor.run_blocking("compact records", cleaning);
            let done: Result<_, Failure> = done.await.unwrap_or(Err(Failure::Panicked));
            cleaner = done?;
            run.push(extents);
            at = next;
            let is_full =
                cleaner.len() as u64 >= room.segment_bytes() || run.old.len() >= RUN_EXTENTS;
            if is_full || is_cut || at >= end {
                let run = std::mem::take(&mut run);
                bytes_out += self.put(task, &mut cleaner, run).await?;
            }
        }
        self.report(task, &cleaner);
        Ok(Compacted {
            cleaned: end,
            bytes: bytes_out,
            tombstones_until: cleaner.tombstones_until,
            unread: first(unread, cleaner.unread.as_ref().map(|(offset, _)| *offset)),
        })
    }

    fn report(&self, task: &CompactionTask, cleaner: &Cleaner) {
        let metrics = &self.parts.metrics;
        metrics.records_in.inc_by(cleaner.counts.records_in);
        metrics.records_out.inc_by(cleaner.counts.records_out);
        let unread = cleaner.counts.unread_batches;
        metrics.unread_batches.inc_by(unread);
        if let Some((offset, error)) = &cleaner.unread {
            tracing::warn!(
                partition = %task.partition, topic = %task.topic_name, offset = offset.get(), batches = unread,
                error = error_chain(error),
                "records cannot be compacted, and stay as they are; no tombstone behind them goes"
            );
        }
    }

    fn room(&self) -> Room {
        Room::new(self.worker.parts.settings.memory_bytes)
    }

    /// Puts a run in place, if anything of it has changed; answers the bytes that it has now.
    async fn put(
        &self,
        task: &CompactionTask,
        cleaner: &mut Cleaner,
        run: Run,
    ) -> Result<u64, Failure> {
        let metrics = &self.parts.metrics;
        metrics.bytes_in.inc_by(run.bytes);
        let (bytes, has_changed) = cleaner.cut();
        let has_changed = has_changed || run.is_scattered();
        let ends = run.old.first().zip(run.old.last());
        let (Some((first, last)), true) = (ends, has_changed) else {
            metrics.bytes_out.inc_by(run.bytes);
            return Ok(run.bytes);
        };
        let offsets = OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next,
        };
        let length = bytes.len() as u64;
        metrics.bytes_out.inc_by(length);
        let mut writer = MergedWriter::new(task.id.shard, task.committed_at);
        let slice = NewSlice {
            topic_id: task.topic_id,
            topic_name: task.topic_name.clone(),
            partition_count: task.partition_count,
            partition: task.partition,
            offsets,
        };
        let extents = writer.push(slice, &[bytes]).map_err(merge::Failure::from)?;
        let extents = extents.to_vec();
        let name = self.worker.store(task.bucket, &writer).await?;
        drop(writer);
        let new = extents.into_iter().map(|extent| Extent {
            offsets: extent.offsets,
            location: Location::Segment {
                bucket: task.bucket,
                segment: name.segment,
                position: extent.position,
                length: extent.length,
            },
            crc32c: Some(extent.crc32c),
            max_timestamp: extent.max_timestamp,
        });
        let new: Vec<Extent> = new.collect();
        let compactions = &self.parts.compactions;
        let replace = || compactions.replace(task.id, name.segment, run.old.clone(), new.clone());
        match self.worker.patiently(replace).await? {
            SwapOutcome::Swapped => Ok(length),
            SwapOutcome::Changed => Err(Failure::Changed),
        }
    }

    // ----- what is read -----------------------------------------------------------------------------

    /// Some extents, from the one on that has an offset; none begins at the end or behind it.
    async fn extents(
        &self,
        task: &CompactionTask,
        at: Offset,
        end: Offset,
    ) -> Result<Vec<Extent>, Failure> {
        let bytes_max = self.room().read_bytes();
        let history = &self.parts.history;
        let found = history.extents(task.partition, at, bytes_max, EXTENTS);
        let mut found = found.await?;
        found.retain(|extent| extent.offsets.base < end);
        Ok(found)
    }

    async fn aborted(&self, task: &CompactionTask, extents: &[Extent]) -> Result<Aborted, Failure> {
        let Some((first, last)) = extents.first().zip(extents.last()) else {
            return Ok(Aborted::default());
        };
        // Behind the end some may be open yet, and what they have stays.
        let offsets = OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next.min(task.end.max(first.offsets.base)),
        };
        let aborted = self.parts.history.aborted(task.partition, offsets).await?;
        Ok(Aborted::new(&aborted))
    }

    /// The bytes of extents, proven, with their offsets in them, markers made into batches.
    async fn read(&self, task: &CompactionTask, extents: &[Extent]) -> Result<Vec<Bytes>, Failure> {
        let run = MergeRun {
            topic_id: task.topic_id,
            topic_name: task.topic_name.clone(),
            partition_count: task.partition_count,
            partition: task.partition,
            extents: extents.to_vec(),
        };
        let bytes = extents.iter().map(|extent| u64::from(extent.byte_count()));
        let reading = Arc::new(MergeTask {
            sparse: Vec::new(),
            id: task.id,
            bucket: task.bucket,
            bytes: bytes.sum(),
            committed_at: task.committed_at,
            runs: vec![run],
        });
        let read = self.worker.read(&reading).await?;
        let proven = extents.iter().zip(read).map(|(extent, input)| {
            let offset = extent.offsets.base;
            if let Location::Marker(marker) = &extent.location {
                return Ok(marker.to_batch(offset, extent.max_timestamp));
            }
            match input {
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(fault)) => Err(Failure::Damaged {
                    offset,
                    reason: fault.to_string(),
                }),
                None => Err(Failure::Gap(offset)),
            }
        });
        proven.collect()
    }
}

/// The lower of two offsets, of which there may be none.
fn first(one: Option<Offset>, other: Option<Offset>) -> Option<Offset> {
    one.into_iter().chain(other).min()
}

/// The offset behind some extents, which must follow each other and have an offset among them.
fn next_of(extents: &[Extent], at: Offset) -> Result<Offset, Failure> {
    let first = extents.first().filter(|first| first.offsets.base <= at);
    let last = first.and(extents.last());
    let follow = extents.windows(2).all(|pair| match pair {
        [before, behind] => before.offsets.next == behind.offsets.base,
        _ => true,
    });
    let next = last.map(|last| last.offsets.next).filter(|next| *next > at);
    next.filter(|_| follow).ok_or(Failure::Gap(at))
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

    use super::*;

    fn extent(base: u64, time: i64, length: u32) -> Extent {
        Extent {
            offsets: OffsetRange {
                base: Offset::new(base),
                next: Offset::new(base + 1),
            },
            location: Location::Segment {
                bucket: BucketId::new(0),
                segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(base)),
                position: 0,
                length,
            },
            crc32c: None,
            max_timestamp: Timestamp::from_millis(time),
        }
    }

    #[test]
    fn a_run_is_of_records_that_go_at_about_the_same_time() {
        let times = [10, 15, 12, 20, 21, 40];
        let all: Vec<Extent> = (0..)
            .zip(times)
            .map(|(base, time)| extent(base, time, 9))
            .collect();
        let mut run = Run::default();
        assert_eq!(run.fitting(&all, None), 6);
        assert_eq!(run.fitting(&all, Some(10)), 3);
        run.push(all[..1].to_vec());
        assert_eq!(run.fitting(&all[1..], Some(10)), 2);
        assert_eq!(
            run.fitting(&all[3..], Some(10)),
            0,
            "parts of the time stay where they are"
        );
        assert_eq!(run.fitting(&all[5..], Some(10)), 0);
        assert_eq!(Run::default().fitting(&all[5..], Some(0)), 1, "it gets on");
    }

    #[test]
    fn a_run_of_far_more_extents_than_it_needs_is_scattered() {
        let run = |count: u64, length| {
            let mut run = Run::default();
            run.push((0..count).map(|base| extent(base, 1, length)).collect());
            run.is_scattered()
        };
        assert!(!run(7, 10) && run(8, 10));
        assert!(!run(8, 1 << 20) && !run(64, 1 << 18) && run(64, 1 << 17));
    }
}
