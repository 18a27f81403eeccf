//! The read path: from (partition, offset) to record batches with their offsets in place.

mod aborted;
mod ahead;
mod answer;
mod batches;
mod budget;
mod coming;
mod copies;
mod ends;
mod extents;
mod herd;
mod isolation;
mod news;
mod pieces;
mod plan;
mod reads;
mod request;
mod source;
mod tail;
mod times;
mod visible;
mod watermarks;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use tidelog_cache::{PAGE_BYTES, PageKey, Pool};
use tidelog_env::Env;
use tidelog_metadata_api::Log;

pub use batches::Batches;
pub use isolation::Isolation;
pub use reads::ReadError;
pub use request::{
    FetchError, FetchPartition, FetchRequest, Fetched, FetchedPartition, FoundPartition,
};
pub use times::FoundOffset;

pub(crate) use ends::Ends;
pub(crate) use herd::Herd;
pub(crate) use reads::Reads;
pub(crate) use watermarks::Watermarks;

use crate::decoding::Decoding;
use crate::memory::MemoryShare;
use crate::metrics::FetchMetrics;
use crate::settings::FetchSettings;
use aborted::Aborted;
use ahead::Ahead;
use batches::Pinned;
use coming::pages_ahead;
use copies::Copies;
use extents::Extents;
use plan::{Planned, pages_now, whole_bytes};

/// An answer of fewer bytes is copied: it is not worth the pages that it would keep.
const PINNED_BYTES_MIN: u64 = 64 * 1024;

/// Serves reads. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    env: Env,
    log: Arc<dyn Log>,
    reads: Reads,
    extents: Extents,
    aborted: Aborted,
    watermarks: Watermarks,
    copies: Copies,
    ahead: Arc<Ahead>,
    /// For pages that answers are parts of.
    pages_kept: MemoryShare,
    decoding: Decoding,
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
            Arc::clone(&env.clock),
            watermarks.clone(),
            metrics.clone(),
        );
        let fetcher = Self {
            aborted: Aborted::new(Arc::clone(&log), settings.aborted_bytes),
            copies: Copies::new(settings.memory_bytes),
            ahead: Arc::new(Ahead::new(reads.pages.pool_bytes(Pool::CatchUp))),
            pages_kept: settings.pages_kept(),
            decoding: Decoding::new(settings.decode_bytes, env.supervisor.clone()),
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

    pub(crate) const fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    /// Answers a fetch, after waiting for records if it wants that.
    pub(crate) async fn fetch(&self, request: &FetchRequest) -> Fetched {
        self.metrics.fetches.inc();
        let wait = request.wait_max.min(self.settings.wait_max);
        let deadline = self.env.clock.now() + wait;
        let mut waited = false;
        loop {
            let (fetched, has_more) = self.fetch_now(request).await;
            // What there was no room for does not become less by waiting.
            let enough = fetched.bytes() >= request.bytes_min || fetched.has_error() || has_more;
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
                () = self.news_beyond(ends, request.isolation) => {}
                () = self.env.clock.sleep_until(deadline) => {}
            }
        }
    }

    async fn fetch_now(&self, request: &FetchRequest) -> (Fetched, bool) {
        let (wanted, isolation) = (&request.partitions, request.isolation);
        let reader = self.ahead.arrive(request, self.env.clock.now());
        let plans = self.plan_all(wanted, request.bytes_max, isolation, Some(&reader));
        let mut plans = plans.await;
        let bytes_max = request.bytes_max.min(self.settings.answer_bytes_max);
        let mut turns = reader.turns(self.turn.fetch_add(1, Ordering::Relaxed));
        let total = budget::spend(&mut plans, bytes_max, &mut turns);
        let has_more = total > 0 && plans.iter().flatten().any(|plan| !plan.later.is_empty());
        let pages = pages_now(&plans);
        if let Some(readers) = reader.readers {
            self.reads.herd.note_readers(readers);
        }
        self.wait_for_others(&plans, &pages).await;
        self.reads
            .fetch_ahead(pages_ahead(&plans, &turns, &pages, reader.window));
        let pool = |plan: &Planned| plan.as_ref().ok().map(|plan| plan.pool);
        let pools: Vec<Option<Pool>> = plans.iter().map(pool).collect();
        let pinned = self.pinned(&pages, total);
        let hold = match &pinned {
            Some(_) => None,
            None => Some(self.copies.hold(total, whole_bytes(&plans)).await),
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
        let partitions: Vec<FoundPartition> = futures::stream::iter(reads)
            .buffered(in_flight)
            .collect()
            .await;
        let now = self.env.clock.now();

        self.ahead
            .leave(&reader, wanted, &partitions, &pools, &turns, now);
        (Fetched { partitions, hold }, has_more)
    }

    /// Who wants new pages of old data lets those go first that read the same and have fallen behind, before it takes memory.
    /// Nobody waits for them who follows the tail as well.
    async fn wait_for_others(&self, plans: &[Planned], pages: &HashSet<PageKey>) {
        let mut plans = plans.iter().flatten();
        if plans.any(|plan| plan.pool == Pool::Tail && !plan.extents.is_empty()) {
            return;
        }
        let kept = &self.reads.pages;
        let missing = || {
            pages
                .iter()
                .filter(|page| !kept.has(page))
                .copied()
                .collect()
        };
        if self.reads.herd.wait(missing).await {
            self.metrics.waits_for_others.inc();
        }
    }

    /// Memory for all pages that an answer touches, if there is so much now: then it is made of parts of
    /// them, each of which keeps all of its page. Readers that are slow to take their answers use up this
    /// share, and cost the others no more than a copy.
    fn pinned(&self, pages: &HashSet<PageKey>, total: u64) -> Pinned {
        if total < PINNED_BYTES_MIN {
            return None;
        }
        let bytes = pages.len() as u64 * u64::from(PAGE_BYTES);
        if bytes > self.pages_kept.free_bytes() {
            return None;
        }
        self.pages_kept.try_hold(bytes).ok().map(Arc::new)
    }
}
