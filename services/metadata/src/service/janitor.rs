//! What the service has for janitors to do.

use async_trait::async_trait;
use tidelog_metadata_api::{Deletions, JanitorWork, LogError};

use super::MetadataService;

#[async_trait]
impl JanitorWork for MetadataService {
    async fn due(&self) {
        self.inner.deletion.due().await;
    }

    async fn deletions(&self) -> Result<Deletions, LogError> {
        self.inner
            .touch
            .answer(self.inner.deletion.deletions())
            .await
    }

    async fn deleted(&self, done: Deletions, pinned: bool) -> Result<(), LogError> {
        let noted = self.inner.deletion.deleted(done, pinned);
        self.inner.touch.answer(noted).await
    }
}
