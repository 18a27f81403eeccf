//! What is measured.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_env::Env;
use tidelog_store_embedded::{EmbeddedStore, Metrics};

use crate::support::{options, put};

#[tokio::test(start_paused = true)]
async fn commits_flushes_and_group_sizes_are_exported() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let objects = Arc::new(object_store::memory::InMemory::new());
    let opened = EmbeddedStore::open(objects, options(), Env::seeded(1), metrics).await;
    let store = opened.expect("opens");
    put(&store, "key", "x").await;
    put(&store, "key", "y").await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    for line in [
        "tidelog_store_commits_total 2",
        "tidelog_store_group_size_sum 2.0",
        "tidelog_store_flush_seconds_count 2",
        "tidelog_store_conflicts_total 0",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
}
