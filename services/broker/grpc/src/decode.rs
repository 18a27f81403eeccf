//! The share of memory for records that are taken apart or put together, and where that is done.
//!
//! Clients that send or want records instead of batches make the process hold them one by one, and a batch of
//! a few bytes can become many megabytes. So such work holds its memory first, and what takes long is done
//! away from the threads that serve connections.

use bytes::Bytes;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{
    Decoding, FairHold, FetchError, FetchedPartition, MemoryHold, MemoryShare,
};
use tidelog_format::batch::BatchView;
use tidelog_types::{ErrorCode, Offset};

use crate::answer::PartitionAnswer;
use crate::data::{Form, failed, partition_data, shell};
use crate::errors::fetch_error;
use crate::front::{Front, GrpcParts};
use crate::transport::Outlet;

/// A record in memory besides its bytes.
pub(crate) const RECORD_BYTES: u64 = size_of::<v1::Record>() as u64;
/// What a record is on its way out besides its bytes, usually.
const RECORD_WIRE_BYTES: u64 = 32;
/// The least that is held for records. Those that lie in their batches need little besides.
const PLAIN_BUDGET_MIN: u64 = 16 * 1024;
/// The least that is held where batches are compressed: how well is not known.
const COMPRESSED_BUDGET_MIN: u64 = 256 * 1024;

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

/// What batches need that are taken apart, as far as one can know.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    records: u64,
    /// What the bytes of those become that are compressed.
    inflated: u64,
}

impl Estimate {
    fn of(batches: Bytes) -> Self {
        let mut estimate = Self::default();
        for batch in BatchView::all(batches).filter_map(Result::ok) {
            let header = batch.header();
            let count = u64::try_from(header.record_count).unwrap_or_default();
            estimate.records = estimate.records.saturating_add(count);
            let inflated = Decoding::usual_bytes(header);
            estimate.inflated = estimate.inflated.saturating_add(inflated);
        }
        estimate
    }

    /// What to hold for the records, beside their batches.
    fn budget(self) -> u64 {
        let least = match self.inflated {
            0 => PLAIN_BUDGET_MIN,
            _ => COMPRESSED_BUDGET_MIN,
        };
        let records = self.records.saturating_mul(RECORD_BYTES);
        records.saturating_add(self.inflated).max(least)
    }

    /// What the answer is on its way out, beside the bytes of the batches. Within a budget that was held, those
    /// that are compressed become no more.
    fn outgoing(self, budget: u64) -> u64 {
        match self.inflated {
            0 => self.records.saturating_mul(RECORD_WIRE_BYTES),
            _ => budget,
        }
    }
}

/// The memory of an answer whose records are taken apart. Nobody waits for more of it while holding some.
#[derive(Debug)]
pub(crate) struct Room {
    outlet: Outlet,
    /// Bytes of the batches of all partitions.
    bytes: u64,
    /// For what is put together, held first: whoever holds memory for records waits for no reader then.
    turn: Option<FairHold>,
}

impl Room {
    /// For an answer of batches of so many bytes.
    pub(crate) fn new(outlet: &Outlet, bytes: u64) -> Self {
        let outlet = outlet.clone();
        Self {
            outlet,
            bytes,
            turn: None,
        }
    }

    /// Memory for what goes out, if anything was taken apart.
    pub(crate) fn into_turn(self) -> Option<FairHold> {
        self.turn
    }

    /// Memory for records: waited for by the first that are taken apart, for others only what is free now.
    async fn hold(
        &mut self,
        share: &MemoryShare,
        estimate: Estimate,
        budget: u64,
    ) -> Option<MemoryHold> {
        if self.turn.is_some() {
            return share.try_hold(budget).ok();
        }
        let outgoing = self.bytes.saturating_add(estimate.outgoing(budget));
        let turn = self.outlet.turn(outgoing).await;
        let hold = share.hold(budget).await;
        self.turn = Some(turn);
        Some(hold)
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
    /// then, and is read by the next request.
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
        let most = decode.0.batch_bytes_max();
        let estimate = Estimate::of(batches.clone());
        let mut budget = estimate.budget().min(most);
        let is_first = room.turn.is_none();
        loop {
            let Some(hold) = room.hold(decode.share(), estimate, budget).await else {
                data.next_offset = from.get();
                return data.into();
            };
            let (shell, batches) = (data.clone(), batches.clone());
            let work = move || partition_data(shell, batches, from, budget);
            match decode.work(budget, work).await {
                Ok(made) if made.over_budget && budget < most => {
                    budget = most;
                    if is_first {
                        // All is given back and waited for anew.
                        room.turn = None;
                    }
                }
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
