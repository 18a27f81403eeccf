//! Writes records of one topic: batches, pipelines, retries.

mod accumulator;
mod batch;
mod delivery;
mod lane;
mod link;
mod options;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::sync::Arc;

use tidelog_api::v1;
use tidelog_env::Clock;
use tidelog_types::Timestamp;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use accumulator::SendError;
pub use delivery::{Delivery, ProduceError, Produced};
pub use options::ProducerOptions;

use crate::{Client, ClientError};
use accumulator::{Accumulator, Append};
use worker::Worker;

/// A record to write. It borrows: the producer copies it into a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendRecord<'a> {
    /// The partition; without it the key decides as in Kafka, and records without a key go batch by batch
    /// to one partition after the other.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; a record without one deletes its key in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// The timestamp; without it the time of the call.
    pub timestamp: Option<Timestamp>,
}

impl<'a> SendRecord<'a> {
    /// A record with only a value.
    pub const fn value(value: &'a [u8]) -> Self {
        Self {
            partition: None,
            key: None,
            value: Some(value),
            headers: &[],
            timestamp: None,
        }
    }

    /// A record with a key and a value.
    pub const fn keyed(key: &'a [u8], value: &'a [u8]) -> Self {
        Self {
            partition: None,
            key: Some(key),
            value: Some(value),
            headers: &[],
            timestamp: None,
        }
    }
}

/// Writes records of one topic. Cheap to clone; clones share batches, memory and the stream.
///
/// Records of one partition are written in the order of the calls, also over retries and reconnects. When
/// one fails for good, those sent behind it to the same partition fail too
/// ([`ProduceError::Behind`]), so that sending all of them again keeps the order. With
/// [`ProducerOptions::idempotent`], the default, an acknowledged record is in the log exactly once.
///
/// The number of partitions is that of the time at which the producer was made.
///
/// Dropping the last clone gives up what is not acknowledged: call [`Producer::close`] first.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Accumulator>,
    clock: Arc<dyn Clock>,
    topic: String,
    partitions: u32,
    max_message_bytes: Option<u64>,
    _alive: DropGuard,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("topic", &self.inner.topic)
            .field("partitions", &self.inner.partitions)
            .finish_non_exhaustive()
    }
}

impl Producer {
    pub(crate) fn start(
        client: &Client,
        topic: &v1::Topic,
        mut options: ProducerOptions,
    ) -> Result<Self, ClientError> {
        let partitions = topic.partition_count;
        if partitions == 0 {
            return Err(ClientError::Protocol("a topic has no partitions"));
        }
        let max_message_bytes = max_message_bytes(topic);
        if let Some(limit) = max_message_bytes.and_then(|limit| usize::try_from(limit).ok()) {
            options.batch_bytes = options.batch_bytes.min(limit);
        }
        let env = &client.options().env;
        let sticky = u32::try_from(env.rng.below(u64::from(partitions))).unwrap_or(0);
        let shared = Arc::new(Accumulator::new(options, partitions, sticky));
        let alive = CancellationToken::new();
        let worker = Worker::new(
            client.clone(),
            topic.name.clone(),
            Arc::clone(&shared),
            alive.clone(),
        );
        // Ends by itself when the producer does.
        drop(env.supervisor.spawn("producer", worker.run()));
        let inner = Inner {
            shared,
            clock: Arc::clone(&env.clock),
            topic: topic.name.clone(),
            partitions,
            max_message_bytes,
            _alive: alive.drop_guard(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.inner.topic
    }

    /// How many partitions the producer writes to.
    pub fn partition_count(&self) -> u32 {
        self.inner.partitions
    }

    /// The largest batch that the topic takes, if the service said so; of the time at which the producer
    /// was made. Batches are closed before they get larger, but for one of a single record.
    pub fn max_message_bytes(&self) -> Option<u64> {
        self.inner.max_message_bytes
    }

    /// Puts a record into a batch. Waits only while the memory of the producer is used up. Cancel-safe:
    /// when the future is dropped before it ends, the record is not written.
    pub async fn send(&self, record: SendRecord<'_>) -> Result<Delivery, SendError> {
        let mut memory = None;
        loop {
            match self.append(&record, &mut memory)? {
                Append::Taken(delivery) => return Ok(delivery),
                Append::NeedsMemory(bytes) => {
                    memory = Some(self.inner.shared.reserve(bytes).await?);
                }
            }
        }
    }

    /// As [`Producer::send`], but answers `None` where that would wait.
    pub fn try_send(&self, record: SendRecord<'_>) -> Result<Option<Delivery>, SendError> {
        let mut memory = None;
        loop {
            match self.append(&record, &mut memory)? {
                Append::Taken(delivery) => return Ok(Some(delivery)),
                Append::NeedsMemory(bytes) => {
                    memory = self.inner.shared.try_reserve(bytes);
                    if memory.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn append(
        &self,
        record: &SendRecord<'_>,
        memory: &mut Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<Append, SendError> {
        let Inner { shared, clock, .. } = &*self.inner;
        let timestamp = record.timestamp.unwrap_or_else(|| clock.wall());
        shared.append(record, timestamp, clock.as_ref(), memory)
    }

    /// Sends what is gathered and waits until every record sent before the call is acknowledged or has
    /// failed. Tells the first failure since the last flush. Cancel-safe.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        self.inner.shared.flush().await
    }

    /// Takes no more records, from any clone, and flushes.
    pub async fn close(&self) -> Result<(), ProduceError> {
        self.inner.shared.seal();
        self.inner.shared.flush().await
    }
}

/// The largest batch that a topic takes.
fn max_message_bytes(topic: &v1::Topic) -> Option<u64> {
    let mut settings = topic.config.iter();
    let entry = settings.find(|entry| entry.key == "max.message.bytes")?;
    entry.value.parse().ok()
}
