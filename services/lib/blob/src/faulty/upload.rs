//! An upload of many parts under faults.

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::apply::timed_out;
use super::{Fault, FaultyStore};
use crate::metrics::Operation;

pub(super) fn wrap(
    inner: Box<dyn MultipartUpload>,
    store: FaultyStore,
    path: Path,
) -> Box<dyn MultipartUpload> {
    Box::new(Upload { inner, store, path })
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    store: FaultyStore,
    path: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let fault = self.store.draw(Operation::Part, &self.path);
        let part = self.inner.put_part(data);
        let (store, path) = (self.store.clone(), self.path.clone());
        Box::pin(async move {
            store.refuse(fault, &path).await?;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = self.store.draw(Operation::Multipart, &self.path);
        self.store.refuse(fault, &self.path).await?;
        let done = self.inner.complete().await?;
        match fault {
            Some(Fault::GhostTimeout) => Err(timed_out()),
            _ => Ok(done),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
