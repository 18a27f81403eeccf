//! Pages from the bucket.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore};
use prometheus_client::metrics::counter::Counter;
use tidelog_blob::ClusterLayout;

use crate::page::{PAGE_BYTES, PageKey};

/// The bucket: one ranged GET a page. Clones share it.
#[derive(Clone, Debug)]
pub struct BucketPages {
    store: Arc<dyn ObjectStore>,
    layout: ClusterLayout,
    gets: Counter,
}

impl BucketPages {
    /// Reads segments from `store`, wrapped as the process wants it, and counts on `gets`.
    pub const fn new(store: Arc<dyn ObjectStore>, layout: ClusterLayout, gets: Counter) -> Self {
        Self {
            store,
            layout,
            gets,
        }
    }

    /// The page as the bucket has it.
    pub async fn page(&self, key: PageKey) -> object_store::Result<Bytes> {
        self.gets.inc();
        let start = u64::from(key.page) * u64::from(PAGE_BYTES);
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..start + u64::from(PAGE_BYTES))),
            ..GetOptions::default()
        };
        let path = self.layout.segment(key.bucket, key.segment);
        self.store.get_opts(&path, options).await?.bytes().await
    }

    /// Where objects lie.
    pub const fn layout(&self) -> &ClusterLayout {
        &self.layout
    }
}
