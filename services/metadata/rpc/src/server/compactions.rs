//! `CompactionService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tidelog_api::internal::v1;
use tidelog_metadata_api::Compactions;
use tonic::{Request, Response, Status};

use super::call::{Call, Front};
use crate::rpc::Rpc;
use crate::status;
use crate::wire::{
    WireError, compacted_from, compaction_to, merge_id_from, replaced_from, segment_from,
    swap_outcome_to,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::compaction_service_server::CompactionService for Front {
    type TakeCompactionStream = Answers<v1::TakeCompactionResponse>;

    async fn take_compaction(
        &self,
        request: Request<v1::TakeCompactionRequest>,
    ) -> Result<Response<Self::TakeCompactionStream>, Status> {
        let call = self.begin(Rpc::TakeCompaction, &request)?;
        let compactions = call.parts()?.compactions;
        Ok(Response::new(Box::pin(task(call, compactions))))
    }

    async fn hold_compaction(
        &self,
        request: Request<v1::HoldCompactionRequest>,
    ) -> Result<Response<v1::HoldCompactionResponse>, Status> {
        let call = self.begin(Rpc::HoldCompaction, &request)?;
        let compactions = call.parts()?.compactions;
        let request = request.into_inner();
        call.run(async move {
            let id = merge_id_from(request.id)?;
            let held = compactions.hold_compaction(id, request.given_up).await;
            held.map_err(|error| status::of_merge(&error))?;
            Ok(v1::HoldCompactionResponse {})
        })
        .await
    }

    async fn replace_extents(
        &self,
        request: Request<v1::ReplaceExtentsRequest>,
    ) -> Result<Response<v1::ReplaceExtentsResponse>, Status> {
        let call = self.begin(Rpc::ReplaceExtents, &request)?;
        let compactions = call.parts()?.compactions;
        let request = request.into_inner();
        call.run(async move {
            let id = merge_id_from(request.id)?;
            let segment = request.segment.ok_or(WireError::Missing("segment"))?;
            let (old, new) = replaced_from(&request.old, &request.new)?;
            let replaced = compactions.replace(id, segment_from(segment), old, new);
            let outcome = replaced.await.map_err(|error| status::of_merge(&error))?;
            Ok(v1::ReplaceExtentsResponse {
                outcome: swap_outcome_to(outcome).into(),
            })
        })
        .await
    }

    async fn note_compacted(
        &self,
        request: Request<v1::NoteCompactedRequest>,
    ) -> Result<Response<v1::NoteCompactedResponse>, Status> {
        let call = self.begin(Rpc::NoteCompacted, &request)?;
        let compactions = call.parts()?.compactions;
        let request = request.into_inner();
        call.run(async move {
            let id = merge_id_from(request.id)?;
            let compacted = compacted_from(&request);
            let noted = compactions.compacted(id, compacted, request.is_last);
            noted.await.map_err(|error| status::of_merge(&error))?;
            Ok(v1::NoteCompactedResponse {})
        })
        .await
    }
}

/// One task, once there is one.
fn task(
    mut call: Call,
    compactions: Arc<dyn Compactions>,
) -> impl Stream<Item = Result<v1::TakeCompactionResponse, Status>> + Send {
    async_stream::stream! {
        let taken = tokio::select! {
            biased;
            () = call.closing() => Err(call.closed()),
            task = compactions.next_compaction() => task.map_err(|error| status::of_merge(&error)),
        };
        call.end(taken.as_ref().err());
        yield taken.map(|task| compaction_to(&task));
    }
}
