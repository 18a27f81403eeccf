//! What the log stands on: plain requests to the object store, plain writes to the disk.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use crate::load::{Moved, Values};
use crate::options::{Options, PAGE_BYTES, SEGMENT_BYTES};

/// An object or file of a segment's size.
fn body() -> Bytes {
    Bytes::copy_from_slice(Values::new(SEGMENT_BYTES).next())
}

fn key(number: u64) -> Key {
    Key::from(format!("raw/{number}"))
}

/// Puts objects of a segment's size, as many at the same time as the server would.
pub(crate) async fn puts(options: &Options, store: &Arc<dyn ObjectStore>) -> Result<Moved> {
    let (body, next) = (body(), Arc::new(AtomicU64::new(0)));
    let (start, duration) = (Instant::now(), options.duration());
    let mut tasks = Vec::new();
    for _ in 0..options.uploads {
        let (store, body, next) = (Arc::clone(store), body.clone(), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            while start.elapsed() < duration {
                let key = key(next.fetch_add(1, Ordering::Relaxed));
                let create = PutOptions::from(PutMode::Create);
                store.put_opts(&key, body.clone().into(), create).await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let objects = next.load(Ordering::Relaxed);
    Ok(Moved::since(start, objects, objects * body.len() as u64))
}

/// Reads pages of the objects that were put, one after the other and over again.
pub(crate) async fn gets(
    options: &Options,
    store: &Arc<dyn ObjectStore>,
    objects: u64,
) -> Result<Moved> {
    ensure!(objects > 0, "there is nothing to read");
    let pages = SEGMENT_BYTES as u64 / PAGE_BYTES;
    let (start, duration) = (Instant::now(), options.duration() / 2);
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..options.uploads {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut bytes = 0;
            while start.elapsed() < duration {
                let page = next.fetch_add(1, Ordering::Relaxed) % (objects * pages);
                let from = (page % pages) * PAGE_BYTES;
                let range = from..from + PAGE_BYTES;
                bytes += store.get_range(&key(page / pages), range).await?.len() as u64;
            }
            anyhow::Ok(bytes)
        }));
    }
    let mut bytes = 0;
    for task in tasks {
        bytes += task.await??;
    }
    Ok(Moved::since(start, bytes / PAGE_BYTES, bytes))
}

/// Writes files of a segment's size and flushes each, as many at the same time as the server would.
pub(crate) async fn files(options: &Options, folder: PathBuf) -> Result<Moved> {
    let (body, next) = (body(), Arc::new(AtomicU64::new(0)));
    let (start, duration) = (Instant::now(), options.duration());
    let mut tasks = Vec::new();
    for _ in 0..options.uploads {
        let (folder, body, next) = (folder.clone(), body.clone(), Arc::clone(&next));
        tasks.push(tokio::task::spawn_blocking(move || {
            while start.elapsed() < duration {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let mut file = File::create_new(folder.join(number.to_string()))?;
                file.write_all(&body)?;
                file.sync_all()?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    sync(&folder)?;
    let files = next.load(Ordering::Relaxed);
    Ok(Moved::since(start, files, files * body.len() as u64))
}

/// Flushes the file system of `folder`; answers how long that took.
pub(crate) fn sync(folder: &std::path::Path) -> Result<Duration> {
    let start = Instant::now();
    let status = Command::new("sync").arg("-f").arg(folder).status();
    ensure!(
        status.context("cannot run `sync`")?.success(),
        "`sync` failed"
    );
    Ok(start.elapsed())
}
