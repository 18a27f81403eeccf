//! The work for janitors, at whichever metadata process answers.

use async_trait::async_trait;
use tidelog_metadata_api::{Deletions, JanitorWork, LogError};

use super::Router;
use super::ask::Twice;
use crate::server::Parts;
use crate::settings::WORK_INTERVAL;

#[async_trait]
impl JanitorWork for Router {
    async fn due(&self) {
        let clock = self.inner.env.clock.as_ref();
        let Some(mut local) = self.inner.local.clone() else {
            return clock.sleep(WORK_INTERVAL).await;
        };
        match local.parts() {
            Some(parts) => tokio::select! {
                () = parts.janitor.due() => {}
                () = local.changed() => {}
            },
            None => clock.sleep(WORK_INTERVAL).await,
        }
    }

    async fn deletions(&self) -> Result<Deletions, LogError> {
        // What is handed out twice is handed out again.
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.janitor.deletions().await
        })
        .await
    }

    async fn deleted(&self, done: Deletions, pinned: bool) -> Result<(), LogError> {
        self.anywhere(Twice::Harmless, |parts: Parts| {
            let done = done.clone();
            async move { parts.janitor.deleted(done, pinned).await }
        })
        .await
    }
}
