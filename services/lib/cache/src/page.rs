//! Pages in memory.

use std::fmt;

use bytes::Bytes;
use foyer::{Cache, CacheBuilder};
use tidelog_types::{BucketId, SegmentName};

use crate::flight::{Flights, Waiter};
use crate::{CacheMetrics, FetchFailed};

/// The size of a page; the last one of an object is shorter.
pub const PAGE_BYTES: u32 = 4 * 1024 * 1024;

/// What an entry takes beside its bytes: key, handles, the eviction's own lists.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// The bucket that the segment lies in.
    pub bucket: BucketId,
    /// The segment.
    pub segment: SegmentName,
    /// The page in it, from 0.
    pub page: u32,
}

/// Pages, bounded by their bytes. Clones share them.
#[derive(Clone)]
pub struct PageCache {
    pages: Cache<PageKey, Bytes>,
    flights: Flights,
    metrics: CacheMetrics,
}

impl fmt::Debug for PageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCache")
            .field("pages", &self.pages.entries())
            .field("bytes", &self.pages.usage())
            .finish_non_exhaustive()
    }
}

impl PageCache {
    /// A cache of at most `bytes`.
    pub fn new(bytes: usize, metrics: CacheMetrics) -> Self {
        // One shard: with a few dozen pages a split by hash would leave shards of two or three.
        let pages = CacheBuilder::new(bytes)
            .with_shards(1)
            .with_weighter(|_: &PageKey, page: &Bytes| page.len() + ENTRY_OVERHEAD_BYTES)
            .build();
        Self {
            pages,
            flights: Flights::default(),
            metrics,
        }
    }

    /// The page, from memory or by `fetch`, which all who want the page at the same time share.
    ///
    /// Cancel-safe: a waiter that goes does not end the fetch for the others. An error is everyone's who
    /// waited, and is not kept.
    pub async fn get_or_fetch<F, E>(&self, key: PageKey, fetch: F) -> Result<Bytes, FetchFailed>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        if let Some(entry) = self.pages.get(&key) {
            self.metrics.hits.inc();
            return Ok(entry.value().clone());
        }
        let pages = self.pages.clone();
        let keep = async move {
            let page = compact(fetch.await?);
            pages.insert(key, page.clone());
            Ok::<_, E>(page)
        };
        let (joined, flight) = self.flights.join(key, keep);
        if joined {
            self.metrics.shared.inc();
        } else {
            self.metrics.misses.inc();
        }
        let _waiter = Waiter {
            key,
            flights: &self.flights,
        };
        flight.await
    }

    /// Puts a page in that its writer has at hand.
    pub fn insert(&self, key: PageKey, page: Bytes) {
        self.metrics.inserts.inc();
        self.pages.insert(key, page);
    }

    /// Forgets a page that proved to be damaged.
    pub fn remove(&self, key: &PageKey) {
        self.pages.remove(key);
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.pages.usage()
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
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tidelog_types::{Incarnation, SegmentSequence};
    use tokio::sync::oneshot;

    use super::*;

    fn key(page: u32) -> PageKey {
        let segment = SegmentName::new(Incarnation::new(1), SegmentSequence::new(1));
        PageKey {
            bucket: BucketId::default(),
            segment,
            page,
        }
    }

    fn ready(bytes: &'static [u8]) -> std::future::Ready<Result<Bytes, io::Error>> {
        std::future::ready(Ok(Bytes::from_static(bytes)))
    }

    #[tokio::test]
    async fn a_page_is_fetched_once_and_then_found() {
        let cache = PageCache::new(1 << 20, CacheMetrics::default());
        assert_eq!(
            cache.get_or_fetch(key(0), ready(b"one")).await.unwrap(),
            "one"
        );
        assert_eq!(
            cache.get_or_fetch(key(0), ready(b"two")).await.unwrap(),
            "one"
        );
        cache.remove(&key(0));
        assert_eq!(
            cache.get_or_fetch(key(0), ready(b"two")).await.unwrap(),
            "two"
        );
        assert_eq!((cache.metrics.hits(), cache.metrics.misses()), (1, 2));
    }

    #[tokio::test]
    async fn all_who_wait_share_one_fetch_also_when_the_first_goes() {
        let cache = PageCache::new(1 << 20, CacheMetrics::default());
        let fetches = Arc::new(AtomicUsize::new(0));
        let (release, released) = oneshot::channel::<()>();
        let counted = Arc::clone(&fetches);
        let fetch = async move {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = released.await;
            Ok::<_, io::Error>(Bytes::from_static(b"page"))
        };
        let mut first = Box::pin(cache.get_or_fetch(key(3), fetch));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(cache.get_or_fetch(key(3), ready(b"other")));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        release.send(()).unwrap();
        assert_eq!(second.await.unwrap(), "page");
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        assert_eq!(cache.metrics.shared.get(), 1);
    }

    #[tokio::test]
    async fn a_fetch_that_nobody_waits_for_is_forgotten() {
        let cache = PageCache::new(1 << 20, CacheMetrics::default());
        let never = std::future::pending::<Result<Bytes, io::Error>>();
        let mut gone = Box::pin(cache.get_or_fetch(key(1), never));
        assert!(futures::poll!(&mut gone).is_pending());
        drop(gone);
        assert_eq!(
            cache.get_or_fetch(key(1), ready(b"fresh")).await.unwrap(),
            "fresh"
        );
    }

    #[tokio::test]
    async fn an_error_is_shared_but_not_kept() {
        let cache = PageCache::new(1 << 20, CacheMetrics::default());
        let fails = async { Err::<Bytes, _>(io::Error::other("no luck")) };
        let error = cache.get_or_fetch(key(2), fails).await.unwrap_err();
        assert!(error.cause().downcast_ref::<io::Error>().is_some());
        assert_eq!(
            cache.get_or_fetch(key(2), ready(b"luck")).await.unwrap(),
            "luck"
        );
    }

    #[tokio::test]
    async fn the_bytes_held_stay_within_the_bound() {
        let cache = PageCache::new(64 * 1024, CacheMetrics::default());
        for page in 0..1_000 {
            cache.insert(key(page), Bytes::from(vec![0; 1_000]));
            assert!(cache.bytes() <= 64 * 1024);
        }
        assert!(cache.bytes() > 32 * 1024, "it keeps what fits");
    }
}
