//! Answers to readers: from what is shown of a shard where that goes back far enough, else from pages of
//! the store by snapshot. Nothing here passes through the mailbox of a sequencer, save the proof of
//! ownership that a linearizable answer needs.
//!
//! What a former owner finds in its memory was true and stays true: extents never change, and the log start
//! only goes up, so that an offset below an old one is below the one that holds. What it does not find says
//! nothing, since the new owner may have it. So "beyond the end" and "no record is that late" need the proof
//! (rule C9): a reader that hears them goes elsewhere, past what it has not read.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tidelog_metadata_api::{
    Extent, LogError, LookupAnswer, LookupRequest, OffsetAnswer, OffsetQuery, PartitionBounds,
};
use tidelog_types::{Offset, OffsetRange, ShardId, Timestamp, TopicPartition};

use crate::ownership::NotHere;
use crate::sequencer::{PartitionView, Sequencer, ShardView, Shown};
use crate::service::Inner;

/// Partitions of one question that are looked up in the store at once.
const LOOKUPS_AT_ONCE: usize = 16;
/// How often a row is read anew since partitions were dropped from memory meanwhile.
const ROW_READS_MAX: usize = 16;
/// How long a lookup waits for the proof that the shard is still here. Those that were asked together with
/// it have their answers only then.
const PROOF_WAIT: Duration = Duration::from_secs(1);

/// What memory says to a lookup.
enum Looked {
    /// All there is to say.
    Answer(Result<LookupAnswer, LogError>),
    /// The offset lies beyond the end, unless another process owns the shard by now.
    Beyond(LogError),
    /// The extents are in pages.
    InPages(PartitionBounds),
}

impl Inner {
    /// Where the bytes of many partitions are.
    pub(crate) async fn locate(
        &self,
        requests: &[LookupRequest],
    ) -> Vec<Result<LookupAnswer, LogError>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut misses = Vec::new();
        for (at, request) in requests.iter().enumerate() {
            let answer = self.locate_in_memory(request);
            if answer.is_none() {
                let miss = async move { (at, self.locate_one(request).await) };
                misses.push(miss.boxed());
            }
            answers.push(answer);
        }
        let mut found = futures::stream::iter(misses).buffer_unordered(LOOKUPS_AT_ONCE);
        while let Some((at, answer)) = found.next().await {
            answers[at] = Some(answer);
        }
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or(Err(LogError::Behind)))
            .collect()
    }

    /// The answer that needs no wait, if there is one.
    fn locate_in_memory(&self, request: &LookupRequest) -> Option<Result<LookupAnswer, LogError>> {
        let shard = self.partition_shards.known(&request.partition)?;
        let sequencer = self.shards.get(shard).ok()?;
        match look(&sequencer.view().read(), request)? {
            Looked::Answer(answer) => Some(answer),
            Looked::Beyond(_) | Looked::InPages(_) => None,
        }
    }

    /// What is looked up in pages may be deleted meanwhile: then the log start has gone up, and it is looked again.
    async fn locate_one(&self, request: &LookupRequest) -> Result<LookupAnswer, LogError> {
        let located = self.try_locate_one(request).await;
        match located {
            Err(LogError::Behind) => self.try_locate_one(request).await,
            located => located,
        }
    }

    async fn try_locate_one(&self, request: &LookupRequest) -> Result<LookupAnswer, LogError> {
        let partition = request.partition;
        let shard = self.shard(partition).await?;
        let sequencer = match self.shards.get(shard) {
            Ok(sequencer) => sequencer,
            Err(reason) => return self.locate_elsewhere(shard, request, reason).await,
        };
        let mut looked = self.look(&sequencer, request).await?;
        if matches!(looked, Looked::Beyond(_)) {
            sequencer.barrier_within(PROOF_WAIT).await?;
            looked = self.look(&sequencer, request).await?;
        }
        let bounds = match looked {
            Looked::Answer(answer) => return answer,
            Looked::Beyond(error) => return Err(error),
            Looked::InPages(bounds) => bounds,
        };
        self.metrics.history_reads.inc();
        let (offset, bytes_max) = (request.offset, request.bytes_max);
        let extents = self
            .history
            .extents(partition, offset, bytes_max, request.extents_max)
            .await?;
        Ok(LookupAnswer { bounds, extents })
    }

    /// Looks a request up in memory, with the row of the partition if it is not there.
    async fn look(
        &self,
        sequencer: &Sequencer,
        request: &LookupRequest,
    ) -> Result<Looked, LogError> {
        if let Some(looked) = look(&sequencer.view().read(), request) {
            return Ok(looked);
        }
        let shown = self.shown(sequencer, request.partition).await?;
        // It may be there by now, with extents that are in no page yet.
        let looked = look(&sequencer.view().read(), request);
        let looked = looked.or_else(|| judge(&shown, request));
        Ok(looked.unwrap_or(Looked::InPages(shown.bounds)))
    }

    /// Where the bytes of a partition are whose shard is not here: from its row and pages, if they have the
    /// offset. So history can be read whoever owns the shard, and while nobody does.
    ///
    /// The bounds are those of the last checkpoint: durable, and perhaps lower than what its owner has
    /// shown. Whoever shows bounds keeps the highest.
    async fn locate_elsewhere(
        &self,
        shard: ShardId,
        request: &LookupRequest,
        reason: NotHere,
    ) -> Result<LookupAnswer, LogError> {
        let partition = request.partition;
        let row = self.history.checkpointed(shard, partition).await?;
        let known = row.filter(|row| {
            let log = OffsetRange {
                base: row.log_start,
                next: row.next,
            };
            request.extents_max > 0 && log.contains(request.offset)
        });
        let Some(row) = known else {
            return Err(reason.into());
        };
        self.metrics.history_reads.inc();
        let (offset, bytes_max) = (request.offset, request.bytes_max);
        let extents = self
            .history
            .extents(partition, offset, bytes_max, request.extents_max);
        let mut extents = extents.await?;
        // A checkpoint that is being written now has pages that its rows do not tell of yet.
        extents.retain(|extent| extent.offsets.next <= row.next);
        let bounds = PartitionView::new(&row).bounds();
        Ok(LookupAnswer { bounds, extents })
    }

    /// What is shown of a partition. One that is not in memory is read from its row, which is then all
    /// that is known of it.
    pub(crate) async fn shown(
        &self,
        sequencer: &Sequencer,
        partition: TopicPartition,
    ) -> Result<Shown, LogError> {
        for _ in 0..ROW_READS_MAX {
            let (generation, shown) = {
                let view = sequencer.view().read();
                (
                    view.generation,
                    view.partition(partition).map(PartitionView::shown),
                )
            };
            if let Some(shown) = shown {
                return Ok(shown);
            }
            let row = self.history.partition(partition).await?;
            let mut view = sequencer.view().write();
            if let Some(now) = view.partition(partition) {
                return Ok(now.shown());
            }
            if view.generation == generation {
                view.show_row(partition, &row, self.partitions_in_memory);
                return Ok(PartitionView::new(&row).shown());
            }
            // It may have been here and gone between the two looks, and the row with it.
        }
        Err(LogError::Behind)
    }

    /// Resolves an offset.
    pub(crate) async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        let sequencer = self.sequencer(partition).await?;
        if matches!(query, OffsetQuery::Latest | OffsetQuery::LastStable) {
            sequencer.barrier().await?;
        }
        let answer = self.offset_here(&sequencer, partition, query).await?;
        if answer != OffsetAnswer::None {
            return Ok(answer);
        }
        // Perhaps another process has it.
        sequencer.barrier().await?;
        self.offset_here(&sequencer, partition, query).await
    }

    /// What is known here of an offset. As for lookups, pages may go meanwhile.
    async fn offset_here(
        &self,
        sequencer: &Sequencer,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        let answer = self.try_offset_here(sequencer, partition, query).await;
        match answer {
            Err(LogError::Behind) => self.try_offset_here(sequencer, partition, query).await,
            answer => answer,
        }
    }

    async fn try_offset_here(
        &self,
        sequencer: &Sequencer,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        let shown = self.shown(sequencer, partition).await?;
        let found = match query {
            OffsetQuery::Earliest => return Ok(OffsetAnswer::Offset(shown.bounds.log_start)),
            OffsetQuery::Latest => return Ok(OffsetAnswer::Offset(shown.bounds.high_watermark)),
            OffsetQuery::LastStable => return Ok(OffsetAnswer::Offset(shown.bounds.last_stable)),
            OffsetQuery::AtTime(time) => self.at_time(sequencer, partition, shown, time).await?,
            OffsetQuery::MaxTimestamp => self.at_max_timestamp(sequencer, partition, shown).await?,
        };
        Ok(found.map_or(OffsetAnswer::None, OffsetAnswer::Within))
    }

    /// Memory is asked first, and then the pages before the window as it was at that moment: so nothing
    /// is between the two, although the window moves on.
    async fn at_time(
        &self,
        sequencer: &Sequencer,
        partition: TopicPartition,
        shown: Shown,
        time: Timestamp,
    ) -> Result<Option<Extent>, LogError> {
        let (shown, recent) = in_memory(sequencer, partition, shown, |view| view.at_time(time));
        let old = before_window(&shown);
        if old.base < old.next && shown.max_before >= time {
            self.metrics.history_reads.inc();
            let found = self.history.at_time(partition, old, time).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(recent)
    }

    async fn at_max_timestamp(
        &self,
        sequencer: &Sequencer,
        partition: TopicPartition,
        shown: Shown,
    ) -> Result<Option<Extent>, LogError> {
        let (shown, recent) =
            in_memory(sequencer, partition, shown, PartitionView::at_max_timestamp);
        let old = before_window(&shown);
        let is_later = |extent: &Extent| extent.max_timestamp > shown.max_before;
        if old.base >= old.next || recent.as_ref().is_some_and(is_later) {
            return Ok(recent);
        }
        self.metrics.history_reads.inc();
        let largest = shown.max_before;
        let found = self.history.at_time(partition, old, largest).await?;
        if let Some(found) = found.filter(|extent| extent.max_timestamp == largest) {
            return Ok(Some(found));
        }
        // The largest of all lies before the log start: it is not known where the largest that is left is.
        let old = self.history.at_max_timestamp(partition, old).await?;
        Ok(match (old, recent) {
            (Some(old), Some(recent)) if recent.max_timestamp > old.max_timestamp => Some(recent),
            (old, recent) => old.or(recent),
        })
    }
}

/// Looks a request up in memory; nothing if the partition is not there.
fn look(view: &ShardView, request: &LookupRequest) -> Option<Looked> {
    let partition = view.partition(request.partition)?;
    let shown = partition.shown();
    if let Some(looked) = judge(&shown, request) {
        return Some(looked);
    }
    let bounds = shown.bounds;
    if request.offset < shown.window_base {
        return Some(Looked::InPages(bounds));
    }
    let extents = partition.extents(request.offset, request.bytes_max, request.extents_max);
    Some(Looked::Answer(Ok(LookupAnswer { bounds, extents })))
}

/// What there is to say to a request that needs no extents.
fn judge(shown: &Shown, request: &LookupRequest) -> Option<Looked> {
    let bounds = shown.bounds;
    if request.extents_max == 0 || request.offset == bounds.high_watermark {
        let extents = Vec::new();
        return Some(Looked::Answer(Ok(LookupAnswer { bounds, extents })));
    }
    let valid = OffsetRange {
        base: bounds.log_start,
        next: bounds.high_watermark,
    };
    if valid.contains(request.offset) {
        return None;
    }
    let offset = request.offset;
    let error = LogError::OffsetOutOfRange { offset, valid };
    Some(if offset > bounds.high_watermark {
        Looked::Beyond(error)
    } else {
        Looked::Answer(Err(error))
    })
}

/// What memory finds, and where its window began at that moment.
fn in_memory(
    sequencer: &Sequencer,
    partition: TopicPartition,
    shown: Shown,
    find: impl FnOnce(&PartitionView) -> Option<Extent>,
) -> (Shown, Option<Extent>) {
    let view = sequencer.view().read();
    match view.partition(partition) {
        Some(view) => (view.shown(), find(view)),
        None => (shown, None),
    }
}

/// The offsets that are in the log and not in memory.
fn before_window(shown: &Shown) -> OffsetRange {
    OffsetRange {
        base: shown.bounds.log_start,
        next: shown.window_base.max(Offset::ZERO),
    }
}
