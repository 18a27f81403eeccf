//! What producers ask of the coordinator of their transactional id.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_types::TopicPartition;

use super::TransactionalId;
use crate::{Decision, GroupName, ProducerIdentity, TransactionNumber};

/// Where a transaction has left something, and where its end must be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Participant {
    /// A partition that records were sent to.
    Partition(TopicPartition),
    /// A group that offsets were committed for.
    Group(GroupName),
}

/// Which protocol of transactions a producer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionVersion {
    /// A producer keeps its epoch over many transactions, and says itself what takes part.
    One,
    /// A producer has another epoch for each transaction (KIP-890): what comes late is fenced.
    Two,
}

/// A producer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitTransactions {
    /// Its transactional id.
    pub id: TransactionalId,
    /// How long its transactions may be open.
    pub timeout: Duration,
    /// Who it is, if it goes on after an error. Then nobody may have come between.
    pub expected: Option<ProducerIdentity>,
}

/// Partitions and groups that a transaction has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionWork {
    /// The transactional id.
    pub id: TransactionalId,
    /// The producer.
    pub producer: ProducerIdentity,
    /// The partitions and groups.
    pub participants: BTreeSet<Participant>,
}

/// What of a [`TransactionWork`] takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of the producer's last transaction. It is open unless all are missing.
    pub number: TransactionNumber,
    /// What does not take part.
    pub missing: BTreeSet<Participant>,
}

/// A producer ends its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// The transactional id.
    pub id: TransactionalId,
    /// The producer.
    pub producer: ProducerIdentity,
    /// How.
    pub decision: Decision,
    /// The protocol that it speaks.
    pub version: TransactionVersion,
}
