//! The commit stream: requests are taken in their order and answered as they are done.

use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{CommitError, Log, ShardCommit};
use tonic::{Status, Streaming};

use super::call::Call;
use crate::settings::{COMMITS_MAX, ServerSettings};
use crate::wire::{WireError, commit_from, commits_to_results, shortened};

/// What a commit stream does next.
enum Step {
    Answer(usize, v1::CommitResponse),
    Request(v1::CommitRequest),
    /// The caller has sent all, or will not.
    End(Option<Status>),
    Done,
}

/// Answers the requests of one stream. When the caller takes no answers, nothing more is read from it; when
/// it goes away, what was taken goes on by itself.
pub(super) fn answers(
    mut call: Call,
    settings: ServerSettings,
    log: Arc<dyn Log>,
    mut requests: Streaming<v1::CommitRequest>,
) -> impl Stream<Item = Result<v1::CommitResponse, Status>> + Send {
    async_stream::stream! {
        let mut open = FuturesUnordered::new();
        let mut open_bytes = 0;
        let mut is_reading = true;
        let mut failed = None;
        loop {
            let has_room = open.len() < settings.commits_open_max
                && open_bytes < settings.commit_bytes_open_max;
            let step = tokio::select! {
                biased;
                Some((bytes, answer)) = open.next(), if !open.is_empty() => {
                    Step::Answer(bytes, answer)
                }
                request = requests.message(), if is_reading && has_room => match request {
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
                    open_bytes += bytes;
                    // In the queues before the next request is read.
                    let answer = take(log.as_ref(), request);
                    open.push(async move { (bytes, answer.await) });
                }
                Step::End(error) => {
                    is_reading = false;
                    failed = error;
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

/// Hands a request to the log. Commits that make no sense are refused one by one; the others keep their
/// order.
fn take(
    log: &dyn Log,
    request: v1::CommitRequest,
) -> impl Future<Output = v1::CommitResponse> + Send + use<> {
    let request_id = request.request_id;
    let mut refused = Vec::new();
    let mut taken = Vec::new();
    for (at, commit) in request.commits.into_iter().enumerate() {
        match check(at, commit) {
            Ok(commit) => taken.push(commit),
            Err(error) => refused.push((at, error)),
        }
    }
    let answers = log.commit(taken);
    async move {
        let mut answers = answers.await;
        for (at, error) in refused {
            // In the order of their places, so that each finds its own.
            answers.insert(at.min(answers.len()), Err(error));
        }
        v1::CommitResponse {
            request_id,
            results: commits_to_results(answers),
        }
    }
}

fn check(at: usize, commit: v1::ShardCommit) -> Result<ShardCommit, CommitError> {
    let commit = if at < COMMITS_MAX {
        commit_from(commit)
    } else {
        let max = COMMITS_MAX;
        let field = "commits";
        Err(WireError::TooLong { field, max })
    };
    commit.map_err(|error| CommitError::Malformed {
        reason: shortened(error.to_string()),
    })
}
