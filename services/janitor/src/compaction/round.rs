//! One task of compaction, in rounds: each goes through the dirty part as far as there is room for its keys, and then
//! through the log up to there.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_env::MonoTime;
use tidelog_format::batch::DecodeLimit;
use tidelog_format::location::Location;
use tidelog_format::segment::{MergedWriter, NewSlice};
use tidelog_metadata_api::{
    Compacted, CompactionTask, Extent, MergeRun, MergeTask, REPLACED_EXTENTS_MAX, SwapOutcome,
};
use tidelog_types::{Offset, OffsetRange};

use super::clean::{Aborted, Cleaner, Terms, note_keys};
use super::failure::Failure;
use super::keys::Keys;
use super::worker::Compactor;
use crate::merge;

/// Extents that are read at once.
const EXTENTS: usize = 512;
/// Extents of one run, beside those of one read: what is swapped at once.
const RUN_EXTENTS: usize = REPLACED_EXTENTS_MAX / 8;
/// While nothing is put in place, the owner hears of us this often: several times before it takes the task back.
const HELD_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// What is to be put in place of some extents.
#[derive(Debug, Default)]
struct Run {
    old: Vec<Extent>,
    bytes: u64,
}

impl Compactor {
    /// Does a task. What it ends with before its time is done anew by whoever gets the task next.
    pub(super) async fn task(&self, task: &CompactionTask) -> Result<(), Failure> {
        let mut cleaned = task.cleaned;
        loop {
            let (keys, end) = self.keys(task, cleaned).await?;
            let compacted = self.clean(task, keys, end).await?;
            let is_last = end >= task.end;
            let (id, compactions) = (task.id, &self.parts.compactions);
            let noted = compactions.compacted(id, compacted, is_last);
            noted.await?;
            if is_last {
                return Ok(());
            }
            cleaned = end;
        }
    }

    /// Takes note of the keys from an offset on; answers up to which offset there was room for them.
    async fn keys(
        &self,
        task: &CompactionTask,
        cleaned: Offset,
    ) -> Result<(Keys, Offset), Failure> {
        let settings = self.parts.settings;
        let secret = self.worker.parts.env.rng.bytes_16();
        let log_start = self.parts.history.log_start(task.partition).await?;
        let mut at = cleaned.max(log_start);
        let dirty = OffsetRange {
            base: at,
            next: task.end.max(at),
        };
        let most = task.end.get().saturating_sub(at.get());
        let mut keys = Keys::new(secret, most, settings.keys_bytes());
        let limit = DecodeLimit::bytes(settings.batch_bytes());
        let mut held_at = self.now();
        while at < task.end {
            self.hold(task, &mut held_at).await?;
            let extents = self.extents(task, at, task.end).await?;
            let next = next_of(&extents, at)?;
            let aborted = self.aborted(task, &extents).await?;
            let bytes = self.read(task, &extents).await?;
            let noting = move || {
                for bytes in bytes {
                    if let Some(full) = note_keys(&mut keys, bytes, dirty, &aborted, limit)? {
                        return Ok((keys, Some(full)));
                    }
                }
                Ok((keys, None))
            };
            let supervisor = &self.worker.parts.env.supervisor;
            let noted = supervisor.run_blocking("note keys to compact", noting);
            let noted: Result<_, Failure> = noted.await.unwrap_or(Err(Failure::Panicked));
            let (back, full) = noted?;
            keys = back;
            if let Some(full) = full {
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
    ) -> Result<Compacted, Failure> {
        let settings = self.parts.settings;
        let terms = Terms {
            end,
            now: self.worker.parts.env.clock.wall(),
            tombstones_millis: task.tombstones_millis,
            limit: DecodeLimit::bytes(settings.batch_bytes()),
        };
        let log_start = self.parts.history.log_start(task.partition).await?;
        let mut at = task.start.max(log_start);
        let mut cleaner = Cleaner::new(keys, terms);
        let mut run = Run::default();
        let mut bytes_out = 0;
        let mut held_at = self.now();
        while at < end {
            self.hold(task, &mut held_at).await?;
            let extents = self.extents(task, at, end).await?;
            let next = next_of(&extents, at)?;
            let aborted = self.aborted(task, &extents).await?;
            let bytes = self.read(task, &extents).await?;
            let cleaning = move || {
                for bytes in bytes {
                    cleaner.take(bytes, &aborted)?;
                }
                Ok(cleaner)
            };
            let supervisor = &self.worker.parts.env.supervisor;
            let done = supervisor.run_blocking("compact records", cleaning);
            let done: Result<_, Failure> = done.await.unwrap_or(Err(Failure::Panicked));
            cleaner = done?;
            run.bytes += extents
                .iter()
                .map(|extent| u64::from(extent.byte_count()))
                .sum::<u64>();
            run.old.extend(extents);
            at = next;
            let is_full =
                cleaner.len() as u64 >= settings.segment_bytes() || run.old.len() >= RUN_EXTENTS;
            if is_full || at >= end {
                bytes_out += self
                    .put(task, &mut cleaner, std::mem::take(&mut run))
                    .await?;
            }
        }
        self.parts
            .metrics
            .records_in
            .inc_by(cleaner.counts.records_in);
        self.parts
            .metrics
            .records_out
            .inc_by(cleaner.counts.records_out);
        Ok(Compacted {
            cleaned: end,
            bytes: bytes_out,
            tombstones_until: cleaner.tombstones_until,
        })
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
        let bytes_max = self.parts.settings.read_bytes();
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

    fn now(&self) -> MonoTime {
        self.worker.parts.env.clock.now()
    }

    /// Has the owner keep the task for us.
    async fn hold(&self, task: &CompactionTask, held_at: &mut MonoTime) -> Result<(), Failure> {
        let now = self.now();
        if now.saturating_since(*held_at) < HELD_EVERY {
            return Ok(());
        }
        *held_at = now;
        let compactions = &self.parts.compactions;
        let hold = || compactions.hold_compaction(task.id, None);
        Ok(self.worker.patiently(hold).await?)
    }
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
