//! Coordinators of groups: one for each shard, beside its sequencer.
//!
//! ```text
//!   request --> mailbox --> group's state machine --> rows --> the sequencer's group transaction
//!                 ^                |                              |
//!   time ---------+                +--> answers, held back until <+ durable
//! ```
//!
//! One task drives all groups of a shard. It reads a group when it is first asked for, and forgets it when nobody is
//! a member any more. Rows go through the sequencer, so that the rules C1 to C4 hold for them as for partitions: an
//! owner that was fenced stores nothing. Rows of a group become durable in the order in which they were handed over,
//! and no answer is given before everything that it says is durable; if something is not stored, the group is
//! forgotten with all who wait for it, and read again.

mod actor;
mod ask;
mod errors;
mod fetch;
mod group;
mod limits;
mod loads;
mod machine;
mod metrics;
mod offsets;
mod rows;
mod serve;
mod settings;
mod show;
mod sweep;
mod timers;
mod topics;
mod transactions;
mod turns;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::Env;
use tidelog_env::clock::timeout;
use tidelog_metadata_api::{
    CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets, EPOCH_JOIN,
    EndGroupTransaction, GroupDescription, GroupHeartbeat, GroupName, GroupsError, JoinGroup,
    JoinedGroup, LeaveGroup, SyncGroup, SyncedGroup,
};
use tidelog_store::Store;
use tidelog_types::ShardId;
use tokio::sync::{mpsc, oneshot};

pub(crate) use metrics::CoordinatorMetrics;
pub use settings::GroupSettings;
pub(crate) use topics::TopicDirectory;

use self::actor::no_memory;
use self::ask::{Ask, Asked, Outcomes, Reply};
use self::show::ShowAsk;
use crate::driver::{Hold, Memory};
use crate::keyspace::Keyspace;
use crate::ownership::Touch;
use crate::sequencer::Sequencer;

/// Requests that may wait for a coordinator; their bytes are bounded by the memory for groups.
const MAILBOX_MAX: usize = 8_192;
/// Bytes of memory of a request that waits, beside what it brings along.
const REQUEST_BYTES: usize = 512;
/// An answer that waits for nobody but the store comes in this time, or is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What coordinators work with. Those of a process share it.
#[derive(Clone, Debug)]
pub(crate) struct CoordinatorParts {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keyspace,
    pub(crate) settings: GroupSettings,
    pub(crate) memory: Memory,
    pub(crate) topics: Arc<TopicDirectory>,
    pub(crate) touch: Touch,
    pub(crate) metrics: CoordinatorMetrics,
}

/// A handle on the coordinator of one shard.
#[derive(Debug)]
pub(crate) struct Coordinator {
    parts: CoordinatorParts,
    shard: ShardId,
    sequencer: Arc<Sequencer>,
    asks: mpsc::Sender<Asked>,
    shows: mpsc::Sender<ShowAsk>,
}

impl Coordinator {
    /// Starts the coordinator of a shard that this process owns. It ends with the sequencer.
    pub(crate) fn start(
        parts: CoordinatorParts,
        shard: ShardId,
        sequencer: Arc<Sequencer>,
    ) -> Self {
        let (asks, mailbox) = mpsc::channel(MAILBOX_MAX);
        let (shows, questions) = mpsc::channel(1);
        let actor = actor::Actor::new(parts.clone(), shard, Arc::clone(&sequencer));
        let supervisor = parts.env.supervisor.clone();
        drop(supervisor.spawn("group coordinator", actor.run(mailbox, questions)));
        Self {
            parts,
            shard,
            sequencer,
            asks,
            shows,
        }
    }

    // Who was replaced and does not know it hands out no partitions and throws nobody out: such answers are given
    // after a proof (rule C9). That a member lives, it may still say.

    pub(crate) async fn join(&self, request: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        let hold = self.parts.memory.try_hold(limits::join(&request)?);
        let joined = self.wait(hold, |reply| Ask::Join(request, reply)).await?;
        self.prove().await?;
        Ok(joined)
    }

    pub(crate) async fn sync(&self, request: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        let hold = self.parts.memory.try_hold_last(limits::sync(&request)?);
        let synced = self.wait(hold, |reply| Ask::Sync(request, reply)).await?;
        self.prove().await?;
        Ok(synced)
    }

    pub(crate) async fn heartbeat(&self, request: GroupHeartbeat) -> Result<(), GroupsError> {
        self.ask(0, |reply| Ask::Heartbeat(request, reply)).await
    }

    pub(crate) async fn leave(&self, request: LeaveGroup) -> Result<Outcomes, GroupsError> {
        self.ask(0, |reply| Ask::Leave(request, reply)).await
    }

    pub(crate) async fn beat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        let bytes = limits::beat(&request)?;
        if request.epoch == EPOCH_JOIN {
            // One who comes may be refused, who is a member is not to be lost.
            self.parts.memory.try_hold(bytes).ok_or_else(no_memory)?;
        }
        let beaten = self.ask(bytes, |reply| Ask::Beat(request, reply)).await?;
        if beaten.assignment.is_some() && self.prove().await.is_err() {
            // It has been heard, here or by nobody.
            return Err(GroupsError::Unknown);
        }
        Ok(beaten)
    }

    pub(crate) async fn commit(&self, request: CommitOffsets) -> Result<Outcomes, GroupsError> {
        let bytes = limits::commit(&request)?;
        self.ask(bytes, |reply| Ask::Commit(request, reply)).await
    }

    pub(crate) async fn delete_offsets(
        &self,
        request: DeleteOffsets,
    ) -> Result<Outcomes, GroupsError> {
        let bytes = limits::delete_offsets(&request)?;
        self.ask(bytes, |reply| Ask::DeleteOffsets(request, reply))
            .await
    }

    pub(crate) async fn end_transaction(
        &self,
        request: EndGroupTransaction,
    ) -> Result<(), GroupsError> {
        self.ask(0, |reply| Ask::EndTransaction(request, reply))
            .await
    }

    /// Describes a group as it was at some time since the call (rule C9).
    pub(crate) async fn describe(&self, group: GroupName) -> Result<GroupDescription, GroupsError> {
        let description = self.ask(0, |reply| Ask::Describe(group, reply)).await?;
        self.prove().await?;
        Ok(description)
    }

    pub(crate) async fn delete(&self, group: GroupName) -> Result<(), GroupsError> {
        self.ask(0, |reply| Ask::Delete(group, reply)).await
    }

    /// Asks for what is answered once it is stored.
    async fn ask<T>(
        &self,
        bytes: usize,
        ask: impl FnOnce(Reply<T>) -> Ask,
    ) -> Result<T, GroupsError> {
        let hold = self.parts.memory.try_hold_last(bytes + REQUEST_BYTES);
        let answer = self.wait(hold, ask);
        let answer = timeout(self.parts.env.clock.as_ref(), ANSWER_WITHIN, answer).await;
        answer.unwrap_or(Err(GroupsError::Unknown))
    }

    /// Asks for what is answered when others have done their part.
    async fn wait<T>(
        &self,
        hold: Option<Hold>,
        ask: impl FnOnce(Reply<T>) -> Ask,
    ) -> Result<T, GroupsError> {
        let hold = hold.ok_or_else(no_memory)?;
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            ask: ask(reply),
            hold: Some(hold),
        };
        self.asks.try_send(asked).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => GroupsError::Unavailable {
                reason: "the coordinator's queue is full".to_owned(),
            },
            mpsc::error::TrySendError::Closed(_) => GroupsError::NotCoordinator,
        })?;
        // A dropped reply means that the task has ended without knowing what became of the request.
        let answer = answer.await.unwrap_or(Err(GroupsError::Unknown));
        if let Err(error) = &answer
            && error.ends_membership()
        {
            self.prove().await?;
        }
        answer
    }
}
