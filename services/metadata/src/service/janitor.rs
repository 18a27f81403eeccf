//! What the service has for janitors to do.

use async_trait::async_trait;
use tidelog_metadata_api::{Deletions, JanitorWork, LogError};

use super::MetadataService;

#[async_trait]
impl JanitorWork for MetadataService {
    async fn due(&self) {
        // Nothing is handed out yet.
        std::future::pending::<()>().await;
    }

    async fn deletions(&self) -> Result<Deletions, LogError> {
        Ok(Deletions::default())
    }

    async fn deleted(&self, _: Deletions, _: bool) -> Result<(), LogError> {
        Ok(())
    }
}
