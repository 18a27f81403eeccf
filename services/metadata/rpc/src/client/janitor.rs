//! The work for janitors at another process.

use async_trait::async_trait;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{Deletions, JanitorWork, LogError};

use super::node::RemoteNode;
use crate::rpc::Rpc;
use crate::settings::WORK_INTERVAL;
use crate::status::CallError;
use crate::wire::{deletions_from, deletions_to};

#[async_trait]
impl JanitorWork for RemoteNode {
    /// The peer knows without looking, so that it is asked now and then.
    async fn due(&self) {
        self.peer.env.clock.sleep(WORK_INTERVAL).await;
    }

    async fn deletions(&self) -> Result<Deletions, LogError> {
        let mut client = self.peer.janitor();
        let message = v1::TakeDeletionsRequest {};
        let answer = self
            .peer
            .call(Rpc::TakeDeletions, message, |request| async move {
                client.take_deletions(request).await
            });
        let taken = answer.await.map_err(CallError::into_log)?;
        deletions_from(taken.deletions).map_err(|error| CallError::from(error).into_log())
    }

    async fn deleted(&self, done: Deletions, pinned: bool) -> Result<(), LogError> {
        let mut client = self.peer.janitor();
        let message = v1::NoteDeletedRequest {
            deletions: Some(deletions_to(&done)),
            pinned,
        };
        let answer = self
            .peer
            .call(Rpc::NoteDeleted, message, |request| async move {
                client.note_deleted(request).await
            });
        answer.await.map(drop).map_err(CallError::into_log)
    }
}
