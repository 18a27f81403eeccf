//! The epochs of a producer.

use tidelog_metadata_api::{ProducerIdentity, TransactionError};
use tidelog_types::{ProducerEpoch, ProducerId};

/// The last epoch that a producer is ever given: one is left above it, so that it can always be fenced.
const LAST_GIVEN: i16 = i16::MAX - 1;

/// Which epoch comes after which.
pub(crate) trait Epochs: Copy {
    /// The first epoch of an id that nobody had before.
    fn first(id: ProducerId) -> Self;

    /// The same id with an epoch that fences this one.
    #[must_use]
    fn fencing(self) -> Self;

    /// Whether no producer may be given this one: its epoch is there to fence the one before.
    fn is_spent(self) -> bool;

    /// Whether what comes after this one has another id.
    fn is_last(self) -> bool;

    /// This one if it can be given, else the first of a new id.
    fn given(self, spare: Option<ProducerId>) -> Result<Self, TransactionError>;
}

impl Epochs for ProducerIdentity {
    fn first(id: ProducerId) -> Self {
        Self::new(id, ProducerEpoch::new(0))
    }

    fn fencing(self) -> Self {
        let epoch = self.epoch.get().saturating_add(1);
        Self::new(self.id, ProducerEpoch::new(epoch))
    }

    fn is_spent(self) -> bool {
        self.epoch.get() > LAST_GIVEN
    }

    fn is_last(self) -> bool {
        self.epoch.get() >= LAST_GIVEN
    }

    fn given(self, spare: Option<ProducerId>) -> Result<Self, TransactionError> {
        if !self.is_spent() {
            return Ok(self);
        }
        let id = spare.ok_or(TransactionError::ProducerIdNeeded)?;
        Ok(Self::first(id))
    }
}
