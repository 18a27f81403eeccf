//! Coordinators of transactional ids: one task for each shard, beside its sequencer.
//!
//! ```text
//!   request --> mailbox --> id's state machine --> rows --> the sequencer's group transaction
//!                 ^              ^                           |
//!   time ---------+              |                           +--> answers, held back until durable
//!                                +--- told <-- markers to partitions and groups of the whole cluster
//! ```
//!
//! One task drives all ids of a shard. It reads an id when it is first asked for, and forgets it when nothing is to be
//! done for it. A new owner looks through all rows of its shard once: transactions that are open need a timer, and of
//! those whose end is decided somebody may not have been told. Until it has, ids that are asked for are read at once.
//!
//! How a transaction ends is decided when its row is durable. Only then are markers sent, and they are sent until
//! everybody has taken them, by this owner or by the next one. Whoever takes one knows by the number of the transaction
//! that it has it already. So an owner that was replaced can tell nothing but what was decided.

mod actor;
mod ask;
mod errors;
mod handle;
mod keeper;
mod loads;
mod metrics;
mod reach;
mod rows;
mod settings;
mod show;
mod sweep;
mod telling;
mod turns;

use std::sync::Arc;

use tidelog_env::Env;
use tidelog_store::Store;
use tidelog_types::ShardId;
use tokio::sync::{Semaphore, mpsc};

pub(crate) use metrics::TransactorMetrics;
pub use reach::Reach;
pub(crate) use reach::Seams;
pub use settings::TransactionSettings;

use self::ask::Mail;
use crate::driver::Memory;
use crate::keyspace::Keyspace;
use crate::partition_shards::PartitionShards;
use crate::producer_ids::ProducerIds;
use crate::sequencer::Sequencer;

/// Requests that may wait for a coordinator; their bytes are bounded by the memory for transactions.
const MAILBOX_MAX: usize = 8_192;
/// Calls with markers that a process has open at a time.
pub(crate) const TELLING_MAX: usize = 256;

/// What coordinators work with. Those of a process share it.
#[derive(Clone, Debug)]
pub(crate) struct TransactorParts {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keyspace,
    pub(crate) settings: TransactionSettings,
    pub(crate) memory: Memory,
    /// How many shards the cluster has.
    pub(crate) shard_count: u32,
    pub(crate) shards: PartitionShards,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) reach: Reach,
    /// Permits for calls with markers.
    pub(crate) telling: Arc<Semaphore>,
    pub(crate) metrics: TransactorMetrics,
}

/// A handle on the coordinator of one shard.
#[derive(Debug)]
pub(crate) struct Transactor {
    parts: TransactorParts,
    shard: ShardId,
    sequencer: Arc<Sequencer>,
    asks: mpsc::Sender<Mail>,
}

impl Transactor {
    /// Starts the coordinator of a shard that this process owns. It ends with the sequencer.
    pub(crate) fn start(parts: TransactorParts, shard: ShardId, sequencer: Arc<Sequencer>) -> Self {
        let (asks, mailbox) = mpsc::channel(MAILBOX_MAX);
        let actor = actor::Actor::new(parts.clone(), shard, Arc::clone(&sequencer));
        let supervisor = parts.env.supervisor.clone();
        drop(supervisor.spawn("transaction coordinator", actor.run(mailbox)));
        Self {
            parts,
            shard,
            sequencer,
            asks,
        }
    }
}
