//! Coordinators of transactional ids that do as they are told, and take notes.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_metadata_api::{
    EndTransaction, InitTransactions, Participant, ProducerIdentity, TransactionDescription,
    TransactionFilter, TransactionListing, TransactionNumber, TransactionPage, TransactionState,
    TransactionWork, TransactionalId, Transactions, TransactionsError, Verified,
};
use tidelog_types::{ProducerEpoch, ProducerId, Timestamp};

type Result<T> = std::result::Result<T, TransactionsError>;

/// Says yes to everything, or the error that it is told to say.
#[derive(Debug, Default)]
pub struct FakeTransactions {
    /// What requests are answered with.
    pub fails: Mutex<Option<TransactionsError>>,
    /// What the next requests are answered with, one after the other, before all is well.
    pub fails_next: Mutex<VecDeque<TransactionsError>>,
    /// What was asked, as text.
    pub asked: Mutex<Vec<String>>,
    /// What does not take part in any transaction.
    pub missing: Mutex<BTreeSet<Participant>>,
    /// What takes part in the one that is described.
    pub participants: Mutex<BTreeSet<Participant>>,
    /// The number of every transaction.
    pub number: Mutex<u64>,
}

impl FakeTransactions {
    /// The producer that every id is with.
    pub const PRODUCER: ProducerIdentity =
        ProducerIdentity::new(ProducerId::new(70), ProducerEpoch::new(3));

    /// What was asked last.
    pub fn last(&self) -> String {
        self.asked.lock().last().cloned().unwrap_or_default()
    }

    /// Answers every request with an error from now on.
    pub fn fail(&self, error: impl Into<TransactionsError>) {
        *self.fails.lock() = Some(error.into());
    }

    fn hear(&self, what: &str, request: &dyn Debug) -> Result<()> {
        self.asked.lock().push(format!("{what} {request:?}"));
        if let Some(error) = self.fails_next.lock().pop_front() {
            return Err(error);
        }
        self.fails.lock().clone().map_or(Ok(()), Err)
    }
}

#[async_trait::async_trait]
impl Transactions for FakeTransactions {
    async fn init(&self, request: InitTransactions) -> Result<ProducerIdentity> {
        self.hear("init", &request)?;
        Ok(Self::PRODUCER)
    }

    async fn add(&self, work: TransactionWork) -> Result<TransactionNumber> {
        self.hear("add", &work)?;
        Ok(TransactionNumber(*self.number.lock()))
    }

    async fn verify(&self, work: TransactionWork) -> Result<Verified> {
        self.hear("verify", &work)?;
        let missing = self.missing.lock();
        Ok(Verified {
            number: TransactionNumber(*self.number.lock()),
            missing: work.participants.intersection(&missing).cloned().collect(),
        })
    }

    async fn end(&self, request: EndTransaction) -> Result<ProducerIdentity> {
        self.hear("end", &request)?;
        Ok(Self::PRODUCER)
    }

    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription>> {
        let described = ids.iter().map(|id| {
            self.hear("describe", id)?;
            if id.as_str() == "nobody" {
                return Err(TransactionsError::NotFound);
            }
            Ok(TransactionDescription {
                state: TransactionState::Ongoing,
                timeout: Duration::from_secs(9),
                started_at: Some(Timestamp::from_millis(77)),
                producer: Self::PRODUCER,
                participants: self.participants.lock().clone(),
            })
        });
        described.collect()
    }

    async fn list_transactions(
        &self,
        filter: &TransactionFilter,
        after: &[u8],
        count: usize,
    ) -> Result<TransactionPage> {
        self.hear("list", &(filter, after, count))?;
        let all = [
            ("a-1", TransactionState::Ongoing),
            ("a-2", TransactionState::CompleteCommit),
            ("b-1", TransactionState::Empty),
        ];
        let all = all.into_iter().filter_map(|(name, state)| {
            let id = TransactionalId::new(name).ok()?;
            let is_wanted = filter.states.is_empty() || filter.states.contains(&state);
            is_wanted.then_some(TransactionListing {
                id,
                producer: Self::PRODUCER.id,
                state,
            })
        });
        // The first, nothing, the others.
        let at = after.first().copied().unwrap_or_default();
        let (transactions, next) = match at {
            0 => (all.take(1).collect(), vec![1]),
            1 => (Vec::new(), vec![2]),
            _ => (all.skip(1).collect(), Vec::new()),
        };
        Ok(TransactionPage { transactions, next })
    }
}
