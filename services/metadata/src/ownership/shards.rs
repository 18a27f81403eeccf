//! The shards of this process. Each has a place of its own, so that no two of them share a lock.

use std::sync::Arc;

use parking_lot::RwLock;
use tidelog_metadata_api::{CommitError, LogError};
use tidelog_types::ShardId;

use super::plan::Here;
use crate::coordinator::{Coordinator, CoordinatorParts};
use crate::sequencer::Sequencer;
use crate::transactor::{Transactor, TransactorParts};

/// What is in the place of a shard.
#[derive(Clone, Debug, Default)]
enum Slot {
    #[default]
    Elsewhere,
    Taking,
    Here(Owned),
}

/// What serves a shard.
#[derive(Clone, Debug)]
struct Owned {
    sequencer: Arc<Sequencer>,
    groups: Arc<Coordinator>,
    transactions: Arc<Transactor>,
}

/// All shards of the cluster, and what serves those that are here.
#[derive(Debug)]
pub(crate) struct Shards {
    slots: Box<[RwLock<Slot>]>,
    /// What the coordinators of their groups work with.
    coordinators: CoordinatorParts,
    /// What the coordinators of their transactional ids work with.
    transactors: TransactorParts,
}

/// Why there is no sequencer of a shard here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotHere {
    /// Another process has it, or nobody.
    Elsewhere,
    /// It will be here in a moment.
    Taking,
}

impl Shards {
    /// As many shards as the cluster has, all elsewhere.
    pub(crate) fn new(
        count: u32,
        coordinators: CoordinatorParts,
        transactors: TransactorParts,
    ) -> Self {
        let slots = (0..count).map(|_| RwLock::default());
        Self {
            slots: slots.collect(),
            coordinators,
            transactors,
        }
    }

    fn slot(&self, shard: ShardId) -> Option<&RwLock<Slot>> {
        self.slots.get(shard.get() as usize)
    }

    fn owned(&self, shard: ShardId) -> Result<Owned, NotHere> {
        let slot = self.slot(shard).ok_or(NotHere::Elsewhere)?;
        match &*slot.read() {
            Slot::Here(owned) => Ok(owned.clone()),
            Slot::Taking => Err(NotHere::Taking),
            Slot::Elsewhere => Err(NotHere::Elsewhere),
        }
    }

    /// The sequencer of a shard, if it is here.
    pub(crate) fn get(&self, shard: ShardId) -> Result<Arc<Sequencer>, NotHere> {
        self.owned(shard).map(|owned| owned.sequencer)
    }

    /// The coordinator of a shard's groups, if it is here.
    pub(crate) fn coordinator(&self, shard: ShardId) -> Result<Arc<Coordinator>, NotHere> {
        self.owned(shard).map(|owned| owned.groups)
    }

    /// The coordinator of a shard's transactional ids, if it is here.
    pub(crate) fn transactor(&self, shard: ShardId) -> Result<Arc<Transactor>, NotHere> {
        self.owned(shard).map(|owned| owned.transactions)
    }

    /// What is here of a shard.
    pub(crate) fn here(&self, shard: ShardId) -> Here {
        match self.get(shard) {
            Ok(sequencer) if sequencer.is_releasing() => Here::Moving,
            Ok(sequencer) => Here::Owned(sequencer.epoch()),
            Err(NotHere::Taking) => Here::Moving,
            Err(NotHere::Elsewhere) => Here::Nothing,
        }
    }

    /// The sequencers that are here, in the order of their shards.
    pub(crate) fn all(&self) -> Vec<(ShardId, Arc<Sequencer>)> {
        let shards = (0..).map(ShardId::new).zip(&self.slots);
        let here = shards.filter_map(|(shard, slot)| match &*slot.read() {
            Slot::Here(owned) => Some((shard, Arc::clone(&owned.sequencer))),
            Slot::Elsewhere | Slot::Taking => None,
        });
        here.collect()
    }

    /// Whether none is here or on its way in.
    pub(crate) fn is_empty(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.all(|slot| matches!(&*slot.read(), Slot::Elsewhere))
    }

    /// A shard is on its way in.
    pub(crate) fn taking(&self, shard: ShardId) {
        self.set(shard, Slot::Taking);
    }

    /// It is here.
    pub(crate) fn insert(&self, shard: ShardId, sequencer: Sequencer) {
        let sequencer = Arc::new(sequencer);
        let parts = self.coordinators.clone();
        let groups = Coordinator::start(parts, shard, Arc::clone(&sequencer));
        let parts = self.transactors.clone();
        let transactions = Transactor::start(parts, shard, Arc::clone(&sequencer));
        let owned = Owned {
            sequencer,
            groups: Arc::new(groups),
            transactions: Arc::new(transactions),
        };
        self.set(shard, Slot::Here(owned));
    }

    /// It has gone.
    pub(crate) fn remove(&self, shard: ShardId) {
        self.set(shard, Slot::Elsewhere);
    }

    fn set(&self, shard: ShardId, to: Slot) {
        if let Some(slot) = self.slot(shard) {
            *slot.write() = to;
        }
    }
}

const TAKING: &str = "this process is taking the shard over";

impl From<NotHere> for CommitError {
    fn from(reason: NotHere) -> Self {
        match reason {
            NotHere::Elsewhere => Self::NotOwner,
            NotHere::Taking => Self::Unavailable {
                reason: TAKING.to_owned(),
            },
        }
    }
}

impl From<NotHere> for LogError {
    fn from(reason: NotHere) -> Self {
        match reason {
            NotHere::Elsewhere => Self::NotOwner,
            NotHere::Taking => Self::Unavailable {
                reason: TAKING.to_owned(),
            },
        }
    }
}
