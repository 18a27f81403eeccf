//! Transactional ids: what producers hear, who is told of ends, and what outlives the owner of the shard.

mod durable;
mod expiry;
mod ids;
mod limits;
mod show;
mod takeover;
mod telling;
mod timeouts;
mod told;

use std::time::Duration;

use tidelog_metadata_api::{
    Decision, EndTransaction, GroupName, InitTransactions, Participant, ProducerIdentity,
    TransactionError, TransactionNumber, TransactionState, TransactionVersion, TransactionWork,
    TransactionalId, Transactions, TransactionsError,
};
use tidelog_types::{ProducerEpoch, ProducerId, TopicPartition};

pub(crate) use self::told::ToldLog;
use crate::world::{Process, World, partition};

pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) fn id(text: &str) -> TransactionalId {
    TransactionalId::new(text).expect("a good id")
}

pub(crate) fn producer(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity::new(ProducerId::new(id), ProducerEpoch::new(epoch))
}

pub(crate) fn at(index: u32) -> Participant {
    Participant::Partition(partition(index))
}

pub(crate) fn group(name: &str) -> Participant {
    Participant::Group(GroupName::new(name).expect("a good name"))
}

/// What a client says to coordinators.
pub(crate) struct Client<'a, T> {
    pub(crate) to: &'a T,
    pub(crate) id: TransactionalId,
}

impl<'a, T: Transactions> Client<'a, T> {
    pub(crate) fn new(to: &'a T, text: &str) -> Self {
        Self { to, id: id(text) }
    }

    pub(crate) async fn init(
        &self,
        expected: Option<ProducerIdentity>,
    ) -> Result<ProducerIdentity, TransactionsError> {
        let request = InitTransactions {
            id: self.id.clone(),
            timeout: TIMEOUT,
            expected,
        };
        self.to.init(request).await
    }

    pub(crate) async fn add(
        &self,
        producer: ProducerIdentity,
        participants: &[Participant],
    ) -> Result<u64, TransactionsError> {
        let work = TransactionWork {
            id: self.id.clone(),
            producer,
            participants: participants.iter().cloned().collect(),
        };
        let number = self.to.add(work).await;
        number.map(|TransactionNumber(number)| number)
    }

    /// Which of these do not take part.
    pub(crate) async fn missing(
        &self,
        producer: ProducerIdentity,
        participants: &[Participant],
    ) -> Result<Vec<Participant>, TransactionsError> {
        let work = TransactionWork {
            id: self.id.clone(),
            producer,
            participants: participants.iter().cloned().collect(),
        };
        let verified = self.to.verify(work).await?;
        Ok(verified.missing.into_iter().collect())
    }

    pub(crate) async fn end(
        &self,
        producer: ProducerIdentity,
        decision: Decision,
        version: TransactionVersion,
    ) -> Result<ProducerIdentity, TransactionsError> {
        let request = EndTransaction {
            id: self.id.clone(),
            producer,
            decision,
            version,
        };
        self.to.end(request).await
    }

    pub(crate) async fn commit(
        &self,
        producer: ProducerIdentity,
    ) -> Result<ProducerIdentity, TransactionsError> {
        self.end(producer, Decision::Commit, TransactionVersion::Two)
            .await
    }

    pub(crate) async fn state(&self) -> Result<TransactionState, TransactionsError> {
        let ids = [self.id.clone()];
        let mut described = self.to.describe_transactions(&ids).await;
        let described = described.pop().expect("one for one")?;
        Ok(described.state)
    }

    /// Asks until the end of the last transaction is told.
    pub(crate) async fn when_told<O, F: Future<Output = Result<O, TransactionsError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<O, TransactionsError> {
        for _ in 0..1_000 {
            match ask().await {
                Err(TransactionsError::Refused(TransactionError::Concurrent)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
        panic!("the end of a transaction is told for ever");
    }
}

/// A world whose processes tell a log that notes it, and its first process.
pub(crate) async fn opened() -> (World, Process, ToldLog) {
    let world = World::new();
    let told = ToldLog::default();
    told.is_reached_by(&world.reach);
    let process = world.open().await;
    (world, process, told)
}

/// A producer of an id with an open transaction on partition 0.
pub(crate) async fn open(to: &impl Transactions, text: &str) -> ProducerIdentity {
    let client = Client::new(to, text);
    let producer = client.init(None).await.expect("nobody has the id");
    let number = client.add(producer, &[at(0)]).await;
    number.expect("it is the producer's");
    producer
}

/// Lets everything happen that needs no time but for retries.
pub(crate) async fn soon() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

pub(crate) fn partitions_of(told: &ToldLog) -> Vec<TopicPartition> {
    let markers = told.markers();
    markers.iter().map(|marker| marker.partition).collect()
}
