//! Pages from the bucket.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore};
use prometheus_client::metrics::counter::Counter;
use tidelog_blob::ClusterLayout;

use crate::page::{PAGE_BYTES, PageKey};

/// The bucket, by ranged GETs. Clones share it.
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
        Ok(self.read(key, 1).await?.0)
    }

    /// Some pages that follow each other, in one request, and how long the whole object is. There are fewer bytes where it ends.
    pub async fn read(&self, first: PageKey, pages: u32) -> object_store::Result<(Bytes, u64)> {
        self.gets.inc();
        let start = u64::from(first.page) * u64::from(PAGE_BYTES);
        let end = start + u64::from(pages) * u64::from(PAGE_BYTES);
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..GetOptions::default()
        };
        let path = self.layout.segment(first.bucket, first.segment);
        let found = self.store.get_opts(&path, options).await?;
        let length = found.meta.size;
        Ok((found.bytes().await?, length))
    }

    /// Where objects lie.
    pub const fn layout(&self) -> &ClusterLayout {
        &self.layout
    }
}
