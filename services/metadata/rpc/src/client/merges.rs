//! What the shards of another process have to merge.

use async_trait::async_trait;
use bytes::Bytes;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    IndexedSlice, Log, MERGE_KEEP_EVERY, MergeError, MergeId, MergeTask, MergedRun, Merges,
    SwapOutcome,
};
use tidelog_types::SegmentName;

use super::node::RemoteNode;
use crate::rpc::Rpc;
use crate::settings::SWAP_WITHIN;
use crate::status::CallError;
use crate::wire::{MergeParts, merge_id_to, merged_to, segment_to, slice_to, swapped_from};

#[async_trait]
impl Merges for RemoteNode {
    /// While there is nothing to merge, this is an open stream and nothing more: that the peer is there is seen by the
    /// connection.
    async fn next(&self) -> Result<MergeTask, MergeError> {
        let peer = &self.peer;
        let within = peer.settings.connect_timeout + peer.settings.silence;
        let mut client = peer.merges();
        let opening = client.take_merge(v1::TakeMergeRequest {});
        let stream = peer.open(Rpc::TakeMerge, within, opening).await;
        let mut stream = stream.map_err(CallError::into_merge)?;
        let mut parts = MergeParts::default();
        loop {
            let part = stream.message().await;
            let part = part.map_err(|status| CallError::from_status(&status).into_merge())?;
            let part = part.ok_or_else(|| MergeError::Unavailable {
                reason: format!("`{}` ended the stream", peer.address()),
            })?;
            let task = parts.push(part);
            if let Some(task) = task.map_err(|error| CallError::from(error).into_merge())? {
                return Ok(task);
            }
        }
    }

    async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        let message = v1::KeepMergeRequest {
            id: Some(merge_id_to(id)),
        };
        let mut client = self.peer.merges();
        let send = |request| async move { client.keep_merge(request).await };
        let call = self
            .peer
            .call_within(Rpc::KeepMerge, MERGE_KEEP_EVERY, message, send);
        call.await.map(drop).map_err(CallError::into_merge)
    }

    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        let asked = runs.len();
        let message = v1::SwapMergeRequest {
            id: Some(merge_id_to(id)),
            segment: Some(segment_to(segment)),
            runs: runs.iter().map(merged_to).collect(),
        };
        let mut client = self.peer.merges();
        let send = |request| async move { client.swap_merge(request).await };
        let call = self
            .peer
            .call_within(Rpc::SwapMerge, SWAP_WITHIN, message, send);
        let response = call.await.map_err(CallError::into_merge)?;
        let outcomes = swapped_from(&response, asked);
        outcomes.map_err(|error| CallError::from(error).into_merge())
    }

    async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        let message = v1::DescribeMergeRequest {
            id: Some(merge_id_to(id)),
            segment: Some(segment_to(segment)),
            slices: slices.iter().map(slice_to).collect(),
        };
        let mut client = self.peer.merges();
        let send = |request| async move { client.describe_merge(request).await };
        let call = self
            .peer
            .call_within(Rpc::DescribeMerge, SWAP_WITHIN, message, send);
        call.await.map(drop).map_err(CallError::into_merge)
    }

    async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        let message = v1::FinishMergeRequest {
            id: Some(merge_id_to(id)),
        };
        let mut client = self.peer.merges();
        let send = |request| async move { client.finish_merge(request).await };
        let call = self
            .peer
            .call_within(Rpc::FinishMerge, SWAP_WITHIN, message, send);
        call.await.map(drop).map_err(CallError::into_merge)
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, MergeError> {
        let read = Log::inline_segment(self, segment).await;
        read.map_err(|error| MergeError::Unavailable {
            reason: error.to_string(),
        })
    }
}
