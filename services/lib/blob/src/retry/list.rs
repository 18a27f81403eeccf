//! Listings that go on after an error.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _, try_unfold};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, Result};
use tidelog_env::Backoff;

use super::Policy;
use crate::metrics::Operation;

/// A listing under way.
struct Listing {
    inner: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    prefix: Option<Path>,
    /// The names that were given out lie at or before this one, if they came in order.
    last: Option<Path>,
    /// Whether each name came after the one before it: only then can the listing begin again behind it.
    in_order: bool,
    backoff: Backoff,
    stream: BoxStream<'static, Result<ObjectMeta>>,
}

pub(super) fn stream(
    inner: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let listing = Listing {
        stream: begin(inner.as_ref(), prefix, offset),
        backoff: policy.settings.policy().start(),
        inner,
        policy,
        prefix: prefix.cloned(),
        last: offset.cloned(),
        in_order: true,
    };
    try_unfold(listing, |mut listing| async move {
        Ok(listing.next().await?.map(|meta| (meta, listing)))
    })
    .boxed()
}

fn begin(
    inner: &dyn ObjectStore,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    match offset {
        Some(offset) => inner.list_with_offset(prefix, offset),
        None => inner.list(prefix),
    }
}

impl Listing {
    async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        loop {
            let next = async { self.stream.next().await.transpose() };
            let error = match self.policy.attempt(next).await {
                Ok(Some(meta)) => {
                    self.in_order &= self.last.as_ref().is_none_or(|last| *last < meta.location);
                    self.last = Some(meta.location.clone());
                    self.backoff = self.policy.settings.policy().start();
                    return Ok(Some(meta));
                }
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            if !self.in_order {
                return Err(error);
            }
            self.policy
                .wait(&mut self.backoff, Operation::List, error)
                .await?;
            self.stream = begin(
                self.inner.as_ref(),
                self.prefix.as_ref(),
                self.last.as_ref(),
            );
        }
    }
}
