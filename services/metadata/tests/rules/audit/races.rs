//! What changes while an audit looks is no difference.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidelog_metadata::audit::{AuditOptions, Verify};
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::Log as _;
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};
use tidelog_types::Offset;

use super::ground::{Ground, written};
use crate::world::partition;

/// Does something when rows of a kind are about to be read.
struct Meanwhile<'a> {
    ground: &'a Ground,
    before: KeyKind,
    reads: AtomicU32,
    what: What,
    is_done: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// All is merged, and what it was merged of goes at once, without a grace period.
    Merge,
    /// More is written.
    Append,
    /// The oldest records go, and their segments with them.
    Retain,
}

impl std::fmt::Debug for Meanwhile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} before {:?}", self.what, self.before)
    }
}

#[async_trait]
impl RowSource for Meanwhile<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let is_it = range.start.get(4) == Some(&(self.before as u8));
        let is_late = is_it && self.reads.fetch_sub(1, Ordering::Relaxed) == 0;
        if is_late && !self.is_done.swap(true, Ordering::Relaxed) {
            self.happen().await;
        }
        self.ground.world.store.memory.page(range, options).await
    }
}

impl Meanwhile<'_> {
    async fn happen(&self) {
        let ground = self.ground;
        match self.what {
            What::Merge => {
                ground.merge(1).await;
                for sequence in 1..=6 {
                    ground.delete(written(sequence)).await;
                }
            }
            What::Append => ground.fill(7..=9).await,
            What::Retain => {
                for index in 0..2 {
                    let cut = ground
                        .process
                        .delete_records(partition(index), Offset::new(9));
                    cut.await.expect("the owner");
                }
                for _ in 0..30 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                for sequence in 1..=3 {
                    ground.delete(written(sequence)).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_found_whenever_segments_come_are_merged_or_go() {
    let kinds = [
        KeyKind::Floor,
        KeyKind::LiveBytes,
        KeyKind::Dying,
        KeyKind::Checkpoint,
        KeyKind::Topic,
        KeyKind::Partition,
        KeyKind::Page,
        KeyKind::Tail,
    ];
    for what in [What::Merge, What::Append, What::Retain] {
        for before in kinds {
            for reads in [0, 1] {
                let ground = Ground::new(2).await;
                ground.fill(1..=6).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let source = Meanwhile {
                    ground: &ground,
                    before,
                    reads: AtomicU32::new(reads),
                    what,
                    is_done: AtomicBool::new(false),
                };
                let options = AuditOptions {
                    verify: Verify::Bytes,
                    grace: Duration::ZERO,
                    ..AuditOptions::default()
                };
                let report = ground.audit_of(&source, options).await;
                assert_eq!(report.differences, BTreeSet::new(), "{source:?} {reads}");
                assert_eq!(report.unsettled, 0, "{source:?} {reads}");
            }
        }
    }
}
