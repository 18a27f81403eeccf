//! Deletes that are tried again, in the chunks in which S3 takes them.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, iter};
use object_store::path::Path;
use object_store::{ObjectStore, Result};

use super::{Policy, is_gone};
use crate::errors::{AttemptTimedOut, classify, generic};
use crate::metrics::Operation;

/// S3 deletes up to this many objects in one request.
const CHUNK: usize = 1_000;

pub(super) fn stream(
    inner: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    locations
        .try_chunks(CHUNK)
        .map_err(|error| error.1)
        .and_then(move |paths| {
            let inner = Arc::clone(&inner);
            let policy = Arc::clone(&policy);
            async move { Ok(iter(delete_chunk(inner.as_ref(), &policy, paths).await)) }
        })
        .try_flatten()
        .boxed()
}

/// Deletes a chunk; one result for each path, in their order.
async fn delete_chunk(
    inner: &dyn ObjectStore,
    policy: &Policy,
    paths: Vec<Path>,
) -> Vec<Result<Path>> {
    let mut backoff = policy.settings.policy().start();
    let mut results: Vec<Option<Result<Path>>> = Vec::new();
    results.resize_with(paths.len(), || None);
    // Places of the paths that are still to be deleted.
    let mut open: Vec<usize> = (0..paths.len()).collect();
    let mut repeated = false;
    while !open.is_empty() {
        let answers = attempt(inner, policy, open.iter().map(|at| paths[*at].clone())).await;
        let mut failed = None;
        let mut again = Vec::new();
        for (at, answer) in open.iter().copied().zip(answers) {
            match answer {
                Err(error) if repeated && is_gone(&error) => {
                    results[at] = Some(Ok(paths[at].clone()));
                }
                Err(error) if classify(&error).is_retriable() => {
                    again.push((at, error));
                }
                answer => results[at] = Some(answer),
            }
        }
        // One wait for the whole chunk, by the first error.
        if !again.is_empty() {
            let (at, first) = again.swap_remove(0);
            match policy.wait(&mut backoff, Operation::Delete, first).await {
                Ok(()) => failed = Some(at),
                Err(last) => {
                    results[at] = Some(Err(last));
                    for (at, error) in again.drain(..) {
                        results[at] = Some(Err(error));
                    }
                }
            }
        }
        open = failed
            .into_iter()
            .chain(again.into_iter().map(|(at, _)| at))
            .collect();
        open.sort_unstable();
        repeated = true;
    }
    results.into_iter().flatten().collect()
}

/// One attempt: exactly one answer for each path. A store that fails the request as a whole, or gives
/// fewer answers, has failed those that are missing.
async fn attempt(
    inner: &dyn ObjectStore,
    policy: &Policy,
    paths: impl Iterator<Item = Path>,
) -> Vec<Result<Path>> {
    let paths: Vec<Path> = paths.collect();
    let count = paths.len();
    let deletes = inner.delete_stream(iter(paths.into_iter().map(Ok)).boxed());
    let collected = policy
        .attempt(async { Ok(deletes.collect::<Vec<_>>().await) })
        .await;
    let mut answers = collected.unwrap_or_else(|error| vec![Err(error)]);
    while answers.len() < count {
        // It is not known which of them were done, and to delete again does no harm.
        let missing = AttemptTimedOut(policy.settings.attempt_timeout);
        answers.push(Err(generic(missing)));
    }
    answers
}
