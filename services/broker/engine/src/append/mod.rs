//! The write path: batches of all partitions become segments, segments become offsets.
//!
//! ```text
//!  append -> open segment -> closed -> uploading -> stored -> committing -> answered
//!              (batcher)                 (several at once)     (in order per sender)
//! ```

mod batcher;
mod express;
mod lanes;
mod overflow;
mod passage;
mod pipeline;
mod request;
mod retries;
mod segment;
mod senders;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{ClusterLayout, RequestBudget};
use tidelog_env::{CancellationToken, Env};
use tidelog_format::segment::SealedSegment;
use tidelog_metadata_api::{Log, TimestampType};
use tidelog_types::{ClusterId, ErrorCode, Incarnation};
use tokio::sync::{mpsc, oneshot};

pub use request::{Append, AppendError, Appended};

use crate::classes::Classes;
use crate::crash::CrashPlan;
use crate::memory::{MemoryExhausted, MemoryHold, MemoryShare};
use crate::metrics::AppendMetrics;
use crate::settings::AppendSettings;
use batcher::{Batcher, BatcherParts, Message};
use request::Entry;
use upload::Uploader;

/// Where segments that were just stored are kept for those who read the tail.
pub(crate) trait TailCache: fmt::Debug + Send + Sync + 'static {
    /// Takes note of a segment that was stored.
    fn insert(&self, segment: &SealedSegment);
}

/// What the write path works with.
#[derive(Debug)]
pub(crate) struct AppenderParts {
    pub(crate) env: Env,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) layout: ClusterLayout,
    pub(crate) cluster: ClusterId,
    pub(crate) incarnation: Incarnation,
    pub(crate) settings: AppendSettings,
    pub(crate) classes: Arc<Classes>,
    pub(crate) tail: Arc<dyn TailCache>,
    pub(crate) metrics: AppendMetrics,
    pub(crate) crash: CrashPlan,
}

/// Takes batches. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    env: Env,
    memory: MemoryShare,
    classes: Arc<Classes>,
    mailbox: mpsc::UnboundedSender<Message>,
    closing: Arc<AtomicBool>,
    /// Cancelled when the writer's incarnation has ended.
    ended: CancellationToken,
}

/// Waits for the answer to an append.
pub type AppendAnswer = oneshot::Receiver<Result<Appended, AppendError>>;

impl Appender {
    pub(crate) fn start(parts: AppenderParts) -> Self {
        let env = parts.env.clone();
        let settings = parts.settings;
        let uploader = Uploader {
            env: env.clone(),
            store: parts.store,
            layout: parts.layout,
            cluster: parts.cluster,
            incarnation: parts.incarnation,
            sequence: Arc::new(AtomicU64::new(0)),
            hedge_after: settings.hedge_after,
            crash: parts.crash.clone(),
            metrics: parts.metrics.clone(),
        };
        let clock = Arc::clone(&env.clock);
        let budget = RequestBudget::new(clock, settings.flush_rate, settings.flush_burst);
        let ended = CancellationToken::new();
        let memory = MemoryShare::new(settings.memory_bytes);
        let batcher = BatcherParts {
            env: env.clone(),
            memory: memory.clone(),
            log: parts.log,
            settings,
            classes: Arc::clone(&parts.classes),
            uploader,
            budget,
            tail: parts.tail,
            metrics: parts.metrics,
            crash: parts.crash,
            ended: ended.clone(),
        };
        // Every message holds bytes of the memory share, which bounds the queue.
        let (mailbox, messages) = mpsc::unbounded_channel();
        drop(
            env.supervisor
                .spawn("batcher", Batcher::run(batcher, messages)),
        );
        Self {
            env,
            memory,
            classes: parts.classes,
            mailbox,
            closing: Arc::new(AtomicBool::new(false)),
            ended,
        }
    }

    pub(crate) async fn reserve(&self, bytes: u64) -> MemoryHold {
        self.memory.hold(bytes).await
    }

    pub(crate) fn try_reserve(&self, bytes: u64) -> Result<MemoryHold, MemoryExhausted> {
        self.memory.try_hold(bytes)
    }

    /// Takes a batch. Batches are taken in the order of the calls.
    pub(crate) fn append(
        &self,
        mut append: Append,
        hold: Arc<MemoryHold>,
    ) -> Result<AppendAnswer, AppendError> {
        if self.closing.load(Ordering::Acquire) || self.ended.is_cancelled() {
            return Err(AppendError::ShuttingDown);
        }
        let (partition, _) = append
            .topic
            .partition(append.partition)
            .map_err(AppendError::NoPartition)?;
        if append.batch.size() > append.topic.config.batch_bytes_max() {
            return Err(AppendError::refused(ErrorCode::BatchTooLarge));
        }
        let lane = self.classes.lane(&append.topic.config);
        let lane = lane.map_err(|unknown| AppendError::NoStorageClass(unknown.to_owned()))?;
        let mut log_append_time = None;
        if append.topic.config.timestamp_type() == TimestampType::LogAppendTime {
            let now = self.env.clock.wall();
            append.batch = append.batch.with_log_append_time(now);
            log_append_time = Some(now);
        }
        let (reply, answer) = oneshot::channel();
        let entry = Entry {
            append,
            partition,
            lane,
            log_append_time,
            reply: Some(reply),
            _hold: hold,
        };
        self.mailbox
            .send(Message::Append(Box::new(entry)))
            .map_err(|_| AppendError::ShuttingDown)?;
        Ok(answer)
    }

    /// Ends when the metadata service has said that the writer's incarnation has ended. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes nothing new and ends when everything that was taken is answered.
    pub(crate) async fn drain(&self) {
        self.closing.store(true, Ordering::Release);
        let (done, drained) = oneshot::channel();
        if self.mailbox.send(Message::Drain(done)).is_ok() {
            // A dropped sender means that the task is gone, and with it everything it had.
            let _ = drained.await;
        }
    }
}
