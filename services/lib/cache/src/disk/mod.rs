//! Pages that left memory, on the local disk.
//!
//! The disk holds nothing that is not in the bucket. So nothing that goes wrong here is an error: a page that
//! cannot be read, is damaged or was overwritten is a miss, and a folder that cannot be used leaves the cache with
//! its memory alone. All of it is counted. Room on the disk is taken at the start, so that it cannot run out later:
//! foyer writes nothing more after a write that failed.
//!
//! The two pools have a store each, so that a scan does not evict the tail here either. foyer writes blocks,
//! a file each, round and round; it runs a few tasks of its own on the runtime, which end with the store. What it
//! may hold in memory is [`DISK_MEMORY_BYTES`], whatever is read and written: pages for which there is no room on the
//! way to disk are not kept.

mod entry;

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, Load, PsyncIoEngineConfig, RecoverMode,
};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use thiserror::Error;
use tidelog_env::Env;
use tidelog_env::clock::timeout;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Counters;
use crate::page::{Page, PageKey};
use crate::settings::{DiskSettings, Pool};
use entry::{ENTRY_BYTES_MAX, Entry};

/// Bytes of a block, the unit of eviction, in a small store: fifteen whole pages.
const BLOCK_BYTES_MIN: usize = 64 * 1024 * 1024;
/// In a large one; a place in a block is a u32.
const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
/// About so many blocks has a store, each with an open file.
const BLOCKS: usize = 128;
/// Blocks that a store must have to write one while it clears another.
const BLOCKS_MIN: usize = 4;
/// Bytes of the index in front of the pages of a block.
const INDEX_BYTES: usize = 4 * 1024;
/// What is gathered for one write: a page and its place in the index. foyer has two such buffers.
const BUFFER_BYTES: usize = (ENTRY_BYTES_MAX + 64 * 1024).next_multiple_of(4 * 1024);
/// Pages that wait for it: when they are more than this, the next one is not kept.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Pages that are read at the same time: each is in memory twice, as it was read and as it is given out.
const READS_MAX: usize = 2;
/// How long a reader waits for the disk before it goes elsewhere, first for its turn and then for the page.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many errors of reading, one after the other, and the disk is asked no more.
const ERRORS_MAX: u32 = 16;

/// What the disk takes of memory, at most.
pub const DISK_MEMORY_BYTES: u64 = (2 * (2 * BUFFER_BYTES + QUEUE_BYTES + ENTRY_BYTES_MAX)
    + READS_MAX * 2 * ENTRY_BYTES_MAX) as u64;
/// The least that is worth a disk.
pub const DISK_BYTES_MIN: u64 = (4 * BLOCKS_MIN * BLOCK_BYTES_MIN) as u64;

/// The name of the file that says that a process uses the folder.
const LOCK: &str = "lock";
/// The folders of pages begin so, whatever their format.
const FOLDER_PREFIX: &str = "pages-";
/// The format that this build writes.
const FORMAT: u32 = 1;
/// What foyer calls its files, before their number.
const FILE_PREFIX: &str = "foyer-storage-direct-fs-";

/// The folder cannot be used.
#[derive(Debug, Error)]
pub(crate) enum DiskError {
    #[error("the folder `{}` cannot be used", .folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the folder `{}` is used by another process", .0.display())]
    Taken(PathBuf),
    #[error("the pages in `{}` cannot be opened", .folder.display())]
    Store {
        folder: PathBuf,
        #[source]
        source: foyer::Error,
    },
}

/// The disk of both pools.
pub(crate) struct Disk {
    pub(crate) tail: DiskPool,
    pub(crate) catch_up: DiskPool,
    /// Held for as long as the folder is used.
    _lock: File,
}

impl Disk {
    /// Opens what the folder holds; a page that was written before is found again.
    pub(crate) async fn open(
        settings: &DiskSettings,
        env: &Env,
        counters: impl Fn(Pool) -> Counters,
    ) -> Result<Self, DiskError> {
        Self::open_with(settings, BLOCK_BYTES_MIN, env, counters).await
    }

    async fn open_with(
        settings: &DiskSettings,
        block_bytes_min: usize,
        env: &Env,
        counters: impl Fn(Pool) -> Counters,
    ) -> Result<Self, DiskError> {
        let folder = &settings.folder;
        let failed = |source| DiskError::Folder {
            folder: folder.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(folder.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DiskError::Taken(folder.clone()),
            TryLockError::Error(source) => failed(source),
        })?;
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let bytes = usize::try_from(settings.bytes).unwrap_or(usize::MAX);
        // Old data is more than the tail, and each of its readers is elsewhere in it.
        let tail_bytes = bytes / 4;
        let tail = Shape::of(Pool::Tail, tail_bytes, block_bytes_min);
        let catch_up = Shape::of(Pool::CatchUp, bytes - tail_bytes, block_bytes_min);
        let used = [tail.folder(), catch_up.folder()];
        remove_others(folder, &used).map_err(failed)?;
        let store = async |shape: Shape| {
            let counters = counters(shape.pool);
            let folder = folder.join(shape.folder());
            DiskPool::open(&folder, shape, counters, (&reads, env)).await
        };
        Ok(Self {
            tail: store(tail).await?,
            catch_up: store(catch_up).await?,
            _lock: lock,
        })
    }

    /// The page, in whichever pool, proven by its own checksums.
    pub(crate) async fn load(&self, key: &PageKey) -> Option<Page> {
        if let Some(page) = self.tail.load(key).await {
            return Some(page);
        }
        self.catch_up.load(key).await
    }

    /// Forgets a page.
    pub(crate) fn remove(&self, key: &PageKey) {
        self.tail.remove(key);
        self.catch_up.remove(key);
    }

    /// Ends when all that was put is written or given up.
    #[cfg(test)]
    pub(crate) async fn settle(&self) {
        self.tail.store.storage().wait().await;
        self.catch_up.store.storage().wait().await;
    }
}

/// How the disk of one pool is cut.
#[derive(Clone, Copy, Debug)]
struct Shape {
    pool: Pool,
    blocks: usize,
    block_bytes: usize,
}

impl Shape {
    fn of(pool: Pool, bytes: usize, block_bytes_min: usize) -> Self {
        let block_bytes = (bytes / BLOCKS / block_bytes_min * block_bytes_min)
            .clamp(block_bytes_min, BLOCK_BYTES_MAX);
        Self {
            pool,
            blocks: (bytes / block_bytes).max(BLOCKS_MIN),
            block_bytes,
        }
    }

    /// Its folder. What was cut in another way cannot be read.
    fn folder(self) -> String {
        let (pool, bytes) = (self.pool.as_str(), self.block_bytes);
        format!("{FOLDER_PREFIX}{FORMAT}-{pool}-{bytes}")
    }
}

/// The disk of one pool. Clones share it.
#[derive(Clone)]
pub(crate) struct DiskPool {
    store: HybridCache<PageKey, Entry>,
    counters: Counters,
    reads: Arc<Semaphore>,
    env: Env,
    /// How many reads have failed since one did not.
    errors: Arc<AtomicU32>,
}

impl fmt::Debug for DiskPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskPool").finish_non_exhaustive()
    }
}

impl DiskPool {
    async fn open(
        folder: &Path,
        shape: Shape,
        counters: Counters,
        (reads, env): (&Arc<Semaphore>, &Env),
    ) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Store {
            folder: folder.to_owned(),
            source,
        };
        let (blocks, block_bytes) = (shape.blocks, shape.block_bytes);
        let made = std::fs::create_dir_all(folder)
            .and_then(|()| remove_beyond(folder, blocks))
            .and_then(|()| {
                let taken = take_room(folder, blocks, block_bytes);
                // A disk that is full of nothing would be of use to nobody.
                taken.inspect_err(|_| drop(remove_beyond(folder, 0)))
            });
        made.map_err(|source| DiskError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let device = FsDeviceBuilder::new(folder).with_capacity(blocks * block_bytes);
        let engine = BlockEngineConfig::new(device.build().map_err(failed)?)
            .with_block_size(block_bytes)
            .with_blob_index_size(INDEX_BYTES)
            .with_buffer_pool_size(BUFFER_BYTES)
            .with_submit_queue_size_threshold(QUEUE_BYTES);
        // Memory is the page cache's: foyer's own holds a page no longer than it takes to write it.
        let store = HybridCacheBuilder::new()
            .with_name("tidelog-pages-on-disk")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(1)
            .with_shards(1)
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await
            .map_err(failed)?;
        Ok(Self {
            store,
            counters,
            reads: Arc::clone(reads),
            env: env.clone(),
            errors: Arc::default(),
        })
    }

    fn is_off(&self) -> bool {
        self.errors.load(Ordering::Relaxed) >= ERRORS_MAX
    }

    fn has(&self, key: &PageKey) -> bool {
        !self.is_off() && self.store.storage().may_contains(key)
    }

    /// Begins to write a page, unless it is here or there is no room on the way.
    pub(crate) fn put(&self, key: PageKey, page: &Page) {
        if !self.is_off() && !self.has(&key) {
            self.counters.disk_writes.inc();
            let writer = self.store.storage_writer(key);
            drop(writer.insert(Entry(page.clone())));
        }
    }

    /// The page, if the disk has it and gives it in time.
    async fn load(&self, key: &PageKey) -> Option<Page> {
        if !self.has(key) {
            return None;
        }
        let clock = self.env.clock.as_ref();
        let turn = Arc::clone(&self.reads).acquire_owned();
        let Ok(turn) = timeout(clock, PATIENCE, turn).await else {
            self.on_error(key, "its reads take too long");
            return None;
        };
        // The semaphore is never closed.
        let turn = turn.ok()?;
        let (pool, key) = (self.clone(), *key);
        // A read that has begun is not taken back, whoever goes: it keeps its turn, and its memory, until it ends.
        let reading = async move { pool.read(&key, turn).await };
        let reading = self.env.supervisor.spawn("read page from disk", reading);
        let Ok(read) = timeout(clock, PATIENCE, reading).await else {
            self.on_error(&key, "a read takes too long");
            return None;
        };
        read.ok().flatten().flatten()
    }

    async fn read(&self, key: &PageKey, _turn: OwnedSemaphorePermit) -> Option<Page> {
        let page = match self.store.storage().load(key).await {
            Ok(Load::Entry { value, .. }) => Some(value.0),
            Ok(Load::Piece { piece, .. }) => Some(piece.value().0.clone()),
            Ok(Load::Miss | Load::Throttled) => None,
            Err(error) => {
                // It is written anew when it leaves memory again.
                self.remove(key);
                self.on_error(key, &error.to_string());
                return None;
            }
        };
        self.errors.store(0, Ordering::Relaxed);
        if let Some(page) = page.filter(|page| page.checked_slice(0..u32::MAX).is_ok()) {
            self.counters.disk_hits.inc();
            return Some(page);
        }
        tracing::warn!(%key, "a page on disk was damaged, or overwritten just now");
        self.counters.disk_lost.inc();
        self.remove(key);
        None
    }

    fn on_error(&self, key: &PageKey, error: &str) {
        self.counters.disk_errors.inc();
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        if errors == ERRORS_MAX {
            tracing::error!(%key, error, "the disk of the page cache is not used any more");
        }
    }

    fn remove(&self, key: &PageKey) {
        if self.store.storage().may_contains(key) {
            self.store.storage().delete(key);
        }
    }
}

/// Removes the pages of other formats and sizes of block.
fn remove_others(folder: &Path, used: &[String]) -> io::Result<()> {
    for found in std::fs::read_dir(folder)? {
        let found = found?;
        let name = found.file_name();
        let name = name.to_str().filter(|name| name.starts_with(FOLDER_PREFIX));
        if name.is_some_and(|name| used.iter().all(|used| used != name)) {
            std::fs::remove_dir_all(found.path())?;
        }
    }
    Ok(())
}

/// Removes the files of blocks beyond the first so many: the disk was larger before.
fn remove_beyond(folder: &Path, blocks: usize) -> io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(FILE_PREFIX));
        let number = number.and_then(|number| number.parse::<usize>().ok());
        if number.is_some_and(|number| number >= blocks) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Makes the files of all blocks, with room on the disk where its file system can promise that.
fn take_room(folder: &Path, blocks: usize, block_bytes: usize) -> io::Result<()> {
    for block in 0..blocks {
        let path = folder.join(format!("{FILE_PREFIX}{block:08}"));
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, block_bytes as u64) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
