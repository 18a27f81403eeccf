//! `GroupService`: requests are taken as they come and answered as they are done.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::ask_request::Request as Ask;
use tidelog_api::internal::v1::ask_response::Answer;
use tidelog_metadata_api::{FetchOffsets, GroupName, Groups, GroupsError};
use tonic::{Request, Response, Status, Streaming};

use super::call::{Call, Front};
use crate::rpc::Rpc;
use crate::settings::{MESSAGE_BYTES_MAX, ServerSettings, ask_limit};
use crate::wire::{
    WireError, beat_from, beaten_to, commit_offsets_from, delete_offsets_from, description_to,
    end_transaction_from, fetch_from, fetched_to, filter_from, group_failure_to, group_page_to,
    heartbeat_from, join_from, joined_to, leave_from, name_from, outcomes_to, shortened, sync_from,
    synced_to,
};

#[tonic::async_trait]
impl v1::group_service_server::GroupService for Front {
    type AskStream = Pin<Box<dyn Stream<Item = Result<v1::AskResponse, Status>> + Send>>;

    async fn ask(
        &self,
        request: Request<Streaming<v1::AskRequest>>,
    ) -> Result<Response<Self::AskStream>, Status> {
        let call = self.begin(Rpc::Ask, &request)?;
        let groups = call.parts()?.groups;
        let answers = answers(call, self.settings, groups, request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }
}

/// What a stream does next.
enum Step {
    Answer(usize, v1::AskResponse),
    Request(v1::AskRequest),
    /// The caller has sent all, or will not.
    End(Option<Status>),
    Done,
}

/// Answers the requests of one stream. Beyond its limits a request is refused and the next one is read: behind those
/// that wait for others there may be the one that they wait for.
fn answers(
    mut call: Call,
    settings: ServerSettings,
    groups: Arc<dyn Groups>,
    mut requests: Streaming<v1::AskRequest>,
) -> impl Stream<Item = Result<v1::AskResponse, Status>> + Send {
    async_stream::stream! {
        let mut open = FuturesUnordered::new();
        let mut open_bytes = 0;
        let mut is_reading = true;
        let mut failed = None;
        loop {
            let step = tokio::select! {
                biased;
                Some((bytes, answer)) = open.next(), if !open.is_empty() => {
                    Step::Answer(bytes, answer)
                }
                request = requests.message(), if is_reading => match request {
                    Ok(Some(request)) => Step::Request(request),
                    Ok(None) => Step::End(None),
                    Err(status) => Step::End(Some(status)),
                },
                () = call.closing(), if is_reading => Step::End(Some(call.closed())),
                else => Step::Done,
            };
            match step {
                Step::Answer(bytes, answer) => {
                    open_bytes -= bytes;
                    yield Ok(answer);
                }
                Step::Request(request) => {
                    let bytes = request.encoded_len();
                    let ask = request.request.as_ref();
                    let has_room = open.len() < ask_limit(settings.asks_open_max, ask)
                        && open_bytes + bytes <= ask_limit(settings.ask_bytes_open_max, ask);
                    if has_room {
                        open_bytes += bytes;
                        let answer = take(Arc::clone(&groups), request);
                        open.push(async move { (bytes, answer.await) });
                    } else {
                        yield Ok(response(request.request_id, Err(too_many())));
                    }
                }
                Step::End(error) => {
                    is_reading = false;
                    failed = error;
                    if failed.is_some() {
                        // Who joins may wait for long: the caller asks whoever answers next.
                        break;
                    }
                }
                Step::Done => break,
            }
        }
        call.end(failed.as_ref());
        if let Some(status) = failed {
            yield Err(status);
        }
    }
}

fn too_many() -> GroupsError {
    GroupsError::Unavailable {
        reason: "too many requests of this process wait".to_owned(),
    }
}

fn response(request_id: u64, answer: Result<Answer, GroupsError>) -> v1::AskResponse {
    let answer = answer.unwrap_or_else(|error| Answer::Failure(group_failure_to(&error)));
    v1::AskResponse {
        request_id,
        answer: Some(answer),
    }
}

/// Asks, and gives an answer that fits a message.
async fn take(groups: Arc<dyn Groups>, request: v1::AskRequest) -> v1::AskResponse {
    let request_id = request.request_id;
    let answer = match request.request {
        Some(ask) => answer(groups.as_ref(), ask).await,
        // Of a later version.
        None => Err(GroupsError::InvalidRequest {
            reason: "this metadata process does not know the request".to_owned(),
        }),
    };
    let whole = response(request_id, answer);
    if whole.encoded_len() < MESSAGE_BYTES_MAX {
        return whole;
    }
    let reason = "the answer is larger than a message between processes may be".to_owned();
    response(request_id, Err(GroupsError::TooLarge { reason }))
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
fn refuse(error: WireError) -> GroupsError {
    GroupsError::InvalidRequest {
        reason: shortened(error.to_string()),
    }
}

async fn answer(groups: &dyn Groups, ask: Ask) -> Result<Answer, GroupsError> {
    Ok(match ask {
        Ask::Join(request) => {
            let request = join_from(request).map_err(refuse)?;
            Answer::Joined(joined_to(groups.join(request).await?))
        }
        Ask::Sync(request) => {
            let request = sync_from(request).map_err(refuse)?;
            Answer::Synced(synced_to(groups.sync(request).await?))
        }
        Ask::Heartbeat(request) => {
            let request = heartbeat_from(request).map_err(refuse)?;
            groups.heartbeat(request).await?;
            Answer::Done(v1::GroupDone {})
        }
        Ask::Leave(request) => {
            let request = leave_from(request).map_err(refuse)?;
            Answer::Outcomes(outcomes_to(groups.leave(request).await?))
        }
        Ask::ConsumerHeartbeat(request) => {
            let request = beat_from(request).map_err(refuse)?;
            Answer::Beaten(beaten_to(groups.consumer_heartbeat(request).await?))
        }
        Ask::CommitOffsets(request) => {
            let request = commit_offsets_from(request).map_err(refuse)?;
            Answer::Outcomes(outcomes_to(groups.commit_offsets(request).await?))
        }
        Ask::FetchOffsets(request) => {
            let request = fetch_from(request).map_err(refuse)?;
            fetch(groups, request).await?
        }
        Ask::DeleteOffsets(request) => {
            let request = delete_offsets_from(request).map_err(refuse)?;
            Answer::Outcomes(outcomes_to(groups.delete_offsets(request).await?))
        }
        Ask::EndTransaction(request) => {
            let end = end_transaction_from(&request).map_err(refuse)?;
            let outcome = groups.end_group_transactions(vec![end]).await.pop();
            outcome.unwrap_or(Err(GroupsError::Unknown))?;
            Answer::Done(v1::GroupDone {})
        }
        Ask::ListGroups(request) => {
            let filter = filter_from(&request).map_err(refuse)?;
            let count = usize::try_from(request.count).unwrap_or(usize::MAX);
            let page = groups.list_groups(&filter, &request.after, count).await?;
            Answer::Listed(group_page_to(page))
        }
        Ask::DescribeGroup(request) => {
            let name = name_from(&request.group).map_err(refuse)?;
            describe(groups, name).await?
        }
        Ask::DeleteGroup(request) => {
            let name = name_from(&request.group).map_err(refuse)?;
            let outcome = groups.delete_groups(&[name]).await.pop();
            outcome.unwrap_or(Err(GroupsError::Unknown))?;
            Answer::Done(v1::GroupDone {})
        }
    })
}

async fn fetch(groups: &dyn Groups, request: FetchOffsets) -> Result<Answer, GroupsError> {
    let fetched = groups.fetch_offsets(vec![request]).await.pop();
    let fetched = fetched.unwrap_or(Err(GroupsError::Unknown))?;
    Ok(Answer::Fetched(fetched_to(fetched)))
}

async fn describe(groups: &dyn Groups, name: GroupName) -> Result<Answer, GroupsError> {
    let description = groups.describe_groups(&[name]).await.pop();
    let description = description.unwrap_or(Err(GroupsError::Unknown))?;
    Ok(Answer::Description(description_to(description)))
}
