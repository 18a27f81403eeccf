//! What of the shards of another process is to be compacted.

use async_trait::async_trait;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    Compacted, CompactionTask, Compactions, Extent, MERGE_KEEP_EVERY, MergeError, MergeId,
    SwapOutcome,
};
use tidelog_types::SegmentName;

use super::node::RemoteNode;
use crate::rpc::Rpc;
use crate::settings::SWAP_WITHIN;
use crate::status::CallError;
use crate::wire::{
    compacted_to, compaction_from, merge_id_to, replaced_to, shortened, swap_outcome_from,
};

#[async_trait]
impl Compactions for RemoteNode {
    /// While nothing is due, this is an open stream and nothing more.
    async fn next_compaction(&self) -> Result<CompactionTask, MergeError> {
        let peer = &self.peer;
        let within = peer.settings.connect_timeout + peer.settings.silence;
        let mut client = peer.compactions();
        let opening = client.take_compaction(v1::TakeCompactionRequest {});
        let stream = peer.open(Rpc::TakeCompaction, within, opening).await;
        let mut stream = stream.map_err(CallError::into_merge)?;
        let task = stream.message().await;
        let task = task.map_err(|status| CallError::from_status(&status).into_merge())?;
        let task = task.ok_or_else(|| MergeError::Unavailable {
            reason: format!("`{}` ended the stream", peer.address()),
        })?;
        compaction_from(&task).map_err(|error| CallError::from(error).into_merge())
    }

    async fn replace(
        &self,
        id: MergeId,
        segment: SegmentName,
        old: Vec<Extent>,
        new: Vec<Extent>,
    ) -> Result<SwapOutcome, MergeError> {
        let message = replaced_to(id, segment, &old, &new);
        let mut client = self.peer.compactions();
        let send = |request| async move { client.replace_extents(request).await };
        let call = self
            .peer
            .call_within(Rpc::ReplaceExtents, SWAP_WITHIN, message, send);
        let response = call.await.map_err(CallError::into_merge)?;
        let outcome = swap_outcome_from(response.outcome());
        outcome.map_err(|error| CallError::from(error).into_merge())
    }

    async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError> {
        let message = compacted_to(id, &compacted, is_last);
        let mut client = self.peer.compactions();
        let send = |request| async move { client.note_compacted(request).await };
        let call = self
            .peer
            .call_within(Rpc::NoteCompacted, SWAP_WITHIN, message, send);
        call.await.map(drop).map_err(CallError::into_merge)
    }

    async fn hold_compaction(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError> {
        let message = v1::HoldCompactionRequest {
            id: Some(merge_id_to(id)),
            given_up: given_up.map(shortened),
        };
        let mut client = self.peer.compactions();
        let send = |request| async move { client.hold_compaction(request).await };
        let call = self
            .peer
            .call_within(Rpc::HoldCompaction, MERGE_KEEP_EVERY, message, send);
        call.await.map(drop).map_err(CallError::into_merge)
    }
}
