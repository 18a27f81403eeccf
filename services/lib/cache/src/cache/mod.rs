//! The cache itself.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, Event, EventListener, LruConfig};
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tidelog_env::Env;

use crate::disk::{Disk, DiskPool};
use crate::flight::{Boarding, FetchFailed, Flights};
use crate::metrics::{CacheMetrics, CacheSnapshot, Counters};
use crate::page::{PAGE_BYTES, Page, PageKey};
use crate::settings::{CacheSettings, DiskSettings, Pool};

/// Pages that a shard should have room for, so that the bound is not spent on its own granularity.
const SHARD_PAGES_MIN: usize = 16;
/// Shards at most: each is a lock, and pages are large.
const SHARDS_MAX: usize = 8;

/// Whatever was wanted last stays longest: nothing is kept in a part of less worth.
const LRU: LruConfig = LruConfig {
    high_priority_pool_ratio: 1.0,
};

/// A fetch brought more than a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("page `{key}` came with `{length}` bytes, more than the {PAGE_BYTES} of a page")]
pub struct PageTooLong {
    /// The page.
    pub key: PageKey,
    /// How much came.
    pub length: usize,
}

/// Pages of segments, bounded by their bytes. Clones share everything.
#[derive(Clone)]
pub struct PageCache {
    shared: Arc<Shared>,
}

struct Shared {
    tail: PoolCache,
    catch_up: PoolCache,
    /// Where pages are that left memory.
    disk: Option<Disk>,
    flights: Flights,
}

/// One pool.
struct PoolCache {
    pages: Cache<PageKey, Page>,
    /// A page that weighs more than a shard holds would only drive out the others.
    weight_max: usize,
    counters: Counters,
}

/// Counts pages that leave for want of room, and puts them on disk.
struct Evictions {
    counter: Counter,
    disk: Option<DiskPool>,
}

impl EventListener for Evictions {
    type Key = PageKey;
    type Value = Page;

    fn on_leave(&self, reason: Event, key: &PageKey, page: &Page) {
        if reason == Event::Evict {
            self.counter.inc();
            if let Some(disk) = &self.disk {
                disk.put(*key, page);
            }
        }
    }
}

impl PoolCache {
    fn new(bytes: usize, counters: Counters, disk: Option<DiskPool>) -> Self {
        let evictions = Evictions {
            counter: counters.evictions.clone(),
            disk,
        };
        let shard_bytes_min = SHARD_PAGES_MIN * PAGE_BYTES as usize;
        let shards = (bytes / shard_bytes_min).clamp(1, SHARDS_MAX);
        // foyer wants at least a byte a shard; a pool of none holds nothing, since every page weighs more.
        let pages = CacheBuilder::new(bytes.max(shards))
            .with_name("tidelog-pages")
            .with_shards(shards)
            .with_eviction_config(LRU)
            .with_weighter(|_: &PageKey, page: &Page| page.weight())
            .with_event_listener(Arc::new(evictions))
            .build();
        Self {
            pages,
            weight_max: bytes / shards,
            counters,
        }
    }

    /// Takes a page; whether there is room for one so large.
    fn insert(&self, key: PageKey, page: Page) -> bool {
        let fits = page.weight() <= self.weight_max;
        if fits {
            self.pages.insert(key, page);
            self.count_used();
        }
        fits
    }

    fn get(&self, key: &PageKey) -> Option<Page> {
        self.pages.get(key).map(|entry| entry.value().clone())
    }

    fn remove(&self, key: &PageKey) {
        self.pages.remove(key);
        self.count_used();
    }

    fn count_used(&self) {
        let used = i64::try_from(self.pages.usage()).unwrap_or(i64::MAX);
        self.counters.used.set(used);
    }
}

impl fmt::Debug for PageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCache")
            .field("tail", &self.snapshot(Pool::Tail))
            .field("catch_up", &self.snapshot(Pool::CatchUp))
            .field("fetches", &self.fetches())
            .finish_non_exhaustive()
    }
}

impl PageCache {
    /// A cache of at most `bytes`, all of them for [`Pool::Tail`].
    pub fn new(bytes: usize, metrics: CacheMetrics) -> Self {
        let settings = CacheSettings {
            tail_bytes: bytes,
            catch_up_bytes: 0,
        };
        Self::with_pools(settings, metrics)
    }

    /// A cache with a bound for each pool.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the cache keeps handles of these metrics; who builds it gives one away"
    )]
    pub fn with_pools(settings: CacheSettings, metrics: CacheMetrics) -> Self {
        Self::build(settings, None, &metrics)
    }

    /// A cache with a bound for each pool and a disk for pages that leave memory. A folder that cannot be used
    /// is told and counted, and the cache goes on without it. Must be called within a runtime.
    pub async fn open(
        settings: CacheSettings,
        disk: Option<&DiskSettings>,
        env: &Env,
        metrics: CacheMetrics,
    ) -> Self {
        let opened = match disk {
            Some(disk) => Box::pin(Disk::open(disk, env, |pool| metrics.counters(pool))).await,
            None => return Self::build(settings, None, &metrics),
        };
        let disk = opened.inspect_err(|error| {
            for pool in Pool::ALL {
                metrics.counters(pool).disk_errors.inc();
            }
            let error = error as &dyn StdError;
            tracing::error!(error, "the page cache goes on without its disk");
        });
        Self::build(settings, disk.ok(), &metrics)
    }

    fn build(settings: CacheSettings, disk: Option<Disk>, metrics: &CacheMetrics) -> Self {
        let pool = |pool, disk: Option<&DiskPool>| {
            PoolCache::new(settings.bytes(pool), metrics.counters(pool), disk.cloned())
        };
        Self {
            shared: Arc::new(Shared {
                tail: pool(Pool::Tail, disk.as_ref().map(|disk| &disk.tail)),
                catch_up: pool(Pool::CatchUp, disk.as_ref().map(|disk| &disk.catch_up)),
                disk,
                flights: Flights::default(),
            }),
        }
    }

    /// The page, from memory or by `fetch`, which puts it into `pool` and which all who want the page at the
    /// same time share. Its bytes are given out as they are: the caller proves what it uses, and calls
    /// [`PageCache::remove`] if that fails.
    ///
    /// Cancel-safe: a waiter that goes does not end the fetch for the others. An error is everyone's who
    /// waited, and is not kept.
    pub async fn get_or_fetch<F, E>(
        &self,
        key: PageKey,
        pool: Pool,
        fetch: F,
    ) -> Result<Bytes, FetchFailed>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: StdError + Send + Sync + 'static,
    {
        if let Some(page) = self.shared.find(&key, pool) {
            self.shared.pool(pool).counters.hits.inc();
            return Ok(page.into_bytes());
        }
        let page = self.fetch(key, pool, Page::unproven, || fetch).await?;
        Ok(page.into_bytes())
    }

    /// The bytes of `wanted` within the page, checked, from memory or by `fetch`, which must bring all of
    /// the page and puts it into `pool`. `wanted` is cut to the page's length.
    ///
    /// A page in memory whose block fails its check is dropped and counted, and then fetched: damage of
    /// memory costs a request and nobody sees it. Otherwise as [`PageCache::get_or_fetch`].
    pub async fn read<F, E>(
        &self,
        key: PageKey,
        pool: Pool,
        wanted: Range<u32>,
        fetch: impl FnOnce() -> F,
    ) -> Result<Bytes, FetchFailed>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: StdError + Send + Sync + 'static,
    {
        if let Some(bytes) = self.shared.find_checked(&key, wanted.clone()) {
            self.shared.pool(pool).counters.hits.inc();
            return Ok(bytes);
        }
        let page = self.fetch(key, pool, Page::new, fetch).await?;
        Ok(page.slice(wanted))
    }

    /// Waits for the fetch of a page that was not found, beginning it if nobody has.
    async fn fetch<F, E>(
        &self,
        key: PageKey,
        pool: Pool,
        made: fn(Bytes) -> Page,
        fetch: impl FnOnce() -> F,
    ) -> Result<Page, FetchFailed>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: StdError + Send + Sync + 'static,
    {
        let counters = &self.shared.pool(pool).counters;
        let look = || self.shared.find(&key, pool);
        let keep = || Arc::clone(&self.shared).keep(key, pool, made, fetch());
        match self.shared.flights.board(key, look, keep) {
            Boarding::Here(page) => {
                counters.hits.inc();
                Ok(page)
            }
            Boarding::Joined(passenger) => {
                counters.shared.inc();
                passenger.arrive().await
            }
            Boarding::Began(passenger) => {
                counters.misses.inc();
                passenger.arrive().await
            }
        }
    }

    /// Puts a page into the tail's pool that its writer has at hand.
    ///
    /// The bytes should own their memory: a slice of a larger buffer keeps all of that buffer, which the
    /// bound does not see. Bytes longer than a page are not kept.
    pub fn insert(&self, key: PageKey, page: Bytes) {
        if page.len() <= PAGE_BYTES as usize {
            self.shared.tail.counters.inserts.inc();
            self.shared.tail.insert(key, Page::new(page));
        }
    }

    /// Puts a page in the place of one that proved to be damaged. Bytes longer than a page are not kept.
    pub fn replace(&self, key: PageKey, pool: Pool, page: Bytes) {
        self.remove(&key);
        if page.len() <= PAGE_BYTES as usize {
            let page = Page::unproven(compact(page));
            self.shared.pool(pool).insert(key, page);
        }
    }

    /// Forgets a page that proved to be damaged, in memory and on disk.
    pub fn remove(&self, key: &PageKey) {
        self.shared.tail.remove(key);
        self.shared.catch_up.remove(key);
        if let Some(disk) = &self.shared.disk {
            disk.remove(key);
        }
    }

    /// Whether the page is in memory or on its way.
    pub fn has(&self, key: &PageKey) -> bool {
        self.shared.pools().any(|pool| pool.pages.contains(key)) || self.shared.flights.has(key)
    }

    /// Whether pages that leave memory go to a disk.
    pub fn has_disk(&self) -> bool {
        self.shared.disk.is_some()
    }

    /// Bytes that a pool may hold in memory.
    pub fn pool_bytes(&self, pool: Pool) -> u64 {
        self.shared.pool(pool).pages.capacity() as u64
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.shared.tail.pages.usage() + self.shared.catch_up.pages.usage()
    }

    /// What was counted for a pool so far.
    pub fn snapshot(&self, pool: Pool) -> CacheSnapshot {
        self.shared.pool(pool).counters.snapshot()
    }

    /// How many fetches are under way.
    pub fn fetches(&self) -> usize {
        self.shared.flights.len()
    }
}

impl Shared {
    const fn pool(&self, pool: Pool) -> &PoolCache {
        match pool {
            Pool::Tail => &self.tail,
            Pool::CatchUp => &self.catch_up,
        }
    }

    fn pools(&self) -> impl Iterator<Item = &PoolCache> {
        [&self.tail, &self.catch_up].into_iter()
    }

    /// The page, in whichever pool. What a reader of the tail finds among old data is the tail's from then on.
    fn find(&self, key: &PageKey, pool: Pool) -> Option<Page> {
        if let Some(page) = self.tail.get(key) {
            return Some(page);
        }
        let page = self.catch_up.get(key)?;
        if pool == Pool::Tail && self.tail.insert(*key, page.clone()) {
            self.catch_up.remove(key);
        }
        Some(page)
    }

    /// Bytes of the page, in whichever pool it is sound. A page that is not is dropped and counted.
    fn find_checked(&self, key: &PageKey, wanted: Range<u32>) -> Option<Bytes> {
        self.pools().find_map(|pool| {
            let page = pool.get(key)?;
            if let Ok(bytes) = page.checked_slice(wanted.clone()) {
                return Some(bytes);
            }
            tracing::error!(%key, "a page in memory failed its checksum and was dropped");
            pool.counters.damaged.inc();
            pool.remove(key);
            None
        })
    }

    /// Looks on disk, or runs a fetch, and puts the page in.
    async fn keep<F, E>(
        self: Arc<Self>,
        key: PageKey,
        pool: Pool,
        made: fn(Bytes) -> Page,
        fetch: F,
    ) -> Result<Page, FetchFailed>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: StdError + Send + Sync + 'static,
    {
        let pool = self.pool(pool);
        if let Some(disk) = &self.disk
            && let Some(page) = disk.load(&key).await
        {
            pool.insert(key, page.clone());
            return Ok(page);
        }
        let fetched = fetch.await.map_err(FetchFailed::new);
        let landed = fetched.and_then(|bytes| match bytes.len() {
            length if length > PAGE_BYTES as usize => {
                Err(FetchFailed::new(PageTooLong { key, length }))
            }
            _ => Ok(made(compact(bytes))),
        });
        match &landed {
            Ok(page) => {
                pool.insert(key, page.clone());
            }
            Err(_) => {
                pool.counters.fetch_errors.inc();
            }
        }
        landed
    }
}

/// A page that holds on to no more memory than it shows.
fn compact(page: Bytes) -> Bytes {
    // A unique handle on its own allocation stays; a cut of a larger one is copied.
    match page.try_into_mut() {
        Ok(unique) if unique.capacity() <= unique.len() + unique.len() / 8 => unique.freeze(),
        Ok(loose) => Bytes::copy_from_slice(&loose),
        Err(shared) => Bytes::copy_from_slice(&shared),
    }
}

#[cfg(test)]
mod tests;
