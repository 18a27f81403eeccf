//! Tries again what may well succeed, a bounded number of times.
//!
//! What is tried again, and what that means for the caller:
//!
//! | operation | tried again | then |
//! | --- | --- | --- |
//! | GET, HEAD | always | bodies up to 64 MiB are collected within the attempt, so a body that breaks off or is too short is asked for again too; a longer one streams and its error is the caller's |
//! | PUT that overwrites | always | the same bytes come to the same place |
//! | PUT that creates | always | **`AlreadyExists` after a lost answer is not hidden**: it may be the caller's own object, and the caller settles that by reading it |
//! | PUT that updates a version | only what surely did not happen | a repeat would miss its own version |
//! | DELETE | always | what a repeat does not find counts as deleted |
//! | LIST | from the start, or after the last name if names came in order | else its error is the caller's |
//! | multipart | beginning and parts | completing is the caller's: it may have happened |
//!
//! An error after an attempt without an answer says so: see [`crate::errors::may_have_happened`].

mod delete;
mod list;
mod multipart;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result,
};
use tidelog_env::clock::timeout;
use tidelog_env::{Backoff, Clock, Rng};

use crate::body::{get_checked, wrong_length};
use crate::errors::{
    AttemptTimedOut, ErrorKind, classify, generic, mark_outcome_unknown, may_have_happened,
};
use crate::metrics::{Meter, Operation};
use crate::settings::RetrySettings;

/// Tries requests to the store below again.
#[derive(Clone, Debug)]
pub struct Retrying {
    inner: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
}

/// How to try again; shared with the streams and uploads that outlive a call.
#[derive(Debug)]
struct Policy {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    settings: RetrySettings,
    meter: Meter,
}

/// What repeating an operation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing, or the same again.
    Read,
    /// It changes something; a lost answer is worth a note.
    Write,
    /// It must not be repeated unless it surely did not happen.
    OnlyIfUndone,
}

impl Policy {
    /// Runs one attempt within its deadline.
    async fn attempt<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = self.settings.attempt_timeout;
        match timeout(self.clock.as_ref(), deadline, future).await {
            Ok(result) => result,
            Err(elapsed) => Err(generic(AttemptTimedOut(elapsed.0))),
        }
    }

    /// Waits before the next attempt if `error` is worth one; else gives the error back.
    async fn wait(
        &self,
        backoff: &mut Backoff,
        operation: Operation,
        error: object_store::Error,
    ) -> Result<()> {
        if !classify(&error).is_retriable() {
            return Err(error);
        }
        let Some(wait) = backoff.next_wait(self.rng.as_ref()) else {
            return Err(error);
        };
        tracing::debug!(
            operation = operation.as_str(),
            attempt = backoff.retries(),
            ?wait,
            %error,
            "trying a request to the object store again"
        );
        self.meter.retry(operation);
        self.clock.sleep(wait).await;
        Ok(())
    }

    /// Runs attempts until one succeeds or there shall be no more.
    async fn run<T, F>(
        &self,
        operation: Operation,
        repeat: Repeat,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = self.settings.policy().start();
        let mut unknown = false;
        loop {
            let error = match self.attempt(attempt()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let this_unknown = repeat != Repeat::Read && may_have_happened(&error);
            if repeat == Repeat::OnlyIfUndone && this_unknown {
                return Err(error);
            }
            if let Err(last) = self.wait(&mut backoff, operation, error).await {
                return Err(if unknown {
                    mark_outcome_unknown(last)
                } else {
                    last
                });
            }
            unknown |= this_unknown;
        }
    }
}

impl Retrying {
    /// Tries requests to `inner` again by `settings`, counting on `meter`.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        settings: RetrySettings,
        meter: Meter,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        Self {
            inner,
            policy: Arc::new(Policy {
                clock,
                rng,
                settings,
                meter,
            }),
        }
    }
}

impl fmt::Display for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retrying({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Retrying {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let repeat = match options.mode {
            PutMode::Overwrite | PutMode::Create => Repeat::Write,
            PutMode::Update(_) => Repeat::OnlyIfUndone,
        };
        let attempt = || {
            self.inner
                .put_opts(location, payload.clone(), options.clone())
        };
        self.policy.run(Operation::Put, repeat, attempt).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let options = multipart::with_part_retries(options, Arc::clone(&self.policy));
        let attempt = || self.inner.put_multipart_opts(location, options.clone());
        let upload = self
            .policy
            .run(Operation::Multipart, Repeat::Write, attempt)
            .await?;
        Ok(multipart::wrap(upload, Arc::clone(&self.policy)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head {
            Operation::Head
        } else {
            Operation::Get
        };
        let attempt = || get_checked(self.inner.as_ref(), location, options.clone());
        self.policy.run(operation, Repeat::Read, attempt).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let attempt = || async {
            let parts = self.inner.get_ranges(location, ranges).await?;
            for (range, part) in ranges.iter().zip(&parts) {
                // A range may end behind the object, so a part may be shorter, but never longer.
                let asked = range.end.saturating_sub(range.start);
                if part.len() as u64 > asked {
                    return Err(wrong_length(location.as_ref(), asked, part.len() as u64));
                }
            }
            Ok(parts)
        };
        self.policy.run(Operation::Get, Repeat::Read, attempt).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        delete::stream(Arc::clone(&self.inner), Arc::clone(&self.policy), locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::stream(
            Arc::clone(&self.inner),
            Arc::clone(&self.policy),
            prefix,
            None,
        )
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let inner = Arc::clone(&self.inner);
        list::stream(inner, Arc::clone(&self.policy), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let attempt = || self.inner.list_with_delimiter(prefix);
        self.policy
            .run(Operation::List, Repeat::Read, attempt)
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let repeat = match options.mode {
            CopyMode::Overwrite => Repeat::Write,
            CopyMode::Create => Repeat::OnlyIfUndone,
        };
        let attempt = || self.inner.copy_opts(from, to, options.clone());
        self.policy.run(Operation::Copy, repeat, attempt).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        // A repeat after a rename that was done would not find the source.
        let attempt = || self.inner.rename_opts(from, to, options.clone());
        self.policy
            .run(Operation::Copy, Repeat::OnlyIfUndone, attempt)
            .await
    }
}

/// Whether a repeated delete may take this error for "done".
fn is_gone(error: &object_store::Error) -> bool {
    classify(error) == ErrorKind::NotFound
}

#[cfg(test)]
mod tests;
