//! A metadata process that has nothing for a janitor to do.

use async_trait::async_trait;
use tidelog_metadata_api::*;

use crate::fake::Fake;

#[async_trait]
impl JanitorWork for Fake {
    async fn due(&self) {
        std::future::pending::<()>().await;
    }

    async fn deletions(&self) -> Result<Deletions, LogError> {
        Ok(Deletions::default())
    }

    async fn deleted(&self, _: Deletions, _: bool) -> Result<(), LogError> {
        Ok(())
    }
}
