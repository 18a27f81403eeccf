//! The share of memory for records that are taken apart or put together, and where that is done.
//!
//! Clients that send or want records instead of batches make the process hold them one by one, and a batch of
//! a few bytes can become many megabytes. So such work holds its memory first, and what takes long is done
//! away from the threads that serve connections.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{FetchError, FetchedPartition, MemoryShare};
use tidelog_env::Supervisor;
use tidelog_format::batch::{BatchView, Compression, DecodeLimit};
use tidelog_types::{ErrorCode, Offset};
use tokio::sync::Semaphore;

use crate::answer::PartitionAnswer;
use crate::data::{Form, failed, partition_data, shell};
use crate::errors::fetch_error;
use crate::front::{Front, GrpcParts};

/// Work on fewer bytes than this is done at once, where it is: moving it costs more.
const INLINE_BYTES: u64 = 64 * 1024;
/// A record in memory besides its bytes.
pub(crate) const RECORD_BYTES: u64 = size_of::<v1::Record>() as u64;
/// What batches usually become when they are decompressed. One that becomes more is done again, with
/// memory for all that it may become.
const USUAL_RATIO: u64 = 8;
/// The records of a batch may be this large whatever the share is, one batch at a time.
const BATCH_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// The least that is decoded at once.
const BUDGET_MIN: u64 = 256 * 1024;

/// The share and the threads. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Decode {
    share: MemoryShare,
    /// The most that the records of one batch may become.
    limit: u64,
    workers: Arc<Semaphore>,
    supervisor: Supervisor,
}

impl Decode {
    pub(crate) fn new(parts: &GrpcParts) -> Self {
        let bytes = parts.settings.decode_bytes;
        let most = DecodeLimit::default().get() as u64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            share: MemoryShare::new(bytes),
            limit: bytes.clamp(BATCH_BYTES_MIN, most),
            workers: Arc::new(Semaphore::new(cores)),
            supervisor: parts.env.supervisor.clone(),
        }
    }

    /// A share of so many bytes.
    #[cfg(test)]
    pub(crate) fn for_tests(bytes: u64) -> Self {
        Self {
            share: MemoryShare::new(bytes),
            limit: BATCH_BYTES_MIN,
            workers: Arc::new(Semaphore::new(1)),
            supervisor: Supervisor::new(),
        }
    }

    /// The share, for what is decoded on its way in.
    pub(crate) const fn share(&self) -> &MemoryShare {
        &self.share
    }

    /// Does work on so many bytes: here if it is little, on a thread of its own if it is much.
    pub(crate) async fn work<T, F>(&self, bytes: u64, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if bytes < INLINE_BYTES {
            return Ok(work());
        }
        // The semaphore is never closed.
        let _worker = self.workers.acquire().await;
        let done = self.supervisor.run_blocking("records", work).await;
        done.ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "the work on records ended in a panic")
        })
    }

    /// What batches take when they are taken apart, as far as one can know: the records, and the bytes of
    /// those that are compressed.
    fn estimate(batches: Bytes) -> u64 {
        BatchView::all(batches)
            .filter_map(Result::ok)
            .map(|batch| {
                let header = batch.header();
                let records = u64::try_from(header.record_count).unwrap_or_default() * RECORD_BYTES;
                let bytes = match header.attributes.compression() {
                    Some(Compression::None) => 0,
                    _ => u64::from(header.size()) * USUAL_RATIO,
                };
                records.saturating_add(bytes)
            })
            .fold(0, u64::saturating_add)
    }
}

/// Whose records and from where.
pub(crate) struct Wanted {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) from: Offset,
    pub(crate) form: Form,
}

impl Front {
    /// What was read of one partition, as a client gets it, with the memory of records that were taken
    /// apart for it. Who holds such memory already does not wait for more: the partition is empty then, and
    /// is read by the next request.
    pub(crate) async fn take_apart(
        &self,
        wanted: Wanted,
        found: Result<FetchedPartition, FetchError>,
        holds: bool,
    ) -> PartitionAnswer {
        let Wanted {
            topic,
            partition,
            from,
            form,
        } = wanted;
        let found = match found {
            Ok(found) => found,
            Err(error) => return failed(topic, partition, from, &fetch_error(&error)).into(),
        };
        let mut data = shell(topic, partition, found.next_offset, found.bounds);
        if form == Form::Batches || found.batches.is_empty() {
            return PartitionAnswer {
                batches: found.batches,
                ..data.into()
            };
        }
        let batches = found.batches.to_bytes();
        // Where these are a copy, the pages are not kept for it.
        drop(found);
        let decode = &self.decode;
        let mut budget = Decode::estimate(batches.clone()).clamp(BUDGET_MIN, decode.limit);
        loop {
            // What was held the first time was given back: nobody waits while holding.
            let hold = if holds {
                decode.share.try_hold(budget).ok()
            } else {
                Some(decode.share.hold(budget).await)
            };
            let Some(hold) = hold else {
                data.next_offset = from.get();
                return data.into();
            };
            let (shell, batches) = (data.clone(), batches.clone());
            let work = move || partition_data(shell, batches, from, budget);
            match decode.work(budget, work).await {
                Ok(made) if made.over_budget && budget < decode.limit => budget = decode.limit,
                Ok(made) => {
                    return PartitionAnswer {
                        hold: Some(hold),
                        ..made.data.into()
                    };
                }
                Err(error) => return failed(data.topic, partition, from, &error).into(),
            }
        }
    }
}
