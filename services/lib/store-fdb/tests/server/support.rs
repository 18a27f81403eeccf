//! What the tests share.

use std::sync::OnceLock;
use std::time::Duration;

use tidelog_e2e_harness::FdbServer;
use tidelog_env::Env;
use tidelog_store::{
    Bytes, CommitError, KeyRange, ReadMode, ScanOptions, Store, StoreError, Transaction, Version,
};
use tidelog_store_fdb::{FdbOptions, FdbStore, Metrics, Network, NetworkOptions};

/// Longest wait for what must happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server, and a store on it.
pub(crate) async fn start() -> (FdbServer, FdbStore) {
    let server = FdbServer::start().await.expect("fdbserver starts");
    let store = open(options(&server)).await;
    (server, store)
}

pub(crate) fn options(server: &FdbServer) -> FdbOptions {
    FdbOptions::new(server.cluster_file())
}

pub(crate) async fn open(options: FdbOptions) -> FdbStore {
    open_in(options, Env::seeded(1)).await
}

pub(crate) async fn open_in(options: FdbOptions, env: Env) -> FdbStore {
    let opened = FdbStore::open(&network(), options, env, Metrics::unregistered()).await;
    opened.expect("the store opens")
}

/// The client of this process. Where all tests run in one, the first test to end must not take it from
/// the others; where each has its own, it ends with the test.
pub(crate) fn network() -> Network {
    static KEPT: OnceLock<Network> = OnceLock::new();
    let start = || Network::start(&NetworkOptions::default()).expect("the client starts");
    if has_own_process() {
        start()
    } else {
        KEPT.get_or_init(start).clone()
    }
}

/// Whether the test runs in a process of its own, as the test runner of the workspace lets it.
pub(crate) fn has_own_process() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

pub(crate) fn text(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

pub(crate) async fn begin(store: &FdbStore) -> Box<dyn Transaction> {
    store.begin().await.expect("an open store begins")
}

pub(crate) async fn try_put(
    store: &FdbStore,
    key: &str,
    value: &str,
) -> Result<Version, CommitError> {
    let mut transaction = store.begin().await?;
    transaction.put(text(key), text(value));
    transaction.commit().await
}

pub(crate) async fn put(store: &FdbStore, key: &str, value: &str) -> Version {
    try_put(store, key, value)
        .await
        .expect("a blind write commits")
}

pub(crate) async fn try_read(store: &FdbStore, key: &str) -> Result<Option<Bytes>, StoreError> {
    let mut transaction = store.begin().await?;
    transaction
        .get(key.as_bytes(), ReadMode::Serializable)
        .await
}

pub(crate) async fn read(store: &FdbStore, key: &str) -> Option<Bytes> {
    try_read(store, key).await.expect("an open store reads")
}

/// All keys of the store as text.
pub(crate) async fn keys(store: &FdbStore, options: ScanOptions) -> Vec<String> {
    let mut transaction = begin(store).await;
    let page = transaction.scan(KeyRange::all(), options).await;
    let rows = page.expect("an open store scans").rows;
    rows.iter()
        .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
        .collect()
}
