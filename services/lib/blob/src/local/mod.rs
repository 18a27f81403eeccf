//! A local folder as the bucket, with the promise of a real one: what was answered is on the disk.
//!
//! `object_store`'s file system store with fsync does most of it. A PUT is written to a staged file beside
//! its name, the file is fsynced, linked (create) or renamed (overwrite) to its name, and the folder is
//! fsynced, all before the answer. Three things are added here:
//!
//! - **New folders.** The store below fsyncs the folders that *it* creates. When two PUTs are first in one
//!   new folder, the second finds the folder there and does not wait for the first one's fsync of the
//!   parent; and a folder left by a process that was killed may never have been fsynced at all. So before
//!   the first write into a folder, this process makes sure itself that the way to it is on the disk.
//!   That takes longer than the write. A writer's segments go round 256 folders, so the folder of the
//!   next one is made ready behind the answer to the one before.
//! - **A failed flush is the end.** After the disk failed to flush, nobody knows what is on it; a retry
//!   could read its own object back from memory and take it for durable. So the store refuses everything
//!   from then on, until the process is started again.
//! - **Staged files** of processes that died are swept: see [`sweep`].
//!
//! Deletes are not fsynced: an object that comes back after a power cut is an orphan, which the janitor's
//! audit finds.

mod folders;
mod sweep;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::ready;
use futures::stream::{BoxStream, StreamExt as _, once};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::delegate_object_store;
use crate::errors::{ErrorKind, causes, classify, generic};
use crate::names::next_segment;
use folders::DurableFolders;

pub use sweep::{SweepReport, sweep};

/// What Linux and the BSDs answer when a disk could not do it; it has no name in the standard library.
const EIO: i32 = 5;

/// The disk failed to flush; what is on it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the disk failed to flush an earlier write: check it, then start again")]
pub struct DiskFailed;

/// A folder as a bucket. One instance serves everything in the process.
#[derive(Clone, Debug)]
pub struct LocalStore {
    inner: LocalFileSystem,
    root: PathBuf,
    folders: Arc<DurableFolders>,
    failed: Arc<AtomicBool>,
}

impl LocalStore {
    /// Opens a folder, making it if it is not there; its own name is on the disk afterwards.
    pub fn open(folder: &FsPath) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let root = std::fs::canonicalize(folder)?;
        folders::sync_upwards(&root)?;
        let inner = LocalFileSystem::new_with_prefix(&root)
            .map_err(io::Error::from)?
            .with_fsync(true);
        Ok(Self {
            inner,
            folders: Arc::new(DurableFolders::new(root.clone())),
            root,
            failed: Arc::new(AtomicBool::new(false)),
        })
    }

    /// The absolute path of the folder.
    pub fn root(&self) -> &FsPath {
        &self.root
    }

    /// Refuses once the disk has failed.
    fn alive(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            Err(generic(DiskFailed))
        } else {
            Ok(())
        }
    }

    /// Makes sure that the folder of `location` exists and that the way to it is on the disk.
    async fn prepare(&self, location: &Path) -> Result<()> {
        self.alive()?;
        let file = self.inner.path_to_filesystem(location)?;
        let Some(folder) = file.parent().map(FsPath::to_owned) else {
            return Ok(());
        };
        if self.folders.contains(&folder) {
            return Ok(());
        }
        let folders = Arc::clone(&self.folders);
        tokio::task::spawn_blocking(move || folders.make_durable(&folder))
            .await?
            .map_err(|error| self.judge(generic(error)))
    }

    /// Begins to make the folder of the segment ready that comes after the one at `location`.
    fn prepare_next(&self, location: &Path) -> Option<JoinHandle<()>> {
        let next = next_segment(location)?;
        let file = self.inner.path_to_filesystem(&next).ok()?;
        let folder = file.parent()?.to_owned();
        if self.folders.contains(&folder) {
            return None;
        }
        let store = self.clone();
        Some(tokio::task::spawn_blocking(move || {
            // What failed is tried again, and then told, by the segment itself.
            if let Err(error) = store.folders.make_durable(&folder) {
                store.judge(generic(error));
            }
        }))
    }

    /// Looks at the error of a write: if the disk failed to flush, this is the end.
    fn judge(&self, error: object_store::Error) -> object_store::Error {
        let io_errors = causes(&error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        let failed = io_errors
            .filter_map(io::Error::raw_os_error)
            .any(|code| code == EIO);
        if failed {
            tracing::error!(%error, "the disk failed, no more is written or read");
            self.failed.store(true, Ordering::Release);
        }
        error
    }

    /// Whether a create that failed left its object behind: then the name was linked and the flush of its
    /// folder is what failed.
    async fn judge_create(
        &self,
        location: &Path,
        error: object_store::Error,
    ) -> object_store::Error {
        let error = self.judge(error);
        if classify(&error) == ErrorKind::AlreadyExists {
            return error;
        }
        let head = GetOptions::new().with_head(true);
        if self.inner.get_opts(location, head).await.is_ok() {
            tracing::error!(%error, %location, "an object was linked but its folder not flushed");
            self.failed.store(true, Ordering::Release);
        }
        error
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.prepare(location).await?;
        let creates = options.mode == PutMode::Create;
        match self.inner.put_opts(location, payload, options).await {
            Ok(result) => {
                drop(self.prepare_next(location));
                Ok(result)
            }
            Err(error) if creates => Err(self.judge_create(location, error).await),
            Err(error) => Err(self.judge(error)),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.prepare(location).await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.alive()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.alive() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => once(ready(Err(error))).boxed(),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.prepare(to).await?;
        let result = self.inner.copy_opts(from, to, options).await;
        result.map_err(|error| self.judge(error))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.prepare(to).await?;
        let result = self.inner.rename_opts(from, to, options).await;
        result.map_err(|error| self.judge(error))
    }

    delegate_object_store!(inner: list, list_with_offset, list_with_delimiter);
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use tidelog_types::{ClusterId, Incarnation, SegmentName, SegmentSequence};

    use super::*;
    use crate::BucketLayout;

    fn create() -> PutOptions {
        PutOptions::from(PutMode::Create)
    }

    async fn is_refused(store: &LocalStore) -> bool {
        let path = Path::from("other");
        let put = store.put_opts(&path, PutPayload::new(), create()).await;
        let ends = [put.err(), store.get(&path).await.err()];
        let errors = ends.iter().flatten();
        errors.filter(|error| is_disk_failed(error)).count() == ends.len()
    }

    fn is_disk_failed(error: &object_store::Error) -> bool {
        let mut causes = causes(error);
        causes.any(<dyn std::error::Error + 'static>::is::<DiskFailed>)
    }

    #[tokio::test]
    async fn after_the_disk_failed_nothing_is_written_or_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        // A full disk is no such failure.
        let full = generic(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(classify(&store.judge(full)), ErrorKind::StorageFull);
        assert!(!is_refused(&store).await);
        store.judge(generic(io::Error::from_raw_os_error(EIO)));
        assert!(is_refused(&store).await);
        let error = store.alive().unwrap_err();
        assert!(!classify(&error).is_retriable());
    }

    #[tokio::test]
    async fn the_folder_of_the_next_segment_is_ready_before_that_segment_comes() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let layout =
            BucketLayout::new(Path::default()).cluster(ClusterId::from_random_bytes([9; 16]));
        let segment = |sequence| {
            let sequence = SegmentSequence::new(sequence);
            layout.segment(
                crate::names::MAIN,
                SegmentName::new(Incarnation::new(1), sequence),
            )
        };
        let folder = |path: &Path| {
            let file = store.inner.path_to_filesystem(path).unwrap();
            file.parent().unwrap().to_owned()
        };
        let prepared = store.prepare_next(&segment(1)).unwrap();
        prepared.await.unwrap();
        assert!(store.folders.contains(&folder(&segment(2))));
        assert!(folder(&segment(2)).is_dir());
        assert!(!store.folders.contains(&folder(&segment(1))));
        assert!(store.prepare_next(&segment(1)).is_none());
        assert!(store.prepare_next(&Path::from("wal/1")).is_none());
    }

    #[tokio::test]
    async fn a_create_that_failed_after_its_link_is_the_end_and_before_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let path = Path::from("seg/x");
        let fault = || generic(io::Error::from(io::ErrorKind::StorageFull));
        store.judge_create(&path, fault()).await;
        store.alive().unwrap();
        store
            .put_opts(&path, PutPayload::new(), create())
            .await
            .unwrap();
        // That it exists already is the answer to another question.
        let again = store.put_opts(&path, PutPayload::new(), create()).await;
        assert_eq!(classify(&again.unwrap_err()), ErrorKind::AlreadyExists);
        store.alive().unwrap();
        store.judge_create(&path, fault()).await;
        store.alive().unwrap_err();
    }
}
