//! Where pages come from when nobody has them.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_blob::object_store;
use tidelog_cache::{BucketPages, PAGE_BYTES, PageKey};
use tidelog_metadata_api::Log;
use tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX;

use super::ends::{End, Ends};

// What lies in the store is a page.
const _: () = assert!(INLINE_SEGMENT_BYTES_MAX <= PAGE_BYTES);

/// The most bytes of a page.
pub(super) const fn bytes_max(key: PageKey) -> u64 {
    if key.bucket.is_store() {
        INLINE_SEGMENT_BYTES_MAX as u64
    } else {
        PAGE_BYTES as u64
    }
}

/// The bucket, and the store for what lies there.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) bucket: BucketPages,
    pub(super) log: Arc<dyn Log>,
    pub(super) ends: Ends,
}

impl Source {
    /// A page as it was written.
    pub(super) async fn page(&self, key: PageKey) -> object_store::Result<Bytes> {
        if !key.bucket.is_store() {
            let (page, length) = self.bucket.read(key, 1).await?;
            self.ends.note(key, length);
            return Ok(page);
        }
        let segment = self.log.inline_segment(key.segment).await;
        let segment = segment.map_err(|error| object_store::Error::Generic {
            store: "metadata",
            source: error.into(),
        })?;
        segment.filter(|_| key.page == 0).ok_or_else(|| {
            let path = self
                .bucket
                .layout()
                .segment(key.bucket, key.segment)
                .to_string();
            let source = "it does not lie in the metadata store any more".into();
            object_store::Error::NotFound { path, source }
        })
    }

    /// Both pages of the end of a segment.
    pub(super) async fn end(&self, end: End) -> object_store::Result<(Bytes, Bytes)> {
        let (both, _) = self.bucket.read(end.first, 2).await?;
        let cut = both.len().min(PAGE_BYTES as usize);
        Ok((both.slice(..cut), both.slice(cut..)))
    }
}
