//! Who a producer is.

use std::fmt;

use tidelog_types::{ProducerEpoch, ProducerId};

use crate::TransactionError;

/// The last epoch that a producer is ever given: one is left above it, so that it can always be fenced.
const LAST_GIVEN: i16 = i16::MAX - 1;

/// Who a producer is: its id and its epoch. Of two with the same id the one with the lower epoch is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Producer {
    /// The id.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: ProducerEpoch,
}

impl Producer {
    /// A producer of an epoch.
    pub const fn new(id: ProducerId, epoch: ProducerEpoch) -> Self {
        Self { id, epoch }
    }

    /// The first epoch of an id that nobody had before.
    pub(crate) const fn first(id: ProducerId) -> Self {
        Self::new(id, ProducerEpoch::new(0))
    }

    /// The same id with an epoch that fences this one.
    pub(crate) const fn fencing(self) -> Self {
        let epoch = self.epoch.get().saturating_add(1);
        Self::new(self.id, ProducerEpoch::new(epoch))
    }

    /// Whether no producer may be given this one: its epoch is there to fence the one before.
    pub(crate) const fn is_spent(self) -> bool {
        self.epoch.get() > LAST_GIVEN
    }

    /// Whether what comes after this one has another id.
    pub(crate) const fn is_last(self) -> bool {
        self.epoch.get() >= LAST_GIVEN
    }

    /// This one if it can be given, else the first of a new id.
    pub(crate) fn given(self, spare: Option<ProducerId>) -> Result<Self, TransactionError> {
        if !self.is_spent() {
            return Ok(self);
        }
        let id = spare.ok_or(TransactionError::ProducerIdNeeded)?;
        Ok(Self::first(id))
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.epoch)
    }
}
