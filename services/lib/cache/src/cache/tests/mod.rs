use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

use super::*;
use crate::flight::FetchPanicked;

const ALL: Range<u32> = 0..PAGE_BYTES;

fn key(sequence: u64, page: u32) -> PageKey {
    let segment = SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence));
    PageKey::new(BucketId::new(0), segment, page)
}

fn cache(tail_bytes: usize, catch_up_bytes: usize) -> PageCache {
    let settings = CacheSettings {
        tail_bytes,
        catch_up_bytes,
    };
    PageCache::with_pools(settings, CacheMetrics::default())
}

/// What is in memory, without a fetch.
fn peek(cache: &PageCache, key: PageKey, wanted: Range<u32>) -> Option<Bytes> {
    cache.shared.find_checked(&key, wanted)
}

type Reading = BoxFuture<'static, Result<Bytes, FetchFailed>>;

/// A reader that has asked; its fetch, if it begins one, ends with what is sent.
fn ask(cache: &PageCache, key: PageKey) -> (Reading, Option<oneshot::Sender<io::Result<Bytes>>>) {
    let (sender, receiver) = oneshot::channel();
    let mut begun = None;
    let (tell, told) = std::sync::mpsc::channel();
    let cache = cache.clone();
    let mut reading = async move {
        let fetch = || {
            tell.send(()).unwrap();
            async move { receiver.await.unwrap() }
        };
        cache.read(key, Pool::Tail, ALL, fetch).await
    }
    .boxed();
    if let Some(end) = (&mut reading).now_or_never() {
        return (async move { end }.boxed(), None);
    }
    if told.try_recv().is_ok() {
        begun = Some(sender);
    }
    (reading, begun)
}

#[tokio::test]
async fn a_page_is_fetched_once_and_then_found() {
    let cache = PageCache::new(1 << 20, CacheMetrics::default());
    let bring = |bytes| async move { Ok::<_, io::Error>(Bytes::from_static(bytes)) };
    for bytes in [b"one", b"two"] {
        let read = cache
            .get_or_fetch(key(1, 0), Pool::Tail, bring(bytes))
            .await;
        assert_eq!(read.unwrap(), "one");
    }
    cache.remove(&key(1, 0));
    let read = cache
        .get_or_fetch(key(1, 0), Pool::Tail, bring(b"two"))
        .await;
    assert_eq!(read.unwrap(), "two");
    let seen = cache.snapshot(Pool::Tail);
    assert_eq!((seen.misses, seen.hits), (2, 1));
}

#[tokio::test]
async fn many_readers_share_one_fetch() {
    let cache = cache(1 << 20, 0);
    let (first, fetch) = ask(&cache, key(1, 0));
    let others: Vec<_> = (0..9).map(|_| ask(&cache, key(1, 0))).collect();
    assert!(others.iter().all(|(_, fetch)| fetch.is_none()));
    fetch
        .unwrap()
        .send(Ok(Bytes::from_static(b"page")))
        .unwrap();
    assert_eq!(first.await.unwrap(), "page");
    for (reading, _) in others {
        assert_eq!(reading.await.unwrap(), "page");
    }
    assert_eq!(peek(&cache, key(1, 0), 1..3).unwrap(), "ag");
    let seen = cache.snapshot(Pool::Tail);
    assert_eq!((seen.misses, seen.shared, seen.hits), (1, 9, 0));
    assert_eq!(cache.fetches(), 0);
}

#[tokio::test]
async fn a_reader_that_goes_away_takes_nothing_from_the_others() {
    let cache = cache(1 << 20, 0);
    let (first, fetch) = ask(&cache, key(1, 0));
    let (second, _) = ask(&cache, key(1, 0));
    drop(first);
    fetch
        .unwrap()
        .send(Ok(Bytes::from_static(b"page")))
        .unwrap();
    assert_eq!(second.await.unwrap(), "page");
    // When all go, so does the fetch, and the next begins another.
    let (alone, fetch) = ask(&cache, key(2, 0));
    drop(alone);
    assert!(fetch.unwrap().is_canceled());
    assert_eq!(cache.fetches(), 0);
    assert!(ask(&cache, key(2, 0)).1.is_some());
}

#[tokio::test]
async fn an_error_is_shared_and_forgotten() {
    let cache = cache(1 << 20, 0);
    let (first, fetch) = ask(&cache, key(1, 0));
    let (second, _) = ask(&cache, key(1, 0));
    let fault = io::Error::from(io::ErrorKind::ConnectionReset);
    fetch.unwrap().send(Err(fault)).unwrap();
    for reading in [first, second] {
        let error = reading.await.unwrap_err();
        let kind = error.cause().downcast_ref().map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::ConnectionReset), "{error}");
    }
    assert_eq!(cache.snapshot(Pool::Tail).fetch_errors, 1);
    let (again, fetch) = ask(&cache, key(1, 0));
    fetch
        .unwrap()
        .send(Ok(Bytes::from_static(b"page")))
        .unwrap();
    assert_eq!(again.await.unwrap(), "page");
}

#[tokio::test]
async fn a_fetch_that_panics_is_told_and_the_next_begins_anew() {
    let cache = cache(1 << 20, 0);
    let (reading, fetch) = ask(&cache, key(1, 0));
    // The fetch unwraps what never comes.
    drop(fetch.unwrap());
    let error = reading.await.unwrap_err();
    assert!(error.cause().is::<FetchPanicked>(), "{error}");
    assert_eq!(cache.fetches(), 0);
    assert!(ask(&cache, key(1, 0)).1.is_some());
}

#[tokio::test]
async fn a_damaged_page_is_dropped_and_fetched_again() {
    let cache = cache(1 << 20, 1 << 20);
    let damaged = Page::damaged(Bytes::from_static(b"pXge"), 0);
    cache.shared.catch_up.insert(key(1, 0), damaged);
    let (reading, fetch) = ask(&cache, key(1, 0));
    fetch
        .unwrap()
        .send(Ok(Bytes::from_static(b"page")))
        .unwrap();
    assert_eq!(reading.await.unwrap(), "page");
    assert_eq!(cache.snapshot(Pool::CatchUp).damaged, 1);
    assert_eq!(cache.snapshot(Pool::CatchUp).used_bytes, 0);
    assert_eq!(peek(&cache, key(1, 0), ALL).unwrap(), "page");
}

#[tokio::test]
async fn more_than_a_page_is_refused() {
    let cache = cache(1 << 30, 0);
    let long = Bytes::from(vec![0; PAGE_BYTES as usize + 1]);
    cache.insert(key(1, 0), long.clone());
    assert_eq!(cache.bytes(), 0);
    let (reading, fetch) = ask(&cache, key(1, 0));
    fetch.unwrap().send(Ok(long)).unwrap();
    assert!(reading.await.unwrap_err().cause().is::<PageTooLong>());
    assert_eq!(cache.snapshot(Pool::Tail).used_bytes, 0);
}

#[test]
fn catching_up_does_not_evict_the_tail() {
    let cache = cache(100_000, 100_000);
    let page = |byte| Bytes::from(vec![byte; 40_000]);
    cache.insert(key(1, 0), page(1));
    for sequence in 2..20 {
        let old = Page::new(page(2));
        cache.shared.catch_up.insert(key(sequence, 0), old);
    }
    assert_eq!(peek(&cache, key(1, 0), ALL).unwrap(), page(1));
    assert_eq!(cache.snapshot(Pool::CatchUp).evictions, 16);
    assert_eq!(cache.snapshot(Pool::Tail).evictions, 0);
}

#[tokio::test]
async fn what_a_reader_of_the_tail_finds_among_old_data_becomes_the_tails() {
    let cache = cache(100_000, 100_000);
    let bytes = Bytes::from(vec![1; 40_000]);
    cache
        .shared
        .catch_up
        .insert(key(1, 0), Page::new(bytes.clone()));
    let old = cache.get_or_fetch(
        key(1, 0),
        Pool::CatchUp,
        std::future::pending::<io::Result<_>>(),
    );
    assert_eq!(old.await.unwrap(), bytes);
    assert_eq!(cache.snapshot(Pool::Tail).used_bytes, 0);
    let tail = cache.get_or_fetch(
        key(1, 0),
        Pool::Tail,
        std::future::pending::<io::Result<_>>(),
    );
    assert_eq!(tail.await.unwrap(), bytes);
    assert!(cache.snapshot(Pool::Tail).used_bytes >= 40_000);
    assert_eq!(cache.snapshot(Pool::CatchUp).used_bytes, 0);
}

#[tokio::test]
async fn a_page_that_was_replaced_is_the_new_one_in_the_pool_of_its_reader() {
    let cache = cache(100_000, 100_000);
    cache.insert(key(1, 0), Bytes::from_static(b"pXge"));
    cache.replace(key(1, 0), Pool::CatchUp, Bytes::from_static(b"page"));
    assert_eq!(peek(&cache, key(1, 0), ALL).unwrap(), "page");
    assert_eq!(cache.snapshot(Pool::Tail).used_bytes, 0);
    cache.replace(
        key(1, 0),
        Pool::CatchUp,
        Bytes::from(vec![0; PAGE_BYTES as usize + 1]),
    );
    assert_eq!(peek(&cache, key(1, 0), ALL), None);
}

#[test]
fn a_pool_of_nothing_holds_nothing() {
    let cache = cache(0, 0);
    cache.insert(key(1, 0), Bytes::from_static(b"x"));
    assert_eq!(peek(&cache, key(1, 0), ALL), None);
    assert_eq!(cache.snapshot(Pool::Tail).used_bytes, 0);
}

#[test]
fn the_least_recently_used_page_goes_first() {
    let cache = cache(100_000, 0);
    let page = || Bytes::from(vec![0; 40_000]);
    cache.insert(key(1, 0), page());
    cache.insert(key(2, 0), page());
    assert!(peek(&cache, key(1, 0), ALL).is_some());
    cache.insert(key(3, 0), page());
    assert!(peek(&cache, key(1, 0), ALL).is_some());
    assert!(peek(&cache, key(2, 0), ALL).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_two_threads_fetch_one_page_at_a_time() {
    // So small that pages come and go, and are fetched again and again.
    let cache = cache(8_000, 0);
    let flying: Arc<[AtomicUsize; 8]> = Arc::default();
    let tasks = (0..8_u64).map(|task| {
        let (cache, flying) = (cache.clone(), Arc::clone(&flying));
        tokio::spawn(async move {
            for step in 0..2_000 {
                let page = (task * 31 + step * 7) % 8;
                let number = usize::try_from(page).unwrap();
                let flying = Arc::clone(&flying);
                let fetch = async move {
                    assert_eq!(flying[number].fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    flying[number].fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, io::Error>(Bytes::from(vec![u8::try_from(page).unwrap(); 1_000]))
                };
                let read = cache.read(key(page, 0), Pool::Tail, 0..9, || fetch).await;
                assert_eq!(read.unwrap(), vec![u8::try_from(page).unwrap(); 9]);
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(cache.fetches(), 0);
    assert!(cache.bytes() <= 8_000);
}

mod disk;
mod model;
