//! The object store below `SlateDB`, wrapped so that the outcome of a create is never guessed.
//!
//! - A create that is refused because the name is taken may be our own, whose answer was lost. The
//!   object then holds exactly our bytes, and the create succeeded. (`SlateDB` has an identifier in the
//!   object's attributes for this, which local folders do not have; comparing works on every store and
//!   costs nothing until it is needed. Attributes are therefore dropped.)
//! - What became of the last log object is remembered, so that an error can be told apart: refused for
//!   certain, or unknown.
//! - On a local folder a failed write is final: after a failed fsync a second one proves nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    Attributes, Error, GetOptions, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use slatedb_common::retry::{NonRetryable, should_retry};
use tidelog_blob::delegate_object_store;

use crate::options::Medium;

/// What became of the log object that was put last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogPut {
    /// None was put since the last [`GuardedStore::arm`].
    None,
    /// It may be stored, or be stored later.
    Unknown,
    /// It is stored.
    Stored,
    /// It is not stored and never will be: its name belongs to another writer's object.
    Refused,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct GuardedStore {
    inner: Arc<dyn ObjectStore>,
    medium: Medium,
    log: Path,
    last: Mutex<LogPut>,
}

impl GuardedStore {
    /// Wraps the store in which `SlateDB` lives at `root`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, medium: Medium, root: &Path) -> Self {
        Self {
            inner,
            medium,
            log: root.clone().join("wal"),
            last: Mutex::new(LogPut::None),
        }
    }

    /// Forgets the last log object.
    pub(crate) fn arm(&self) {
        *self.last.lock() = LogPut::None;
    }

    /// What became of the last log object.
    pub(crate) fn last_log_put(&self) -> LogPut {
        *self.last.lock()
    }

    fn note(&self, location: &Path, state: LogPut) {
        if location.prefix_matches(&self.log) {
            *self.last.lock() = state;
        }
    }

    /// Whether the object is exactly `payload`. An empty one may be anybody's.
    async fn is_ours(&self, location: &Path, payload: &PutPayload) -> Result<bool> {
        if payload.content_length() == 0 {
            return Ok(false);
        }
        let found = self.inner.get_opts(location, GetOptions::default()).await?;
        if found.meta.size != payload.content_length() as u64 {
            return Ok(false);
        }
        let mut expected = payload.iter().flat_map(|chunk| chunk.iter());
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            if !chunk.iter().all(|byte| expected.next() == Some(byte)) {
                return Ok(false);
            }
        }
        Ok(expected.next().is_none())
    }

    fn finalize(&self, error: Error) -> Error {
        if self.medium == Medium::Folder && should_retry(&error) {
            let source = Box::new(NonRetryable(Box::new(error)));
            Error::Generic {
                store: "local folder",
                source,
            }
        } else {
            error
        }
    }
}

impl fmt::Display for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guarded {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for GuardedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let options = PutOptions {
            attributes: Attributes::new(),
            ..options
        };
        let creates = options.mode == PutMode::Create;
        self.note(location, LogPut::Unknown);
        let error = match self
            .inner
            .put_opts(location, payload.clone(), options)
            .await
        {
            Ok(result) => {
                self.note(location, LogPut::Stored);
                return Ok(result);
            }
            Err(error) => error,
        };
        let taken = matches!(
            error,
            Error::AlreadyExists { .. } | Error::Precondition { .. }
        );
        if !(creates && taken) {
            return Err(self.finalize(error));
        }
        if self.is_ours(location, &payload).await? {
            self.note(location, LogPut::Stored);
            return Ok(PutResult {
                e_tag: None,
                version: None,
                extensions: <_>::default(),
            });
        }
        self.note(location, LogPut::Refused);
        Err(error)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let options = PutMultipartOptions {
            attributes: Attributes::new(),
            ..options
        };
        self.inner.put_multipart_opts(location, options).await
    }

    delegate_object_store!(
        inner: get_opts, delete_stream, list, list_with_delimiter, copy_opts, rename_opts
    );
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn create() -> PutOptions {
        PutOptions::from(PutMode::Create)
    }

    async fn put(store: &GuardedStore, name: &str, bytes: &'static str) -> Result<PutResult> {
        store
            .put_opts(&Path::from(name), PutPayload::from(bytes), create())
            .await
    }

    #[tokio::test]
    async fn a_taken_name_is_ours_only_if_the_bytes_are() {
        let store = GuardedStore::new(Arc::new(InMemory::new()), Medium::Bucket, &"db".into());
        put(&store, "db/wal/1.sst", "ours")
            .await
            .expect("a free name");
        assert_eq!(store.last_log_put(), LogPut::Stored);
        put(&store, "db/wal/1.sst", "ours")
            .await
            .expect("our own object");
        assert_eq!(store.last_log_put(), LogPut::Stored);
        for other in ["other", "our", "outs", ""] {
            let error = put(&store, "db/wal/1.sst", other).await.expect_err("taken");
            assert!(matches!(error, Error::AlreadyExists { .. }));
            assert_eq!(store.last_log_put(), LogPut::Refused);
        }
    }

    #[tokio::test]
    async fn an_empty_object_is_nobodys() {
        let store = GuardedStore::new(Arc::new(InMemory::new()), Medium::Bucket, &"db".into());
        put(&store, "db/wal/1.sst", "").await.expect("a free name");
        put(&store, "db/wal/1.sst", "")
            .await
            .expect_err("it may be another writer's fence");
    }

    #[tokio::test]
    async fn only_log_objects_are_remembered() {
        let store = GuardedStore::new(Arc::new(InMemory::new()), Medium::Bucket, &"db".into());
        put(&store, "db/manifest/1", "x")
            .await
            .expect("a free name");
        assert_eq!(store.last_log_put(), LogPut::None);
    }
}
