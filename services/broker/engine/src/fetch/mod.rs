//! The read path: from (partition, offset) to record batches with their offsets in place.

mod ahead;
mod batches;
mod budget;
mod extents;
mod pieces;
mod reads;
mod times;
mod watermarks;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use thiserror::Error;
use tidelog_cache::{PAGE_BYTES, PageKey, Pool};
use tidelog_env::Env;
use tidelog_format::batch::{HEADER_BYTES, patched_head};
use tidelog_metadata_api::{
    Extent, Log, LogError, LookupAnswer, LookupRequest, Notice, NoticeStream, PartitionBounds,
};
use tidelog_types::{ErrorCode, Offset, OffsetRange, TopicPartition};

pub use batches::Batches;
pub use reads::ReadError;
pub use times::FoundOffset;

pub(crate) use reads::Reads;
pub(crate) use watermarks::Watermarks;

use crate::memory::{MemoryHold, MemoryShare};
use crate::metrics::FetchMetrics;
use crate::settings::FetchSettings;
use ahead::{Ahead, BYTES_AHEAD};
use batches::{BatchesBuilder, Pinned};
use extents::Extents;
use pieces::Pieces;
use reads::{batch_at, pages_of};

/// An answer of fewer bytes is copied: it is not worth the pages that it would keep.
const PINNED_BYTES_MIN: u64 = 64 * 1024;

/// What is wanted of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset wanted.
    pub offset: Offset,
    /// No more bytes than this, but for a first batch that is larger.
    pub bytes_max: u64,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The partitions. Each has its own answer, in the same order.
    pub partitions: Vec<FetchPartition>,
    /// No more bytes than this in all, but for a first batch that is larger.
    pub bytes_max: u64,
    /// Wait until there are so many bytes; with 0 or 1 any record will do, with 0 nothing is waited for.
    pub bytes_min: u64,
    /// But no longer than this.
    pub wait_max: Duration,
}

/// What was found in one partition.
#[derive(Clone, Debug)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// Its bounds.
    pub bounds: PartitionBounds,
    /// Whole batches, one behind the other, with their offsets. The first may begin before the offset
    /// that was asked for.
    pub batches: Batches,
    /// The offset after the last record here, or the one asked for.
    pub next_offset: Offset,
}

/// Why one partition has no answer. The others have theirs.
#[derive(Clone, Debug, Error)]
pub enum FetchError {
    /// The metadata service says no.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The bytes cannot be had.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FetchError {
    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Log(error) => error.code(),
            Self::Read(ReadError::Missing { .. } | ReadError::Damaged { .. }) => {
                ErrorCode::DataLoss
            }
            Self::Read(ReadError::Bucket { .. }) => ErrorCode::Unavailable,
            Self::Read(ReadError::Unsupported(_)) => ErrorCode::Unsupported,
        }
    }
}

/// What was found in one partition, or why nothing was.
pub type FoundPartition = Result<FetchedPartition, (TopicPartition, FetchError)>;

/// An answer. The memory it takes is held until it is dropped; what it keeps of pages, until the last piece
/// of them is dropped.
#[derive(Debug)]
pub struct Fetched {
    /// One per partition asked for, in the same order.
    pub partitions: Vec<FoundPartition>,
    hold: Option<MemoryHold>,
}

impl Fetched {
    /// What was found, and the memory of what was copied for it, to be held for as long as it is there.
    pub fn into_parts(self) -> (Vec<FoundPartition>, Option<MemoryHold>) {
        (self.partitions, self.hold)
    }

    /// Bytes of batches in all.
    pub fn bytes(&self) -> u64 {
        self.partitions
            .iter()
            .flatten()
            .map(|found| found.batches.len() as u64)
            .sum()
    }

    /// The bounds that this answer has seen.
    fn ends(&self) -> Vec<(TopicPartition, PartitionBounds)> {
        let found = self.partitions.iter().flatten();
        found.map(|found| (found.partition, found.bounds)).collect()
    }

    /// Whether a partition has an error.
    fn has_error(&self) -> bool {
        self.partitions.iter().any(Result::is_err)
    }
}

/// What is to be read of one partition.
#[derive(Debug)]
struct Plan {
    wanted: FetchPartition,
    bounds: PartitionBounds,
    extents: Vec<Extent>,
    bytes_max: u64,
    /// Whose pages these are: those who read old data do not evict the tail.
    pool: Pool,
}

/// A plan, or why there is none.
type Planned = Result<Plan, (TopicPartition, FetchError)>;

/// Serves reads. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    env: Env,
    log: Arc<dyn Log>,
    reads: Reads,
    extents: Extents,
    watermarks: Watermarks,
    /// For answers that are copies.
    memory: MemoryShare,
    /// For pages that answers are parts of.
    pages_kept: MemoryShare,
    settings: FetchSettings,
    metrics: FetchMetrics,
    turn: Arc<AtomicUsize>,
}

impl Fetcher {
    /// Starts to listen to news.
    pub(crate) fn start(
        env: Env,
        log: Arc<dyn Log>,
        reads: Reads,
        settings: FetchSettings,
        metrics: FetchMetrics,
    ) -> Self {
        let watermarks = reads.watermarks.clone();
        let extents = Extents::new(
            Arc::clone(&log),
            settings.cached_extents,
            watermarks.clone(),
            metrics.clone(),
        );
        let fetcher = Self {
            memory: settings.copies(),
            pages_kept: settings.pages_kept(),
            env,
            reads,
            extents,
            watermarks,
            settings,
            metrics,
            turn: Arc::new(AtomicUsize::new(0)),
            log,
        };
        let news = fetcher.log.subscribe();
        let listener = fetcher.clone();
        drop(
            fetcher
                .env
                .supervisor
                .spawn("commit news", listener.listen(news)),
        );
        fetcher
    }

    // ----- news -----------------------------------------------------------------------------------

    async fn listen(self, mut news: NoticeStream) {
        let ended = self.env.supervisor.token();
        loop {
            let notice = tokio::select! {
                biased;
                notice = news.next() => notice,
                () = ended.cancelled() => None,
            };
            match notice {
                Some(Notice::Commit(commit)) => {
                    for advance in &commit.advances {
                        self.on_advance(advance);
                    }
                }
                Some(Notice::Missed) => self.catch_up().await,
                Some(Notice::Topic(_)) => {}
                None => return,
            }
        }
    }

    fn on_advance(&self, advance: &tidelog_metadata_api::PartitionAdvance) {
        // Extents first: whoever the bounds wake shall find them.
        if self.watermarks.is_known(advance.partition) {
            for extent in &advance.extents {
                self.extents.insert(advance.partition, extent.clone());
            }
            self.watermarks
                .raise_known(advance.partition, advance.bounds);
        }
    }

    /// Some news was missed: asks for the bounds of what is read here.
    async fn catch_up(&self) {
        for partition in self.watermarks.known() {
            if let Ok(bounds) = self.log.bounds(partition).await {
                self.watermarks.raise_known(partition, bounds);
            }
        }
    }

    // ----- fetching -------------------------------------------------------------------------------

    /// Answers a fetch, after waiting for records if it wants that.
    pub(crate) async fn fetch(&self, request: &FetchRequest) -> Fetched {
        self.metrics.fetches.inc();
        let wait = request.wait_max.min(self.settings.wait_max);
        let deadline = self.env.clock.now() + wait;
        let mut waited = false;
        loop {
            let fetched = self.fetch_now(request).await;
            let enough = fetched.bytes() >= request.bytes_min || fetched.has_error();
            if enough || self.env.clock.now() >= deadline {
                self.metrics.bytes.inc_by(fetched.bytes());
                return fetched;
            }
            if !waited {
                waited = true;
                self.metrics.waits.inc();
            }
            let ends = fetched.ends();
            drop(fetched);
            tokio::select! {
                () = self.news_beyond(ends) => {}
                () = self.env.clock.sleep_until(deadline) => {}
            }
        }
    }

    /// Ends when one of the partitions has grown beyond the bounds seen.
    async fn news_beyond(&self, ends: Vec<(TopicPartition, PartitionBounds)>) {
        let waits = ends.into_iter().map(|(partition, seen)| {
            let mut bounds = self.watermarks.subscribe(partition, seen);
            Box::pin(async move {
                // The sender lives in the map as long as there is a receiver.
                let grown = bounds.wait_for(|now| now.high_watermark > seen.high_watermark);
                if grown.await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            std::future::pending::<()>().await;
        }
        futures::future::select_all(waits).await;
    }

    async fn fetch_now(&self, request: &FetchRequest) -> Fetched {
        let mut plans = self.plan_all(&request.partitions, request.bytes_max).await;
        let ahead = Ahead::of(&plans);
        let bytes_max = request.bytes_max.min(self.settings.answer_bytes_max);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let total = budget::spend(&mut plans, bytes_max, turn);
        self.reads.fetch_ahead(ahead.beyond(&plans));
        let pinned = self.pinned(&plans, total);
        let hold = match &pinned {
            Some(_) => None,
            None => Some(self.memory.hold(total).await),
        };
        let reads = plans.into_iter().map(|plan| async {
            match plan {
                Ok(plan) => {
                    let partition = plan.wanted.partition;
                    let read = self.read(plan, pinned.clone()).await;
                    read.map_err(|error| (partition, error))
                }
                Err(error) => Err(error),
            }
        });
        let in_flight = self.settings.reads_in_flight.max(1);
        let partitions = futures::stream::iter(reads)
            .buffered(in_flight)
            .collect()
            .await;
        Fetched { partitions, hold }
    }

    /// Memory for all pages that an answer touches, if there is so much now: then it is made of parts of
    /// them, each of which keeps all of its page. Readers that are slow to take their answers use up this
    /// share, and cost the others no more than a copy.
    fn pinned(&self, plans: &[Planned], total: u64) -> Pinned {
        if total < PINNED_BYTES_MIN {
            return None;
        }
        let extents = plans.iter().flatten().flat_map(|plan| &plan.extents);
        let pages: HashSet<PageKey> = extents.flat_map(pages_of).collect();
        let bytes = pages.len() as u64 * u64::from(PAGE_BYTES);
        if bytes > self.pages_kept.free_bytes() {
            return None;
        }
        self.pages_kept.try_hold(bytes).ok().map(Arc::new)
    }

    async fn plan_all(&self, wanted: &[FetchPartition], bytes_max: u64) -> Vec<Planned> {
        let limit = bytes_max.min(self.settings.answer_bytes_max);
        let ahead = BYTES_AHEAD / (wanted.len() as u64).max(1);
        let request = |wanted: &FetchPartition| LookupRequest {
            partition: wanted.partition,
            offset: wanted.offset,
            bytes_max: wanted.bytes_max.min(limit).saturating_add(ahead),
            extents_max: self.settings.extents_max,
        };
        let requests: Vec<LookupRequest> = wanted.iter().map(request).collect();
        let answers = self.extents.find_all(&requests).await;
        let plans = wanted.iter().zip(answers).map(|(wanted, answer)| {
            let planned = answer.map_err(FetchError::from);
            let bytes_max = wanted.bytes_max.min(limit);
            let planned = planned.and_then(|answer| plan(*wanted, bytes_max, answer));
            planned.map_err(|error| (wanted.partition, error))
        });
        plans.collect()
    }

    /// Reads what was planned. An object that is gone was replaced: the extents are asked for again,
    /// once.
    async fn read(&self, plan: Plan, pinned: Pinned) -> Result<FetchedPartition, FetchError> {
        match self.read_extents(&plan, pinned.clone()).await {
            Err(ReadError::Missing { .. }) => {
                let partition = plan.wanted.partition;
                self.extents.forget(partition, &plan.extents);
                let again = self.plan_all(&[plan.wanted], plan.bytes_max).await.pop();
                let mut again = [again.unwrap_or(Err((partition, LogError::Behind.into())))];
                budget::spend(&mut again, plan.bytes_max, 0);
                let [again] = again;
                let again = again.map_err(|(_, error)| error)?;
                let found = self.read_extents(&again, pinned).await;
                if let Err(error @ ReadError::Missing { .. }) = &found {
                    tracing::error!(error = error as &dyn std::error::Error, "missing object");
                }
                Ok(found?)
            }
            found => Ok(found?),
        }
    }

    async fn read_extents(
        &self,
        plan: &Plan,
        pinned: Pinned,
    ) -> Result<FetchedPartition, ReadError> {
        let partition = plan.wanted.partition;
        let mut batches = BatchesBuilder::new(pinned);
        let mut next_offset = plan.wanted.offset;
        for extent in &plan.extents {
            let room = plan.bytes_max.saturating_sub(batches.len() as u64);
            if room == 0 && !batches.is_empty() {
                break;
            }
            let pieces = match self.reads.extent(partition, extent, plan.pool).await {
                Ok(pieces) => pieces,
                // What was read before is an answer; the reader hears of the rest when it comes there.
                Err(_) if !batches.is_empty() => break,
                Err(error) => return Err(error),
            };
            next_offset =
                append_batches(&pieces, extent, next_offset, plan.bytes_max, &mut batches);
            // Nothing is passed over: what does not fit is where the reader goes on.
            if next_offset < extent.offsets.next {
                break;
            }
        }
        Ok(FetchedPartition {
            partition,
            bounds: plan.bounds,
            batches: batches.finish(),
            next_offset,
        })
    }
}

/// What is to be read where the log says the bytes are.
fn plan(wanted: FetchPartition, bytes_max: u64, answer: LookupAnswer) -> Result<Plan, FetchError> {
    let bounds = answer.bounds;
    if wanted.offset < bounds.log_start {
        let valid = OffsetRange {
            base: bounds.log_start,
            next: bounds.high_watermark,
        };
        let error = LogError::OffsetOutOfRange {
            offset: wanted.offset,
            valid,
        };
        return Err(error.into());
    }
    let end = answer.extents.last().map(|extent| extent.offsets.next);
    let catches_up = end.is_some_and(|end| end < bounds.high_watermark);
    Ok(Plan {
        wanted,
        bounds,
        extents: answer.extents,
        bytes_max,
        pool: if catches_up {
            Pool::CatchUp
        } else {
            Pool::Tail
        },
    })
}

/// Appends the batches of an extent that hold `from` or later, with their offsets, while they fit; the
/// first one in any case. Returns the offset to go on from.
fn append_batches(
    pieces: &Pieces,
    extent: &Extent,
    from: Offset,
    bytes_max: u64,
    out: &mut BatchesBuilder,
) -> Offset {
    let mut base = extent.offsets.base;
    let mut next_wanted = from;
    let mut position = 0;
    while let Some((header, end)) = batch_at(pieces, position) {
        let next = Offset::new(base.get() + u64::from(header.offset_count()));
        if next > from {
            let size = (end - position) as u64;
            if !out.is_empty() && out.len() as u64 + size > bytes_max {
                return next_wanted;
            }
            if out.is_empty() {
                let left = (pieces.len() - position) as u64;
                // What is planned, and not what a header claims, sizes the allocation.
                out.expect(usize::try_from(left.min(bytes_max).max(size)).unwrap_or_default());
            }
            out.copy(&patched_head(&header, base));
            pieces.for_each(position + HEADER_BYTES, end, |page, part| {
                out.share(page, part);
            });
            next_wanted = next;
        }
        base = next;
        position = end;
    }
    next_wanted
}
