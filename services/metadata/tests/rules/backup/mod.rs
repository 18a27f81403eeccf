//! Backups of the memory store, taken while groups are committed, and restores from them.

mod accepts;
mod asleep;
mod damage;
mod golden;
mod history;
mod inline;
mod judge;
mod merges;
mod pins;
mod purges;
mod reclaims;
mod restores;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::{BackupName, BucketLayout, ClusterLayout};
use tidelog_env::Env;
use tidelog_metadata::backup::{
    BackupSummary, Backups, RestoreError, RestoreOptions, Restored, TakeError, TakeOptions,
};
use tidelog_store::memory::MemoryStore;
use tidelog_store::{RowSource, Store};
use tidelog_types::ClusterId;

/// The cluster of all worlds.
const CLUSTER: ClusterId = ClusterId::from_bytes([9; 16]);

/// A bucket and the backups in it.
#[derive(Debug)]
struct Bucket {
    objects: Arc<InMemory>,
    layout: ClusterLayout,
    backups: Backups,
    env: Env,
}

fn name(text: &str) -> BackupName {
    BackupName::new(text).expect("a good name")
}

impl Bucket {
    fn new() -> Self {
        let objects = Arc::new(InMemory::new());
        let layout = BucketLayout::new(Path::default()).cluster(CLUSTER);
        let seam: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&objects);
        let backups = Backups::new(seam, layout.clone(), CLUSTER);
        Self {
            objects,
            layout,
            backups,
            env: Env::seeded(77),
        }
    }

    async fn take(&self, store: &MemoryStore, backup: &str) -> BackupSummary {
        let taken = self.try_take(store, backup, TakeOptions::default());
        taken.await.expect("the store answers")
    }

    async fn try_take<R: RowSource + ?Sized>(
        &self,
        source: &R,
        backup: &str,
        options: TakeOptions,
    ) -> Result<BackupSummary, TakeError> {
        let name = name(backup);
        self.backups.take(source, &self.env, &name, options).await
    }

    async fn try_restore(
        &self,
        store: &dyn Store,
        backup: &str,
        wipe: bool,
    ) -> Result<Restored, RestoreError> {
        let name = name(backup);
        let options = RestoreOptions {
            env: &self.env,
            store,
            name: &name,
            wipe,
            watch: Duration::ZERO,
        };
        self.backups.restore(&options).await
    }

    /// A new store with the rows of a backup.
    async fn restored(&self, backup: &str) -> (MemoryStore, Restored) {
        let store = MemoryStore::new();
        let restored = self.try_restore(&store, backup, false).await;
        (store, restored.expect("the backup is whole"))
    }
}

/// The rows of a store that have this kind's number.
fn rows_of(store: &MemoryStore, kind: tidelog_metadata::keyspace::KeyKind) -> Vec<(Bytes, Bytes)> {
    let mut rows = store.dump();
    rows.retain(|(key, _)| key.get(4) == Some(&(kind as u8)));
    rows
}
