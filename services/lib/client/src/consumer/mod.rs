//! Reads a topic as a stream and goes on after a break.

mod breaks;
mod chunk;
mod options;
mod positions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tidelog_api::{ApiError, v1};
use tidelog_env::clock::timeout;
use tidelog_env::{Backoff, MonoTime};
use tidelog_types::{ErrorCode, Offset, OffsetRange};
use tonic::Streaming;

pub use chunk::{Chunk, ChunkError, ChunkRecords};
pub use options::{ConsumerOptions, Isolation, Start};

use crate::{Client, ClientError};
pub(crate) use breaks::Breaks;
use positions::Positions;

/// No attempt is begun that would have less time.
const ATTEMPT_MIN: Duration = Duration::from_millis(20);

/// Why nothing more comes.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// One partition cannot be read any further; [`Consumer::next`] may be called again for the others.
    #[error("partition `{partition}` cannot be read: {error}")]
    Partition {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        error: ApiError,
    },
    /// The topic cannot be read, after the retries that make sense. A later call tries again.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl ConsumeError {
    /// The code of the service, if it gave one.
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Partition { error, .. } => Some(error.code),
            Self::Client(error) => error.code(),
        }
    }
}

/// Reads partitions of one topic, in order for each partition. Each record is handed out once, also over
/// reconnects: reading goes on at the next offset.
///
/// Nothing is read ahead but what the windows of the connection hold, so a slow caller slows the service
/// down instead of filling memory.
pub struct Consumer {
    client: Client,
    topic: String,
    options: ConsumerOptions,
    positions: Positions,
    stream: Option<Streaming<v1::TailResponse>>,
    /// Whether the open stream has sent its first message.
    begun: bool,
    ready: VecDeque<Result<Chunk, ConsumeError>>,
    backoff: Backoff,
    /// A partition that the service has given up, to be dealt with after what is ready.
    broken: Option<(u32, ApiError)>,
    /// Since when a stream is being opened of which nothing has come yet.
    opening: Option<MonoTime>,
    /// The breaks since it last went well.
    breaks: Option<Breaks>,
    finished: bool,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("topic", &self.topic)
            .field("options", &self.options)
            .field("positions", &self.positions)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    pub(crate) fn new(client: Client, topic: &str, options: ConsumerOptions) -> Self {
        let backoff = options.backoff.unwrap_or(client.options().backoff).start();
        Self {
            client,
            topic: topic.to_owned(),
            positions: Positions::new(&options),
            options,
            stream: None,
            begun: false,
            ready: VecDeque::new(),
            backoff,
            broken: None,
            opening: None,
            breaks: None,
            finished: false,
        }
    }

    /// The offset to read next of each partition, once the service has named them.
    pub fn positions(&self) -> BTreeMap<u32, u64> {
        self.positions.next_offsets()
    }

    /// The next chunk; `None` when everything has been read that was asked for. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Chunk>, ConsumeError> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return ready.map(Some);
            }
            if let Some((partition, error)) = self.broken.take() {
                self.on_break(error, Some(partition)).await?;
            }
            if self.finished || self.positions.is_finished() {
                self.stream = None;
                return Ok(None);
            }
            match self.receive().await {
                Ok(Some(response)) => self.take(response),
                Ok(None) => self.on_end().await?,
                Err(error) => self.on_error(error).await?,
            }
        }
    }

    /// Waits for the first message, so that [`Consumer::positions`] is known, and with
    /// [`Start::Latest`] that what is written from now on will be seen.
    pub async fn begin(&mut self) -> Result<(), ConsumeError> {
        while !self.begun && !self.finished {
            match self.receive().await {
                Ok(Some(response)) => self.take(response),
                Ok(None) => self.on_end().await?,
                Err(error) => self.on_error(error).await?,
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<v1::TailResponse>, ApiError> {
        if self.stream.is_none() {
            self.opening = Some(self.client.options().env.clock.now());
            self.stream = Some(self.open().await?);
            self.begun = false;
        }
        // Opened just above.
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        stream
            .message()
            .await
            .map_err(|status| self.client.trouble().read(&status))
    }

    async fn open(&self) -> Result<Streaming<v1::TailResponse>, ApiError> {
        let mut request = self.positions.request(&self.topic, &self.options);
        request.token = self.client.token().get();
        let mut service = self.client.log_service();
        let options = self.client.options();
        let clock = options.env.clock.as_ref();
        let trouble = self.client.trouble();
        let within = self
            .breaks
            .as_ref()
            .map_or(options.request_timeout, |breaks| {
                breaks.deadline.saturating_since(clock.now())
            });
        let opening = trouble.watch(clock, Duration::ZERO, Box::pin(service.tail(request)));
        match timeout(clock, within, opening).await {
            Ok(answer) => answer
                .map(tonic::Response::into_inner)
                .map_err(|status| trouble.read(&status)),
            Err(elapsed) => Err(trouble.silence(elapsed.0)),
        }
    }

    fn take(&mut self, response: v1::TailResponse) {
        self.client.token().set(response.token);
        let first = !self.begun;
        let mut broken = None;
        for data in response.partitions {
            if first {
                self.positions.begin(&data);
            }
            if let Some(error) = data.error {
                let error = ApiError::from_proto(error);
                if error.is_retriable() {
                    broken = Some((data.partition, error));
                } else {
                    let partition = data.partition;
                    self.positions.fail(partition);
                    self.ready
                        .push_back(Err(ConsumeError::Partition { partition, error }));
                }
                continue;
            }
            if let Some(offsets) = self.positions.advance(&data) {
                self.went_well(Some(data.partition));
                let chunk = self.chunk(data, offsets);
                self.ready.extend(chunk.map(Ok));
            }
        }
        if first {
            self.begun = true;
            self.positions.set_complete();
        }
        if broken.is_some() {
            // The service has given up the partition for now: a new stream takes it up again.
            self.stream = None;
            self.broken = broken;
        } else {
            self.went_well(None);
        }
    }

    /// Reading goes on: a stream stands, or there is something of a partition. A partition that broke is
    /// well only when something comes of it, since each new stream begins well.
    fn went_well(&mut self, partition: Option<u32>) {
        self.opening = None;
        let stuck = self.breaks.as_ref().and_then(|breaks| breaks.partition);
        if stuck.is_some() && stuck != partition {
            return;
        }
        if self.breaks.take().is_some() {
            self.client.trouble().passed();
        }
        self.backoff = self.policy().start();
    }

    /// What there is for the caller: nothing where all that was read is not handed out.
    fn chunk(&self, data: v1::PartitionData, offsets: OffsetRange) -> Option<Chunk> {
        let Some(v1::partition_data::Data::Batches(batches)) = data.data else {
            return None;
        };
        Some(Chunk {
            partition: data.partition,
            offsets,
            high_watermark: Offset::new(data.high_watermark),
            batches,
            limit: self.options.decode_limit,
        })
    }

    /// The service has ended the stream in order: it has sent all, or it is going away.
    async fn on_end(&mut self) -> Result<(), ConsumeError> {
        self.stream = None;
        if self.positions.is_finished() || (self.begun && self.options.until_end) {
            self.finished = true;
            return Ok(());
        }
        let error = ApiError::new(ErrorCode::Unavailable, "the service ended the stream");
        self.on_error(error).await
    }

    async fn on_error(&mut self, error: ApiError) -> Result<(), ConsumeError> {
        self.on_break(error, None).await
    }

    /// Waits before the next attempt, or gives up. `partition` is the one that broke, if it is not all.
    async fn on_break(
        &mut self,
        error: ApiError,
        partition: Option<u32>,
    ) -> Result<(), ConsumeError> {
        self.stream = None;
        // Reading changes nothing, so an unknown outcome is as good as none.
        if !(error.is_retriable() || error.outcome_unknown) {
            return Err(ClientError::Api(error).into());
        }
        let options = self.client.options();
        let (clock, patience) = (&options.env.clock, options.request_timeout);
        let now = clock.now();
        let began = self.opening.take().unwrap_or(now);
        let breaks = Breaks::after(self.breaks.take(), began, now, patience, partition);
        let left = breaks.deadline.saturating_since(now);
        let wait = self.backoff.next_wait(options.env.rng.as_ref());
        let Some(wait) = wait.filter(|_| left > ATTEMPT_MIN) else {
            self.backoff = self.policy().start();
            return Err(ClientError::Api(error).into());
        };
        self.client.trouble().failed(now, &error);
        self.breaks = Some(breaks);
        tracing::debug!(topic = self.topic, %error, "stream lost, connecting again");
        // The last attempts come closer to each other, so that all of the time is used.
        let wait = wait
            .max(error.retry_after.unwrap_or_default())
            .min(left / 2);
        clock.sleep(wait).await;
        Ok(())
    }

    fn policy(&self) -> tidelog_env::BackoffPolicy {
        self.options
            .backoff
            .unwrap_or(self.client.options().backoff)
    }
}
