//! One transactional id.

mod add;
mod end;
mod init;
mod markers;
mod time;

use tidelog_env::MonoTime;
use tidelog_metadata_api::{Decision, ProducerIdentity, TransactionError};
use tidelog_types::ProducerId;

use crate::producer::Epochs as _;
use crate::{Cause, Ending, Limits, Markers, Now, Phase, StoredTransaction};

/// One transactional id.
#[derive(Clone, Debug)]
pub struct Coordinator {
    limits: Limits,
    owner_epoch: i32,
    /// Nothing, for an id that nobody has used.
    state: Option<StoredTransaction>,
    /// Whether the id has expired, and what is stored of it is going.
    is_forgotten: bool,
    wake: Option<MonoTime>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The producer that the id is with.
    Current,
    /// The same, and it may not have heard who it is now.
    Previous,
    /// Anybody else, and why it gets nothing.
    Stranger(TransactionError),
}

impl Coordinator {
    /// An id that nobody has used. `owner_epoch` is that of the owner's lease, which goes up with each owner.
    pub const fn new(limits: Limits, owner_epoch: i32) -> Self {
        Self {
            limits,
            owner_epoch,
            state: None,
            is_forgotten: false,
            wake: None,
        }
    }

    /// What is to be stored, when an effect says so; and what can be shown at any time. Nothing, if nobody has used
    /// the id.
    pub const fn stored(&self) -> Option<&StoredTransaction> {
        self.state.as_ref()
    }

    /// Whether it would be of use to have a new producer id at hand for the next request. Without one a request
    /// that needs it has no effect but [`TransactionError::ProducerIdNeeded`].
    pub fn may_need_producer_id(&self) -> bool {
        self.state
            .as_ref()
            .is_none_or(|state| state.producer.is_last())
    }

    /// What an event needs of the id; nobody is answered from what is about to go.
    fn known(&mut self) -> Result<&mut StoredTransaction, TransactionError> {
        if self.is_forgotten {
            return Err(TransactionError::Concurrent);
        }
        self.state.as_mut().ok_or(TransactionError::UnknownProducer)
    }

    /// Decides how the open transaction ends: it is aborted or committed from when this is durable. Whoever has
    /// the id afterwards is `next`. Nothing happens if none is open.
    fn decide(
        &mut self,
        ending: Ending,
        (marker, next): (ProducerIdentity, ProducerIdentity),
        now: Now,
    ) -> Option<Markers> {
        let state = self.state.as_mut()?;
        let Phase::Ongoing { participants } = &mut state.phase else {
            return None;
        };
        let missing = std::mem::take(participants);
        state.phase = Phase::Ending {
            ending,
            marker,
            missing,
        };
        state.producer = next;
        state.changed_at = now.wall;
        self.set_wake(now);
        self.missing_markers()
    }

    /// Aborts the open transaction with an epoch that nobody has, which fences whoever is at work.
    fn abort(&mut self, cause: Cause, now: Now) -> Option<Markers> {
        let fencing = self.state.as_ref()?.producer.fencing();
        let decision = Decision::Abort;
        self.decide(Ending { decision, cause }, (fencing, fencing), now)
    }
}

impl StoredTransaction {
    /// Who asks.
    fn standing(&self, producer: ProducerIdentity) -> Standing {
        if producer == self.producer && !producer.is_spent() {
            Standing::Current
        } else if Some(producer) == self.previous {
            Standing::Previous
        } else if producer.id == self.producer.id {
            Standing::Stranger(TransactionError::Fenced)
        } else {
            Standing::Stranger(TransactionError::UnknownProducer)
        }
    }

    /// Only the producer that the id is with may do something, and it knows who it is.
    fn must_be_current(&self, producer: ProducerIdentity) -> Result<(), TransactionError> {
        match self.standing(producer) {
            Standing::Current => Ok(()),
            Standing::Previous => Err(TransactionError::Fenced),
            Standing::Stranger(error) => Err(error),
        }
    }

    /// The producer that comes after this one, which fences it.
    fn next(&self, spare: Option<ProducerId>) -> Result<ProducerIdentity, TransactionError> {
        self.producer.fencing().given(spare)
    }
}
