//! The share of memory for records that are taken apart or put together, and where that is done.
//!
//! Clients that send or want records instead of batches make the process hold them one by one, and a batch of
//! a few bytes can become many megabytes. So such work holds its memory first, and what takes long is done
//! away from the threads that serve connections.

use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{Decoding, FetchError, FetchedPartition, MemoryShare};
use tidelog_types::{ErrorCode, Offset};

use crate::answer::PartitionAnswer;
use crate::data::{Form, failed, partition_data, shell};
use crate::errors::fetch_error;
use crate::front::{Front, GrpcParts};
use crate::room::Room;

/// A record in memory besides its bytes.
pub(crate) const RECORD_BYTES: u64 = size_of::<v1::Record>() as u64;

/// The share and the threads, which are the engine's. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Decode(Decoding);

impl Decode {
    pub(crate) fn new(parts: &GrpcParts) -> Self {
        Self(parts.engine.decoding().clone())
    }

    /// A share of so many bytes.
    #[cfg(test)]
    pub(crate) fn for_tests(bytes: u64) -> Self {
        Self(Decoding::new(bytes, tidelog_env::Supervisor::new()))
    }

    /// The share, for what is decoded on its way in.
    pub(crate) const fn share(&self) -> &MemoryShare {
        self.0.share()
    }

    /// The most that the records of one batch may become.
    pub(crate) const fn batch_bytes_max(&self) -> u64 {
        self.0.batch_bytes_max()
    }

    /// Does work on so many bytes: here if it is little, on a thread of its own if it is much.
    pub(crate) async fn work<T, F>(&self, bytes: u64, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let done = self.0.work(bytes, work).await;
        done.ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "the work on records ended in a panic")
        })
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
    /// apart for it. An answer that holds such memory already does not wait for more: the partition is empty
    /// then, and is read by the next request. So it is where the answer has too little room: then all of
    /// the answer is read again.
    pub(crate) async fn take_apart(
        &self,
        wanted: Wanted,
        found: Result<FetchedPartition, FetchError>,
        room: &mut Room,
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
        if room.is_short() {
            data.next_offset = from.get();
            return data.into();
        }
        if form == Form::Batches || found.batches.is_empty() {
            return PartitionAnswer {
                batches: found.batches,
                ..data.into()
            };
        }
        let (batches, estimate) = (found.batches.to_bytes(), found.estimate);
        // Where these are a copy, the pages are not kept for it.
        drop(found);
        let decode = &self.decode;
        let most = decode.batch_bytes_max();
        let budget = room.budget(estimate, most);
        let hold = if room.is_first() {
            Some(decode.share().hold(budget).await)
        } else {
            decode.share().try_hold(budget).ok()
        };
        let Some(hold) = hold else {
            data.next_offset = from.get();
            return data.into();
        };
        let shell = data.clone();
        let work = move || partition_data(shell, batches, from, budget);
        match decode.work(budget, work).await {
            Ok(made) if made.over_budget && budget < most => {
                room.fell_short(most);
                data.next_offset = from.get();
                data.into()
            }
            Ok(made) => {
                room.takes_records();
                PartitionAnswer {
                    hold: Some(hold),
                    ..made.data.into()
                }
            }
            Err(error) => failed(data.topic, partition, from, &error).into(),
        }
    }
}
