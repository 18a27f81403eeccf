//! The share of memory for records that are taken apart or put together, and where that is done.
//!
//! A batch of a few bytes can become many megabytes when it is decompressed (invariant I7). So whoever does that
//! holds the memory first, and what takes long is done away from the threads that serve connections. All of a
//! process shares this: its front ends, and the searches of the engine.

use std::sync::Arc;

use tidelog_env::Supervisor;
use tidelog_format::batch::{BatchHeader, Compression, DecodeLimit};
use tokio::sync::Semaphore;

use crate::memory::MemoryShare;

/// Work on fewer bytes than this is done at once, where it is: moving it costs more.
const INLINE_BYTES: u64 = 64 * 1024;
/// What batches usually become when they are decompressed. One that becomes more is done again, with
/// memory for all that it may become.
const USUAL_RATIO: u64 = 8;
/// The records of a batch may be this large whatever the share is, one batch at a time.
const BATCH_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// What batches hold that may be taken apart, as far as their headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordsEstimate {
    /// How many records.
    pub records: u64,
    /// What those that are compressed usually become.
    pub inflated_bytes: u64,
}

impl RecordsEstimate {
    /// Adds a batch.
    pub(crate) fn add(&mut self, header: &BatchHeader) {
        let records = u64::try_from(header.record_count).unwrap_or_default();
        self.records = self.records.saturating_add(records);
        let inflated = Decoding::usual_bytes(header);
        self.inflated_bytes = self.inflated_bytes.saturating_add(inflated);
    }
}

/// The share and the threads. Clones share them.
#[derive(Clone, Debug)]
pub struct Decoding {
    share: MemoryShare,
    batch_bytes_max: u64,
    workers: Arc<Semaphore>,
    supervisor: Supervisor,
}

impl Decoding {
    /// A share of so many bytes.
    pub fn new(bytes: u64, supervisor: Supervisor) -> Self {
        let most = DecodeLimit::default().get() as u64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            share: MemoryShare::new(bytes),
            batch_bytes_max: bytes.clamp(BATCH_BYTES_MIN, most),
            workers: Arc::new(Semaphore::new(cores)),
            supervisor,
        }
    }

    /// The share. Who holds some of it waits for no more.
    pub const fn share(&self) -> &MemoryShare {
        &self.share
    }

    /// The most that the records of one batch may become. It may be more than the share, all of which is held
    /// for it then.
    pub const fn batch_bytes_max(&self) -> u64 {
        self.batch_bytes_max
    }

    /// What is usually made to decompress a batch: nothing if it is not compressed.
    pub fn usual_bytes(header: &BatchHeader) -> u64 {
        match header.attributes.compression() {
            Some(Compression::None) => 0,
            _ => u64::from(header.size()) * USUAL_RATIO,
        }
    }

    /// Does work on so many bytes, which the caller holds: here if it is little, on a thread of its own if it
    /// is much. `None` after a panic in it, which the supervisor tells of.
    pub async fn work<T, F>(&self, bytes: u64, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if bytes < INLINE_BYTES {
            return Some(work());
        }
        self.work_apart(work).await
    }

    /// Does work of which nobody knows how much it is, on a thread of its own. `None` after a panic in it.
    pub(crate) async fn work_apart<T, F>(&self, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // The semaphore is never closed.
        let _worker = self.workers.acquire().await;
        self.supervisor.run_blocking("records", work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn little_is_done_here_and_much_on_another_thread() {
        let decoding = Decoding::new(1 << 20, Supervisor::new());
        let thread = || std::thread::current().id();
        let little = decoding.work(INLINE_BYTES - 1, thread).await;
        assert_eq!(little, Some(thread()));
        let much = decoding.work(INLINE_BYTES, thread).await;
        assert_ne!(much.unwrap(), thread());
    }
}
