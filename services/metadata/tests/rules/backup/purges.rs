//! A backup while a topic is purged: what it has of the topic is purged after a restore, and all else is whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidelog_metadata::backup::{TakeOptions, accept_restore};
use tidelog_metadata_api::{Catalogue as _, TopicSelector};
use tidelog_store::memory::MemoryStore;
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};

use super::Bucket;
use crate::purge::{check_purged, create, fill, gone, pass};
use crate::store::TestStore;
use crate::world::{World, settings};

/// Lets time pass before some reads of a backup.
#[derive(Debug)]
struct Purging<'a> {
    store: MemoryStore,
    world: &'a World,
    reads: AtomicUsize,
    /// Before which reads, and for how long.
    passes: (usize, usize, i64),
}

#[async_trait]
impl RowSource for Purging<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let (first, count, millis) = self.passes;
        if (first..first + count).contains(&read) {
            pass(self.world, millis).await;
        }
        self.store.page(range, options).await
    }
}

/// How many reads there were.
async fn backup_while_it_goes(passes: (usize, usize, i64), page_rows: usize) -> usize {
    let world = World::with(settings(2));
    let process = world.open().await;
    create(&process).await;
    fill(&process).await;
    let topic = TopicSelector::Number(gone(0).topic);
    process.delete_topic(&topic).await.expect("live");
    pass(&world, 599_000).await;
    let source = Purging {
        store: world.store.memory.clone(),
        world: &world,
        reads: AtomicUsize::new(0),
        passes,
    };
    let bucket = Bucket::new();
    let options = TakeOptions {
        page_rows,
        ..TakeOptions::default()
    };
    let taken = bucket.try_take(&source, "b", options).await;
    let what = format!("{passes:?} of {page_rows}");
    taken.unwrap_or_else(|error| panic!("{what}: {error}"));
    let (store, _) = bucket.restored("b").await;
    let accepted = accept_restore(&store, &bucket.env).await;
    accepted.expect("it waits");
    let mut after = World::on(store);
    after.settings = settings(u32::MAX);
    // As much time has passed as when the backup was taken.
    after.clock.jump_wall(3_600_000);
    let process = after.open().await;
    pass(&after, 300_000).await;
    check_purged(&after.store, &process, &what).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let next: TestStore = after.store.sibling();
    let process = after.open_on(&next).await;
    check_purged(&next, &process, &what).await;
    source.reads.into_inner()
}

#[tokio::test(start_paused = true)]
async fn whatever_a_backup_has_of_a_topic_that_goes_is_purged_after_a_restore() {
    // The whole purge between two reads.
    let mut reads = usize::MAX;
    let mut first = 0;
    while first < reads {
        reads = backup_while_it_goes((first, 1, 120_000), 1_000).await;
        first += 1;
    }
    assert!(reads > 20, "{reads}");
    // Some of it between many reads.
    for (first, count, millis) in [
        (0, 20, 3_000),
        (5, 40, 2_000),
        (10, 60, 1_000),
        (2, 10, 9_000),
    ] {
        for page_rows in [1, 2, 1_000] {
            backup_while_it_goes((first, count, millis), page_rows).await;
        }
    }
}
