//! Sequencers: the owners of shards, who give out offsets.
//!
//! One task owns a shard's state and works through its mailbox group by group:
//!
//! ```text
//!   mailbox --> drain --> load what is needed --> decide --> commit --> apply, show, answer
//!      ^                                                       |
//!      +-- the next group gathers meanwhile <------------------+ error: settle, reread, decide again
//! ```

mod actor;
mod aside;
mod checkpoint;
mod compaction;
mod error;
mod extents;
mod floors;
mod fold;
mod group;
mod history;
mod inlined;
mod judge;
mod keeping;
mod lately;
mod lease;
mod load;
mod markers;
mod merging;
mod message;
mod needed;
mod own_receipts;
mod producer;
mod publish;
mod purge;
mod purging;
mod reclaim;
mod reclaiming;
mod recovery;
mod replay;
mod retention;
mod state;
mod tidy;
mod transaction;
mod upkeep;
mod view;
mod window;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use parking_lot::RwLock;
use prometheus_client::metrics::histogram::Histogram;
use tidelog_env::clock::timeout;
use tidelog_env::{CancellationToken, Clock, Env};
use tidelog_metadata_api::{
    CommitAnswer, CommitError, FencingToken, LogError, Notice, ReadToken, ShardCommit,
    TransactionMarker,
};
use tidelog_store::Store;
use tidelog_types::{GroupNumber, Offset, ShardId, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) use actor::End;
pub(crate) use compaction::NextCompaction;
use compaction::{CompactionDesk, Look};
pub(crate) use error::SequencerError;
pub(crate) use extents::extents_of;
pub(crate) use fold::Folding;
pub(crate) use group::{Decided, GROUP_ROWS_MESSAGE_BYTES_MAX};
pub(crate) use history::History;
pub(crate) use lease::Claim;
use lease::Lease;
pub(crate) use markers::KnownProducer;
pub(crate) use merging::NextMerge;
use merging::{Again, Desk, Planning, Sparse, Unmerged};
pub use merging::{MergeSettings, RewriteSettings};
pub(crate) use message::{Answer, GroupRows, Message, group_rows_bytes};
pub(crate) use producer::is_past;
pub(crate) use state::ShardState;
pub(crate) use view::ShardView;
pub(crate) use window::{PartitionView, Shown};

use crate::ClassBuckets;
use crate::catalogue::Catalogue;
use crate::deletion::DeletionSignal;
use crate::generation::Generation;
use crate::keyspace::Keyspace;
use crate::metrics::SequencerMetrics;
use crate::settings::SequencerSettings;

/// Requests that may wait for a sequencer; their bytes are bounded by the settings.
const MAILBOX_MAX: usize = 1_024;
/// Requests of merges that may wait for it.
const MERGES_MAX: usize = 16;

/// What a sequencer works with.
#[derive(Clone, Debug)]
pub(crate) struct SequencerParts {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keyspace,
    pub(crate) generation: Generation,
    pub(crate) owner: [u8; 16],
    pub(crate) settings: SequencerSettings,
    pub(crate) classes: ClassBuckets,
    pub(crate) catalogue: Catalogue,
    /// Told when a segment may be dead.
    pub(crate) deletions: DeletionSignal,
    /// Whether other processes use the store too.
    pub(crate) is_shared: bool,
    pub(crate) notices: broadcast::Sender<Notice>,
    /// Told when there may be something to merge.
    pub(crate) merge_news: watch::Sender<()>,
    pub(crate) metrics: SequencerMetrics,
}

/// A handle on the sequencer of one shard.
#[derive(Debug)]
pub(crate) struct Sequencer {
    mailbox: mpsc::Sender<Message>,
    view: Arc<RwLock<ShardView>>,
    shown: watch::Receiver<GroupNumber>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    epoch: u64,
    desk: Box<Desk>,
    compactions: Box<CompactionDesk>,
    release: CancellationToken,
    clock: Arc<dyn Clock>,
    commit_seconds: Histogram,
}

/// What became of markers, in their order.
pub(crate) type MarkerAnswers = Vec<Result<(), LogError>>;

/// Why a request was not taken into the mailbox.
enum NotTaken {
    Full,
    Ended,
}

impl Sequencer {
    /// Takes the shard over, loads it and starts the task, which tells how it ended.
    pub(crate) async fn start(
        parts: SequencerParts,
        shard: ShardId,
        claim: Claim,
    ) -> Result<(Self, JoinHandle<Option<End>>), SequencerError> {
        let (mailbox, messages) = mpsc::channel(MAILBOX_MAX);
        let view = Arc::new(RwLock::new(ShardView::default()));
        let (shown_sender, shown) = watch::channel(GroupNumber::default());
        let (merges, merge_messages) = mpsc::channel(MERGES_MAX);
        let (unmerged_sender, unmerged) = watch::channel(Unmerged::default());
        let again = Arc::new(Again::default());
        let sparse = Arc::new(Sparse::default());
        let planning = Planning::new(&parts, shard);
        let (look, compacting) = (Look::new(&parts, shard), parts.metrics.compacting.clone());
        let (merge_settings, merge_metrics) = (parts.settings.merge, parts.metrics.merging.clone());
        let supervisor = parts.env.supervisor.clone();
        let room_bytes = parts.settings.mailbox_bytes.min(Semaphore::MAX_PERMITS);
        let release = CancellationToken::new();
        let clock = Arc::clone(&parts.env.clock);
        let commit_seconds = parts.metrics.commit_seconds.clone();
        let outside = actor::Outside {
            view: Arc::clone(&view),
            shown: shown_sender,
            unmerged: unmerged_sender,
            again: Arc::clone(&again),
            sparse: Arc::clone(&sparse),
            release: release.clone(),
        };
        let actor = Box::pin(actor::Actor::start(parts, shard, claim, outside)).await?;
        let epoch = actor.epoch();
        let compactions = Box::new(CompactionDesk::new(
            look,
            merge_settings,
            unmerged.clone(),
            merges.clone(),
            Arc::clone(&clock),
            epoch,
            compacting,
        ));
        let desk = Box::new(Desk::new(
            planning,
            merge_settings,
            (unmerged, again, sparse),
            merges,
            Arc::clone(&clock),
            epoch,
            merge_metrics,
        ));
        let task = supervisor.spawn("sequencer", actor.run(messages, merge_messages));
        let sequencer = Self {
            mailbox,
            view,
            shown,
            room: Arc::new(Semaphore::new(room_bytes)),
            room_bytes,
            epoch,
            desk,
            compactions,
            release,
            clock,
            commit_seconds,
        };
        Ok((sequencer, task))
    }

    /// Where merges of the shard are asked for.
    pub(crate) const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Where partitions of the shard that are to be compacted are asked for.
    pub(crate) const fn compactions(&self) -> &CompactionDesk {
        &self.compactions
    }

    /// The epoch of the lease.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Asks the task to write a checkpoint, to finish the group in flight, to give the shard back and to
    /// end. It takes requests until it is about to do the last two.
    pub(crate) fn release(&self) {
        self.release.cancel();
    }

    /// Whether it was asked to.
    pub(crate) fn is_releasing(&self) -> bool {
        self.release.is_cancelled()
    }

    /// What is durable of the shard.
    pub(crate) fn view(&self) -> &RwLock<ShardView> {
        &self.view
    }

    fn take(&self, message: Message) -> Result<(), NotTaken> {
        self.mailbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Ended,
        })
    }

    /// Puts a commit into the mailbox, now; the future only waits for the answer.
    pub(crate) fn commit(
        &self,
        commit: ShardCommit,
    ) -> BoxFuture<'static, Result<CommitAnswer, CommitError>> {
        let Some(room) = self.room_for(&commit) else {
            return futures::future::ready(Err(queue_is_full())).boxed();
        };
        let (reply, answer) = oneshot::channel();
        let message = Message::Commit {
            commit,
            reply,
            room,
        };
        match self.take(message) {
            // A dropped reply means that the task has ended without knowing what became of the commit.
            Ok(()) => {
                let answer = answer.unwrap_or_else(|_| Err(CommitError::Unknown));
                let (clock, seconds) = (Arc::clone(&self.clock), self.commit_seconds.clone());
                let asked = clock.now();
                let note = move |answer: &Result<_, _>| {
                    if answer.is_ok() {
                        seconds.observe((clock.now() - asked).as_secs_f64());
                    }
                };
                answer.inspect(note).boxed()
            }
            Err(NotTaken::Full) => futures::future::ready(Err(queue_is_full())).boxed(),
            Err(NotTaken::Ended) => futures::future::ready(Err(CommitError::NotOwner)).boxed(),
        }
    }

    /// Puts rows of consumer groups and transactional ids into the mailbox, now, or refuses them; the future only waits for the answer,
    /// which says that they are durable. Rows become durable in the order of the calls: if some do not, none of
    /// those behind them do.
    pub(crate) fn write_rows(
        &self,
        rows: GroupRows,
    ) -> Result<BoxFuture<'static, Result<(), CommitError>>, CommitError> {
        let room = self.room_of(group_rows_bytes(&rows));
        let room = room.ok_or_else(queue_is_full)?;
        let (reply, answer) = oneshot::channel();
        match self.take(Message::Rows { rows, reply, room }) {
            Ok(()) => Ok(answer.unwrap_or_else(|_| Err(CommitError::Unknown)).boxed()),
            Err(NotTaken::Full) => Err(queue_is_full()),
            Err(NotTaken::Ended) => Err(CommitError::NotOwner),
        }
    }

    /// Puts markers into the mailbox, now; the future only waits for the answers, one for each.
    pub(crate) fn end_transactions(
        &self,
        markers: Vec<TransactionMarker>,
    ) -> BoxFuture<'static, MarkerAnswers> {
        let count = markers.len();
        let refuse = move |error: LogError| (0..count).map(|_| Err(error.clone())).collect();
        let Some(room) = self.room_of(message::markers_bytes(&markers)) else {
            return futures::future::ready(refuse(full())).boxed();
        };
        let (reply, answer) = oneshot::channel();
        let message = Message::EndTransactions {
            markers,
            reply,
            room,
        };
        match self.take(message) {
            Ok(()) => answer.unwrap_or_else(move |_| refuse(ended())).boxed(),
            Err(NotTaken::Full) => futures::future::ready(refuse(full())).boxed(),
            Err(NotTaken::Ended) => futures::future::ready(refuse(LogError::NotOwner)).boxed(),
        }
    }

    /// The producers of a partition that the task has in memory; of one that is not among them the row says what
    /// there is to know. This process is known to have owned the shard at some time since the call.
    pub(crate) async fn producers(
        &self,
        partition: TopicPartition,
    ) -> Result<Vec<KnownProducer>, LogError> {
        let (reply, answer) = oneshot::channel();
        match self.take(Message::Producers { partition, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(ended())),
            Err(NotTaken::Full) => Err(full()),
            Err(NotTaken::Ended) => Err(LogError::NotOwner),
        }
    }

    /// Waits until the task has ended. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.mailbox.closed().await;
    }

    /// Room for a commit's bytes, which it holds until it is answered.
    fn room_for(&self, commit: &ShardCommit) -> Option<OwnedSemaphorePermit> {
        self.room_of(message::commit_bytes(commit))
    }

    /// Room for so many bytes. A request that is larger than all room is taken when there is nothing else.
    fn room_of(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.min(self.room_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        room.ok()
    }

    /// Sets a fencing token, in order with commits.
    pub(crate) async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        self.ask(|reply| Message::SetToken {
            partition,
            expected,
            token,
            reply,
        })
        .await
    }

    /// Moves a log start offset up.
    pub(crate) async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Offset,
    ) -> Result<ReadToken, LogError> {
        self.ask(|reply| Message::DeleteRecords {
            partition,
            before,
            reply,
        })
        .await
    }

    /// Ends once this process is known to have owned the shard at some time since the call, with all
    /// that was committed before it in the view (rule C9).
    pub(crate) async fn barrier(&self) -> Result<ReadToken, LogError> {
        self.ask(|reply| Message::Barrier { reply }).await
    }

    /// The same, if it is known so soon.
    pub(crate) async fn barrier_within(&self, within: Duration) -> Result<ReadToken, LogError> {
        let proof = timeout(self.clock.as_ref(), within, self.barrier()).await;
        proof.unwrap_or_else(|elapsed| {
            let waited = elapsed.0;
            Err(LogError::Unavailable {
                reason: format!("the shard was not proven to be here within `{waited:?}`"),
            })
        })
    }

    async fn ask(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<ReadToken, LogError>>) -> Message,
    ) -> Result<ReadToken, LogError> {
        let (reply, answer) = oneshot::channel();
        match self.take(message(reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(ended())),
            Err(NotTaken::Full) => Err(full()),
            Err(NotTaken::Ended) => Err(LogError::NotOwner),
        }
    }

    /// Ends when the view has reached a group.
    pub(crate) async fn reached(&self, group: GroupNumber) -> Result<(), LogError> {
        let mut shown = self.shown.clone();
        shown
            .wait_for(|shown| *shown >= group)
            .await
            .map(|_| ())
            .map_err(|_| LogError::NotOwner)
    }
}

/// Gives a shard back that this process had under this epoch and serves no more.
pub(crate) async fn give_up_lease(
    parts: &SequencerParts,
    shard: ShardId,
    epoch: u64,
) -> Result<(), SequencerError> {
    let lease = Lease::of(parts.keys, shard, parts.owner, epoch);
    lease.release(parts.store.as_ref()).await
}

/// Nothing happened: the same may be asked for again.
fn full() -> LogError {
    LogError::Unavailable {
        reason: "the sequencer's queue is full".to_owned(),
    }
}

/// The next owner knows what became of it.
fn ended() -> LogError {
    LogError::Unavailable {
        reason: "the sequencer has ended".to_owned(),
    }
}

/// Nothing happened: the same commit may be asked for again.
fn queue_is_full() -> CommitError {
    CommitError::Unavailable {
        reason: "the sequencer's queue is full".to_owned(),
    }
}
