//! A janitor that ends while the backup is taken: what it has merged after the log was read is looked at.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tidelog_metadata::keyspace::{Counter, NumberRow};
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};

use super::*;

/// Something is merged, and all writers end, once the tails were read.
struct Ending<'a> {
    ground: &'a Ground,
    is_done: AtomicBool,
}

impl std::fmt::Debug for Ending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ending")
    }
}

#[async_trait]
impl RowSource for Ending<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let is_receipts = range.start.get(4) == Some(&(KeyKind::Receipt as u8));
        if is_receipts && !self.is_done.swap(true, Ordering::Relaxed) {
            let ground = self.ground;
            ground.fill(4..=6).await;
            ground.merge(1).await;
            let key = Keyspace::default().counter(Counter::OldestLiveIncarnation);
            ground.write_row(key, Some(NumberRow(3).encode())).await;
        }
        self.ground.world.store.memory.page(range, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_writer_merges_before_it_ends_while_the_backup_is_taken_is_not_passed_over() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    let source = Ending {
        ground: &ground,
        is_done: AtomicBool::new(false),
    };
    let name = BackupName::new("b").expect("it is good");
    let taken = backups(&ground)
        .take(&source, &ground.env, &name, TakeOptions::default())
        .await;
    taken.expect("the store answers");
    let (store, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    assert_eq!(rebuilt.merged, 1);
    let (_world, process) = open(&store).await;
    assert_eq!(process.high_watermark(partition(0)).await, 18);
}
