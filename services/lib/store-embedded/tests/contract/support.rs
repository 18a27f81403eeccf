//! What the tests share.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use tidelog_env::Env;
use tidelog_store::{Bytes, CommitError, KeyRange, ReadMode, ScanOptions, Store, Version};
use tidelog_store_embedded::{EmbeddedOptions, EmbeddedStore, MEMORY_BYTES_MIN, Medium, Metrics};

pub(crate) fn options() -> EmbeddedOptions {
    EmbeddedOptions::new("meta", MEMORY_BYTES_MIN, Medium::Bucket)
}

pub(crate) async fn open<O: ObjectStore>(
    objects: Arc<O>,
    options: EmbeddedOptions,
) -> EmbeddedStore {
    let metrics = Metrics::unregistered();
    let opened = EmbeddedStore::open(objects, options, Env::seeded(1), metrics).await;
    opened.expect("the store opens")
}

pub(crate) async fn try_put(
    store: &EmbeddedStore,
    key: &str,
    value: &str,
) -> Result<Version, CommitError> {
    let mut transaction = store.begin().await?;
    transaction.put(
        Bytes::copy_from_slice(key.as_bytes()),
        Bytes::copy_from_slice(value.as_bytes()),
    );
    transaction.commit().await
}

pub(crate) async fn put(store: &EmbeddedStore, key: &str, value: &str) -> Version {
    try_put(store, key, value)
        .await
        .expect("a blind write commits")
}

pub(crate) async fn read(store: &EmbeddedStore, key: &str) -> Option<Bytes> {
    let mut transaction = store.begin().await.expect("an open store begins");
    let value = transaction
        .get(key.as_bytes(), ReadMode::Serializable)
        .await;
    value.expect("an open store reads")
}

/// All rows, page by page.
pub(crate) async fn dump(store: &EmbeddedStore) -> Vec<(Bytes, Bytes)> {
    let mut rows = Vec::new();
    let mut rest = Some(KeyRange::all());
    while let Some(range) = rest {
        let mut transaction = store.begin().await.expect("an open store begins");
        let options = ScanOptions::default();
        let page = transaction
            .scan(range.clone(), options)
            .await
            .expect("an open store scans");
        rest = page.next(&range, options.direction);
        rows.extend(page.rows);
    }
    rows
}

/// Lets background tasks come to rest. On paused time this takes none.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_mins(1)).await;
}
