//! `MergeService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tidelog_api::internal::v1;
use tidelog_metadata_api::Merges;
use tonic::{Request, Response, Status};

use super::call::{Call, Front};
use crate::rpc::Rpc;
use crate::status;
use crate::wire::{
    WireError, merge_id_from, merge_task_to, merged_from, segment_from, slices_from, swapped_to,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::merge_service_server::MergeService for Front {
    type TakeMergeStream = Answers<v1::TakeMergeResponse>;

    async fn take_merge(
        &self,
        request: Request<v1::TakeMergeRequest>,
    ) -> Result<Response<Self::TakeMergeStream>, Status> {
        let call = self.begin(Rpc::TakeMerge, &request)?;
        let merges = call.parts()?.merges;
        Ok(Response::new(Box::pin(task(call, merges))))
    }

    async fn keep_merge(
        &self,
        request: Request<v1::KeepMergeRequest>,
    ) -> Result<Response<v1::KeepMergeResponse>, Status> {
        let call = self.begin(Rpc::KeepMerge, &request)?;
        let merges = call.parts()?.merges;
        let request = request.into_inner();
        call.run(async move {
            let kept = merges.keep(merge_id_from(request.id)?).await;
            kept.map_err(|error| status::of_merge(&error))?;
            Ok(v1::KeepMergeResponse {})
        })
        .await
    }

    async fn swap_merge(
        &self,
        request: Request<v1::SwapMergeRequest>,
    ) -> Result<Response<v1::SwapMergeResponse>, Status> {
        let call = self.begin(Rpc::SwapMerge, &request)?;
        let merges = call.parts()?.merges;
        let request = request.into_inner();
        call.run(async move {
            let id = merge_id_from(request.id)?;
            let segment = request.segment.ok_or(WireError::Missing("segment"))?;
            let runs = merged_from(request.runs)?;
            let swapped = merges.swap(id, segment_from(segment), runs).await;
            let outcomes = swapped.map_err(|error| status::of_merge(&error))?;
            Ok(swapped_to(&outcomes))
        })
        .await
    }

    async fn describe_merge(
        &self,
        request: Request<v1::DescribeMergeRequest>,
    ) -> Result<Response<v1::DescribeMergeResponse>, Status> {
        let call = self.begin(Rpc::DescribeMerge, &request)?;
        let merges = call.parts()?.merges;
        let request = request.into_inner();
        call.run(async move {
            let id = merge_id_from(request.id)?;
            let segment = request.segment.ok_or(WireError::Missing("segment"))?;
            let slices = slices_from(request.slices)?;
            let described = merges.describe(id, segment_from(segment), slices).await;
            described.map_err(|error| status::of_merge(&error))?;
            Ok(v1::DescribeMergeResponse {})
        })
        .await
    }

    async fn finish_merge(
        &self,
        request: Request<v1::FinishMergeRequest>,
    ) -> Result<Response<v1::FinishMergeResponse>, Status> {
        let call = self.begin(Rpc::FinishMerge, &request)?;
        let merges = call.parts()?.merges;
        let request = request.into_inner();
        call.run(async move {
            let finished = merges.finish(merge_id_from(request.id)?).await;
            finished.map_err(|error| status::of_merge(&error))?;
            Ok(v1::FinishMergeResponse {})
        })
        .await
    }
}

/// One task in parts, once there is one.
fn task(
    mut call: Call,
    merges: Arc<dyn Merges>,
) -> impl Stream<Item = Result<v1::TakeMergeResponse, Status>> + Send {
    async_stream::stream! {
        let taken = tokio::select! {
            biased;
            () = call.closing() => Err(call.closed()),
            task = merges.next() => task.map_err(|error| status::of_merge(&error)),
        };
        call.end(taken.as_ref().err());
        match taken {
            Ok(task) => {
                for part in merge_task_to(&task) {
                    yield Ok(part);
                }
            }
            Err(status) => yield Err(status),
        }
    }
}
