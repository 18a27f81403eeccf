//! The cache with a disk under it.

use tempfile::TempDir;

use super::*;
use crate::disk::DISK_BYTES_MIN;

const PAGE: usize = 40_000;

fn body(sequence: u64) -> Bytes {
    Bytes::from(vec![u8::try_from(sequence).unwrap(); PAGE])
}

async fn open(folder: &TempDir) -> PageCache {
    let settings = CacheSettings {
        tail_bytes: 100_000,
        catch_up_bytes: 100_000,
    };
    let disk = DiskSettings {
        folder: folder.path().to_owned(),
        bytes: DISK_BYTES_MIN,
    };
    PageCache::open(
        settings,
        Some(&disk),
        &Env::system(),
        CacheMetrics::default(),
    )
    .await
}

/// Reads a page, and says whether it had to be fetched.
async fn read(cache: &PageCache, sequence: u64) -> bool {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    let fetch = async move {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(body(sequence))
    };
    let read = cache.get_or_fetch(key(sequence, 0), Pool::CatchUp, fetch);
    assert_eq!(read.await.unwrap(), body(sequence));
    fetched.load(Ordering::Relaxed) > 0
}

async fn settle(cache: &PageCache) {
    if let Some(disk) = &cache.shared.disk {
        disk.settle().await;
    }
}

#[tokio::test]
async fn pages_that_left_memory_are_found_on_disk_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let cache = open(&folder).await;
    assert!(cache.has_disk());
    for sequence in 1..=10 {
        assert!(read(&cache, sequence).await, "{sequence}");
        settle(&cache).await;
    }
    for sequence in 1..=8 {
        assert!(!read(&cache, sequence).await, "{sequence}");
        settle(&cache).await;
    }
    assert_eq!(cache.snapshot(Pool::CatchUp).disk_hits, 8);
    assert!(cache.snapshot(Pool::CatchUp).used_bytes <= 100_000);
    drop(cache);
    let cache = open(&folder).await;
    for sequence in 1..=6 {
        assert!(!read(&cache, sequence).await, "{sequence}");
    }
    cache.remove(&key(7, 0));
    assert!(read(&cache, 7).await, "it was removed");
}

#[tokio::test]
async fn a_cache_whose_folder_cannot_be_used_goes_on_in_memory() {
    let folder = TempDir::new().unwrap();
    let first = open(&folder).await;
    // The first one has it.
    let second = open(&folder).await;
    assert!(first.has_disk() && !second.has_disk());
    assert_eq!(second.snapshot(Pool::Tail).disk_errors, 1);
    assert!(read(&second, 1).await);
    assert!(!read(&second, 1).await);
}
