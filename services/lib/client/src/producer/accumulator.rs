//! Gathers records into batches, one open batch a partition, within a budget of memory.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tidelog_env::{Clock, MonoTime};
use tidelog_format::batch::{BatchBuilder, BuilderError, record_bytes_max};
use tidelog_types::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::delivery::{Delivery, Outcome, ProduceError};
use super::{ProducerOptions, SendRecord};
use crate::partition_for_key;

/// Why a record was not taken. It is not in the log and never will be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The producer is closed.
    #[error("the producer is closed")]
    Closed,
    /// The topic has no such partition.
    #[error("partition `{partition}` does not exist, the topic has `{count}`")]
    UnknownPartition {
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        count: u32,
    },
    /// The record alone is larger than the memory that the producer may use.
    #[error("a record of `{size}` bytes does not fit the `{limit}` bytes a producer may use")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The record cannot be put into a batch.
    #[error("the record cannot be encoded")]
    Encode(#[from] BuilderError),
}

/// A batch that takes records.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) id: u64,
    pub(super) builder: BatchBuilder,
    pub(super) outcome: Arc<Outcome>,
    pub(super) memory: OwnedSemaphorePermit,
    pub(super) opened: MonoTime,
}

/// A batch that takes no more records.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) partition: u32,
    pub(super) batch: Gathering,
}

/// What came of an attempt to append.
pub(super) enum Append {
    /// Done.
    Taken(Delivery),
    /// A new batch is needed, for which so many bytes must be reserved first.
    NeedsMemory(u32),
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Option<Gathering>>,
    /// The size of the last full batch of each partition: what the next one is likely to need.
    size_hints: Vec<usize>,
    closed: VecDeque<Closed>,
    /// Open batches in the order in which they were opened; entries of batches closed since are stale.
    lingering: VecDeque<(MonoTime, u32, u64)>,
    /// Ids of batches without an outcome.
    unresolved: BTreeSet<u64>,
    next_id: u64,
    /// Where records without a key go, until the batch there is closed.
    sticky: u32,
    sealed: bool,
    /// The first failure since the last flush.
    failure: Option<ProduceError>,
}

/// What handles and the worker of a producer share.
#[derive(Debug)]
pub(super) struct Accumulator {
    state: Mutex<State>,
    memory: Arc<Semaphore>,
    memory_bytes: u32,
    batch_bytes: usize,
    options: ProducerOptions,
    /// Wakes the worker: a batch was opened or closed.
    pub(super) work: Notify,
    /// Wakes flushes: a batch was resolved.
    settled: Notify,
}

impl Accumulator {
    /// For a topic of `partitions` partitions; keyless records begin at partition `sticky`.
    pub(super) fn new(options: ProducerOptions, partitions: u32, sticky: u32) -> Self {
        let memory_bytes = u32::try_from(options.memory_bytes)
            .unwrap_or(u32::MAX)
            .max(1);
        let mut open = Vec::new();
        open.resize_with(partitions as usize, || None);
        let state = State {
            open,
            size_hints: vec![0; partitions as usize],
            sticky: sticky.checked_rem(partitions).unwrap_or(0),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            memory: Arc::new(Semaphore::new(memory_bytes as usize)),
            memory_bytes,
            batch_bytes: options.batch_bytes.clamp(1, memory_bytes as usize),
            options,
            work: Notify::new(),
            settled: Notify::new(),
        }
    }

    pub(super) const fn options(&self) -> &ProducerOptions {
        &self.options
    }

    // ---- Senders ----

    /// Appends a record if its partition has an open batch with room, or `memory` for a new one.
    /// `memory` is left in place when it was not needed.
    pub(super) fn append(
        &self,
        record: &SendRecord<'_>,
        timestamp: Timestamp,
        clock: &dyn Clock,
        memory: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Append, SendError> {
        let size = record_bytes_max(record.key, record.value, record.headers);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.sealed {
            return Err(SendError::Closed);
        }
        let mut partition = state.partition_of(record)?;
        if state.is_full(partition, size, self.batch_bytes) {
            state.close(partition);
            self.work.notify_one();
            // A record without a key follows to the partition that is next.
            partition = state.partition_of(record)?;
            if state.is_full(partition, size, self.batch_bytes) {
                state.close(partition);
            }
        }
        let slot = partition as usize;
        if state.open[slot].is_none() {
            let Some(permit) = memory.take() else {
                return self.memory_needed(size).map(Append::NeedsMemory);
            };
            state.open(partition, permit, clock.now(), &self.options);
            self.work.notify_one();
        }
        let Some(batch) = &mut state.open[slot] else {
            return Err(SendError::Closed);
        };
        let index = batch.builder.record_count();
        let appended = batch
            .builder
            .append(timestamp, record.key, record.value, record.headers);
        if let Err(error) = appended {
            state.discard_if_empty(partition);
            return Err(error.into());
        }
        let delivery = Delivery::new(Arc::clone(&batch.outcome), index);
        if batch.builder.size() >= self.batch_bytes {
            state.close(partition);
            self.work.notify_one();
        }
        Ok(Append::Taken(delivery))
    }

    /// How much a new batch takes whose first record has `size` bytes.
    fn memory_needed(&self, size: usize) -> Result<u32, SendError> {
        let size = size + tidelog_format::batch::HEADER_BYTES;
        let limit = self.memory_bytes as usize;
        u32::try_from(size.max(self.batch_bytes))
            .ok()
            .filter(|bytes| *bytes <= self.memory_bytes)
            .ok_or(SendError::TooLarge { size, limit })
    }

    /// Reserves memory if there is some at once.
    pub(super) fn try_reserve(&self, bytes: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.memory).try_acquire_many_owned(bytes).ok()
    }

    /// Reserves memory, waiting until others give some back. Open batches are closed first, since it may
    /// be they that hold it. Cancel-safe.
    pub(super) async fn reserve(&self, bytes: u32) -> Result<OwnedSemaphorePermit, SendError> {
        if let Some(permit) = self.try_reserve(bytes) {
            return Ok(permit);
        }
        self.close_all();
        let memory = Arc::clone(&self.memory);
        memory
            .acquire_many_owned(bytes)
            .await
            .map_err(|_| SendError::Closed)
    }

    /// Closes all open batches so that they are sent now.
    pub(super) fn close_all(&self) {
        let mut state = self.state.lock();
        while let Some((_, partition, id)) = state.lingering.pop_front() {
            state.close_if(partition, id);
        }
        self.work.notify_one();
    }

    /// Takes no more records.
    pub(super) fn seal(&self) {
        self.state.lock().sealed = true;
        self.close_all();
    }

    /// Ends when every record appended before the call has its outcome; tells the first failure since
    /// the last time. Cancel-safe.
    pub(super) async fn flush(&self) -> Result<(), ProduceError> {
        let end = self.state.lock().next_id;
        self.close_all();
        loop {
            let resolved = self.settled.notified();
            {
                let mut state = self.state.lock();
                if state.unresolved.first().is_none_or(|first| *first >= end) {
                    return state.failure.take().map_or(Ok(()), Err);
                }
            }
            resolved.await;
        }
    }

    // ---- Worker ----

    /// Takes the batches that are to be sent at `now`, those that have gathered for `linger` among them;
    /// answers also when the next one will be. What could not be sent yet goes on gathering: many small
    /// batches behind each other would each take a turn.
    pub(super) fn take_closed(
        &self,
        now: MonoTime,
        linger: Duration,
        is_busy: impl Fn(u32) -> bool,
    ) -> (VecDeque<Closed>, Option<MonoTime>) {
        let delivery_timeout = self.options.delivery_timeout;
        let mut state = self.state.lock();
        let mut next = None;
        let mut gathering = VecDeque::new();
        while let Some(opened) = state.lingering.pop_front() {
            let (since, partition, id) = opened;
            let closed = state.open[partition as usize]
                .as_ref()
                .is_none_or(|batch| batch.id != id);
            if closed {
                continue;
            }
            if since + linger > now {
                next = Some(since + linger);
                state.lingering.push_front(opened);
                break;
            }
            if is_busy(partition) && since + delivery_timeout > now {
                gathering.push_back(opened);
                // Records that may go anywhere go where they can be sent.
                state.turn_from(partition);
            } else {
                state.close_if(partition, id);
            }
        }
        gathering.append(&mut state.lingering);
        state.lingering = gathering;
        (std::mem::take(&mut state.closed), next)
    }

    /// Takes all batches of a partition that the worker has not taken yet, the open one among them.
    pub(super) fn take_partition(&self, partition: u32) -> VecDeque<Closed> {
        let mut state = self.state.lock();
        state.close(partition);
        let (taken, kept) = std::mem::take(&mut state.closed)
            .into_iter()
            .partition(|closed: &Closed| closed.partition == partition);
        state.closed = kept;
        taken
    }

    /// Notes that a batch has its outcome.
    pub(super) fn resolved(&self, id: u64, failure: Option<&ProduceError>) {
        let mut state = self.state.lock();
        state.unresolved.remove(&id);
        if let Some(failure) = failure {
            state.failure.get_or_insert_with(|| failure.clone());
        }
        drop(state);
        self.settled.notify_waiters();
    }

    /// Whether no more records are taken and all that were taken have their outcomes.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.state.lock();
        state.sealed && state.unresolved.is_empty()
    }

    /// Takes no more records, gives up waiting senders, and answers all batches that were not taken yet.
    pub(super) fn abandon(&self) -> VecDeque<Closed> {
        self.seal();
        self.memory.close();
        std::mem::take(&mut self.state.lock().closed)
    }
}

impl State {
    fn partition_of(&self, record: &SendRecord<'_>) -> Result<u32, SendError> {
        let count = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => self.sticky,
        };
        if partition < count {
            Ok(partition)
        } else {
            Err(SendError::UnknownPartition { partition, count })
        }
    }

    /// Whether the open batch of a partition has no room for `size` more bytes.
    fn is_full(&self, partition: u32, size: usize, batch_bytes: usize) -> bool {
        self.open[partition as usize].as_ref().is_some_and(|batch| {
            !batch.builder.is_empty() && batch.builder.size() + size > batch_bytes
        })
    }

    fn open(
        &mut self,
        partition: u32,
        memory: OwnedSemaphorePermit,
        now: MonoTime,
        options: &ProducerOptions,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        self.unresolved.insert(id);
        self.lingering.push_back((now, partition, id));
        let slot = partition as usize;
        let builder = BatchBuilder::new(options.compression, self.size_hints[slot]);
        let outcome = Arc::new(Outcome::default());
        self.open[slot] = Some(Gathering {
            id,
            builder,
            outcome,
            memory,
            opened: now,
        });
    }

    fn close(&mut self, partition: u32) {
        let slot = partition as usize;
        if let Some(batch) = self.open[slot].take() {
            self.size_hints[slot] = batch.builder.size();
            self.closed.push_back(Closed { partition, batch });
            self.turn_from(partition);
        }
    }

    /// Sends records without a key elsewhere, if they go to this partition now.
    fn turn_from(&mut self, partition: u32) {
        if partition == self.sticky {
            let count = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
            self.sticky = (self.sticky + 1).checked_rem(count).unwrap_or(0);
        }
    }

    fn close_if(&mut self, partition: u32, id: u64) {
        if self.open[partition as usize]
            .as_ref()
            .is_some_and(|batch| batch.id == id)
        {
            self.close(partition);
        }
    }

    /// A batch whose first record could not be encoded never existed.
    fn discard_if_empty(&mut self, partition: u32) {
        let slot = partition as usize;
        if let Some(batch) = self.open[slot].take_if(|batch| batch.builder.is_empty()) {
            self.unresolved.remove(&batch.id);
        }
    }
}
