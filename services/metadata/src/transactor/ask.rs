//! What is asked of a coordinator.

use tidelog_metadata_api::{
    EndTransaction, InitTransactions, ProducerIdentity, TransactionDescription, TransactionNumber,
    TransactionWork, TransactionalId, TransactionsError, Verified,
};
use tidelog_types::ProducerId;
use tokio::sync::oneshot;

use crate::driver::Hold;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, TransactionsError>>;

/// Who a producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) producer: ProducerIdentity,
    /// Whether something had to be stored for it; else it was so before.
    pub(super) is_stored: bool,
}

/// A request to a transactional id. Those with a producer id have it to spare.
#[derive(Debug)]
pub(super) enum Ask {
    Init(InitTransactions, Option<ProducerId>, Reply<Given>),
    Add(TransactionWork, Reply<TransactionNumber>),
    Verify(TransactionWork, Reply<Verified>),
    End(EndTransaction, Option<ProducerId>, Reply<Given>),
    Describe(TransactionalId, Reply<TransactionDescription>),
}

/// What comes to a coordinator.
#[derive(Debug)]
pub(super) enum Mail {
    Asked(Asked),
    /// Somebody needs memory: ids without a transaction can go.
    MakeRoom(oneshot::Sender<()>),
}

/// A request and the memory that it takes while it waits.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) hold: Hold,
}

impl Ask {
    pub(super) const fn id(&self) -> &TransactionalId {
        match self {
            Self::Init(request, ..) => &request.id,
            Self::Add(work, _) | Self::Verify(work, _) => &work.id,
            Self::End(request, ..) => &request.id,
            Self::Describe(id, _) => id,
        }
    }

    /// Refuses the request. Who does not wait any more does not matter.
    pub(super) fn fail(self, error: TransactionsError) {
        match self {
            Self::Init(_, _, reply) | Self::End(_, _, reply) => drop(reply.send(Err(error))),
            Self::Add(_, reply) => drop(reply.send(Err(error))),
            Self::Verify(_, reply) => drop(reply.send(Err(error))),
            Self::Describe(_, reply) => drop(reply.send(Err(error))),
        }
    }
}
