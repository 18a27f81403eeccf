//! `SequencerService`.

use std::pin::Pin;

use futures::Stream;
use tidelog_api::internal::v1;
use tidelog_metadata_api::Log;
use tidelog_types::OffsetRange;
use tonic::{Request, Response, Status, Streaming};

use super::call::Front;
use super::{commit, subscribe};
use crate::rpc::Rpc;
use crate::settings::{EXTENTS_MAX, LOOKUPS_MAX, MARKERS_MESSAGE_MAX};
use crate::status;
use crate::wire::{
    WireError, aborted_to, active_to, bounds_to, fencing_token, located_to, log_failure_to,
    lookup_from, marker_from, marker_results_to, offset, offset_answer_to, partition_from,
    query_from, segment_from, token_to,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::sequencer_service_server::SequencerService for Front {
    type CommitStream = Answers<v1::CommitResponse>;
    type SubscribeStream = Answers<v1::SubscribeResponse>;

    async fn commit(
        &self,
        request: Request<Streaming<v1::CommitRequest>>,
    ) -> Result<Response<Self::CommitStream>, Status> {
        let call = self.begin(Rpc::Commit, &request)?;
        let log = call.parts()?.log;
        let answers = commit::answers(call, self.settings, log, request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn locate(
        &self,
        request: Request<v1::LocateRequest>,
    ) -> Result<Response<v1::LocateResponse>, Status> {
        let call = self.begin(Rpc::Locate, &request)?;
        let log = call.parts()?.log;
        let lookups = request.into_inner().lookups;
        call.run(async move { locate(log.as_ref(), lookups).await })
            .await
    }

    async fn resolve_offset(
        &self,
        request: Request<v1::ResolveOffsetRequest>,
    ) -> Result<Response<v1::ResolveOffsetResponse>, Status> {
        let call = self.begin(Rpc::ResolveOffset, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let partition = partition_from(request.partition)?;
            let query = query_from(request.position, request.timestamp)?;
            let answer = log.offset(partition, query).await;
            let answer = answer.map_err(|error| status::of_log(&error))?;
            Ok(offset_answer_to(&answer))
        })
        .await
    }

    async fn set_fencing_token(
        &self,
        request: Request<v1::SetFencingTokenRequest>,
    ) -> Result<Response<v1::SetFencingTokenResponse>, Status> {
        let call = self.begin(Rpc::SetFencingToken, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let partition = partition_from(request.partition)?;
            let expected = request.expected.map(fencing_token).transpose();
            let expected = expected?;
            let token = fencing_token(request.fencing_token)?;
            let set = log.set_fencing_token(partition, expected, token).await;
            let token = token_to(set.map_err(|error| status::of_log(&error))?);
            Ok(v1::SetFencingTokenResponse { token })
        })
        .await
    }

    async fn delete_records(
        &self,
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        let call = self.begin(Rpc::DeleteRecords, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let partition = partition_from(request.partition)?;
            let before = offset("before", request.before)?;
            let deleted = log.delete_records(partition, before).await;
            let (bounds, token) = deleted.map_err(|error| status::of_log(&error))?;
            Ok(v1::DeleteRecordsResponse {
                bounds: Some(bounds_to(bounds)),
                token: token_to(token),
            })
        })
        .await
    }

    async fn end_transactions(
        &self,
        request: Request<v1::EndTransactionsRequest>,
    ) -> Result<Response<v1::EndTransactionsResponse>, Status> {
        let call = self.begin(Rpc::EndTransactions, &request)?;
        let log = call.parts()?.log;
        let markers = request.into_inner().markers;
        call.run(async move {
            if markers.len() > MARKERS_MESSAGE_MAX {
                return Err(Status::from(WireError::TooLong {
                    field: "markers",
                    max: MARKERS_MESSAGE_MAX,
                }));
            }
            let markers = markers.into_iter().map(marker_from);
            let markers = markers.collect::<Result<_, WireError>>()?;
            let outcomes = log.end_transactions(markers).await;
            let results = marker_results_to(&outcomes);
            Ok(v1::EndTransactionsResponse { results })
        })
        .await
    }

    async fn list_aborted(
        &self,
        request: Request<v1::ListAbortedRequest>,
    ) -> Result<Response<v1::ListAbortedResponse>, Status> {
        let call = self.begin(Rpc::ListAborted, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let partition = partition_from(request.partition)?;
            let offsets = OffsetRange {
                base: offset("base_offset", request.base_offset)?,
                next: offset("next_offset", request.next_offset)?,
            };
            let aborted = log.aborted(partition, offsets).await;
            let aborted = aborted.map_err(|error| status::of_log(&error))?;
            Ok(v1::ListAbortedResponse {
                transactions: aborted.iter().map(aborted_to).collect(),
            })
        })
        .await
    }

    async fn list_producers(
        &self,
        request: Request<v1::ListProducersRequest>,
    ) -> Result<Response<v1::ListProducersResponse>, Status> {
        let call = self.begin(Rpc::ListProducers, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let partition = partition_from(request.partition)?;
            let producers = log.producers(partition).await;
            let producers = producers.map_err(|error| status::of_log(&error))?;
            Ok(v1::ListProducersResponse {
                producers: producers.iter().map(active_to).collect(),
            })
        })
        .await
    }

    async fn read_inline(
        &self,
        request: Request<v1::ReadInlineRequest>,
    ) -> Result<Response<v1::ReadInlineResponse>, Status> {
        let call = self.begin(Rpc::ReadInline, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let segment = request.segment.ok_or(WireError::Missing("segment"))?;
            let read = log.inline_segment(segment_from(segment)).await;
            let segment = read.map_err(|error| status::of_log(&error))?;
            Ok(v1::ReadInlineResponse { segment })
        })
        .await
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let call = self.begin(Rpc::Subscribe, &request)?;
        let parts = call.parts()?;
        let news = subscribe::news(call, &self.env, parts);
        Ok(Response::new(Box::pin(news)))
    }
}

async fn locate(log: &dyn Log, lookups: Vec<v1::Lookup>) -> Result<v1::LocateResponse, Status> {
    if lookups.len() > LOOKUPS_MAX {
        return Err(Status::from(WireError::TooLong {
            field: "lookups",
            max: LOOKUPS_MAX,
        }));
    }
    // However many share a request, its answer stays small.
    let extents_max = (EXTENTS_MAX / lookups.len().max(1)).max(1);
    let requests = lookups.into_iter().map(|lookup| {
        let mut request = lookup_from(lookup)?;
        request.extents_max = request.extents_max.min(extents_max);
        Ok(request)
    });
    let requests: Vec<_> = requests.collect::<Result<_, WireError>>()?;
    let answers = log.locate(&requests).await;
    let results = answers.iter().map(|answer| {
        let result = match answer {
            Ok(located) => v1::locate_result::Result::Located(located_to(located)),
            Err(error) => v1::locate_result::Result::Failure(log_failure_to(error)),
        };
        v1::LocateResult {
            result: Some(result),
        }
    });
    Ok(v1::LocateResponse {
        results: results.collect(),
    })
}
