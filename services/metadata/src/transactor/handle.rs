//! How a coordinator is asked.

use std::time::Duration;

use tidelog_env::clock::timeout;
use tidelog_metadata_api::{
    EndTransaction, InitTransactions, ProducerIdentity, TransactionDescription, TransactionError,
    TransactionNumber, TransactionWork, TransactionalId, TransactionsError, Verified,
};
use tidelog_types::ProducerId;
use tokio::sync::{mpsc, oneshot};

use super::Transactor;
use super::ask::{Ask, Asked, Given, Mail, Reply};
use super::errors::{no_memory, of_log};
use crate::driver::Hold;

/// Bytes of memory of a request that waits, beside the partitions and groups that it names.
const REQUEST_BYTES: usize = 512;
/// Bytes of memory of a partition or group that a request names, or that takes part in a transaction.
pub(super) const PARTICIPANT_BYTES: usize = 64;
/// An answer comes in this time, or is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

impl Transactor {
    // Who was replaced and does not know it might say from its memory that a later transaction is the one that it has
    // ended, or that a new producer is none. So what is not durable by itself is said after a proof (rule C9), but for
    // what a producer tries again, and that something takes part: a transaction that has ended takes no more.

    pub(crate) async fn init(
        &self,
        request: InitTransactions,
    ) -> Result<ProducerIdentity, TransactionsError> {
        let given = self
            .with_spare(|spare, reply| Ask::Init(request.clone(), spare, reply))
            .await?;
        Ok(given.producer)
    }

    pub(crate) async fn end(
        &self,
        request: EndTransaction,
    ) -> Result<ProducerIdentity, TransactionsError> {
        let given = self
            .with_spare(|spare, reply| Ask::End(request.clone(), spare, reply))
            .await?;
        if !given.is_stored {
            self.prove().await?;
        }
        Ok(given.producer)
    }

    pub(crate) async fn add(
        &self,
        work: TransactionWork,
    ) -> Result<TransactionNumber, TransactionsError> {
        let hold = self.hold(work.participants.len()).await?;
        self.ask(hold, |reply| Ask::Add(work, reply)).await
    }

    pub(crate) async fn verify(
        &self,
        work: TransactionWork,
    ) -> Result<Verified, TransactionsError> {
        let hold = self.hold(work.participants.len()).await?;
        let verified = self.ask(hold, |reply| Ask::Verify(work, reply)).await?;
        if !verified.missing.is_empty() {
            self.prove().await?;
        }
        Ok(verified)
    }

    /// Describes an id as it was at some time since the call (rule C9).
    pub(crate) async fn describe(
        &self,
        id: TransactionalId,
    ) -> Result<TransactionDescription, TransactionsError> {
        let hold = self.hold(0).await?;
        let description = self.ask(hold, |reply| Ask::Describe(id, reply)).await;
        self.prove().await?;
        description
    }

    /// Asks, and asks again with a new producer id if that is what is missing: most requests need none.
    async fn with_spare(
        &self,
        ask: impl Fn(Option<ProducerId>, Reply<Given>) -> Ask,
    ) -> Result<Given, TransactionsError> {
        // What ends a transaction goes first: it gives memory back.
        let hold = || {
            let memory = &self.parts.memory;
            memory.try_hold_last(REQUEST_BYTES).ok_or_else(no_memory)
        };
        let given = self.ask(hold()?, |reply| ask(None, reply)).await;
        if given != Err(TransactionError::ProducerIdNeeded.into()) {
            return given;
        }
        let spare = self.parts.producer_ids.take().await.map_err(of_log)?;
        self.ask(hold()?, |reply| ask(Some(spare), reply)).await
    }

    async fn hold(&self, participants: usize) -> Result<Hold, TransactionsError> {
        let bytes = REQUEST_BYTES + participants * PARTICIPANT_BYTES;
        if let Some(hold) = self.parts.memory.try_hold(bytes) {
            return Ok(hold);
        }
        let (done, made) = oneshot::channel();
        self.send(Mail::MakeRoom(done))?;
        // If the task has ended there is room too.
        let _ = made.await;
        self.parts.memory.try_hold(bytes).ok_or_else(no_memory)
    }

    fn send(&self, mail: Mail) -> Result<(), TransactionsError> {
        self.asks.try_send(mail).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => TransactionsError::Unavailable {
                reason: "the coordinator's queue is full".to_owned(),
            },
            mpsc::error::TrySendError::Closed(_) => TransactionsError::NotCoordinator,
        })
    }

    async fn ask<T>(
        &self,
        hold: Hold,
        ask: impl FnOnce(Reply<T>) -> Ask,
    ) -> Result<T, TransactionsError> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            ask: ask(reply),
            hold,
        };
        self.send(Mail::Asked(asked))?;
        let answer = timeout(self.parts.env.clock.as_ref(), ANSWER_WITHIN, answer).await;
        // A dropped reply means that the task has ended without knowing what became of the request.
        let answer = answer.unwrap_or(Ok(Err(TransactionsError::Unknown)));
        let answer = answer.unwrap_or(Err(TransactionsError::Unknown));
        if let Err(TransactionsError::Refused(error)) = &answer
            && !matches!(
                error,
                TransactionError::Concurrent | TransactionError::ProducerIdNeeded
            )
        {
            self.prove().await?;
        }
        answer
    }
}
