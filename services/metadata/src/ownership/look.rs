//! One look at the cluster: all members and who owns which shard, at one version of the store; and the own
//! beat in the same transaction, so that a process says that it lives with the read that it needs anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tidelog_env::Env;
use tidelog_env::clock::Elapsed;
use tidelog_metadata_api::{Member, MemberState};
use tidelog_store::{CommitError, ReadMode, ScanOptions, Store, StoreError, Transaction};
use tidelog_types::{MemberId, ShardId};

use super::lives::ReadAt;
use crate::generation::{CheckError, Generation, GenerationEnded, Refusal};
use crate::keyspace::{KeyKind, Keyspace, LeaseRow, MemberRow, RowError};

/// Who owns a shard, as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaseSeen {
    /// The owner; none if nobody ever was or the last one has released it.
    pub(crate) owner: Option<MemberId>,
    /// 0 if nobody ever was.
    pub(crate) epoch: u64,
}

/// What a look has shown.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) at: ReadAt,
    pub(crate) members: BTreeMap<MemberId, MemberRow>,
    /// One for each shard, by number.
    pub(crate) leases: Vec<LeaseSeen>,
}

/// Why a look failed.
#[derive(Debug, Error)]
pub(crate) enum LookError {
    #[error("members and owners cannot be read")]
    Read(#[from] StoreError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Ended(GenerationEnded),
    #[error("the store does not answer")]
    Late(#[source] Elapsed),
}

impl From<CheckError> for LookError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Read(error) => Self::Read(error),
            CheckError::Refused(Refusal::Row(error)) => Self::Row(error),
            CheckError::Refused(Refusal::Ended(ended)) => Self::Ended(ended),
        }
    }
}

/// The own row, as it is to be written.
#[derive(Clone, Debug)]
pub(crate) struct OwnRow {
    pub(crate) member: Member,
    pub(crate) session: u64,
    pub(crate) beat: u64,
    /// Whether the process is about to go, whatever others have said of its state.
    pub(crate) is_leaving: bool,
}

/// Looks at rows.
#[derive(Clone, Debug)]
pub(crate) struct Looker {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keyspace,
    pub(crate) generation: Generation,
    pub(crate) shards: u32,
}

impl Looker {
    /// Reads all, and writes the own row if one is given. What was read holds also if that fails.
    ///
    /// The rows of others are read outside the conflict check: they change several times a second. The own one
    /// is not, since others may change its state.
    ///
    /// Dropped, it may have written the own row, or may yet, unless that is written again meanwhile.
    pub(crate) async fn look(
        &self,
        own: Option<&OwnRow>,
    ) -> Result<(Observed, Result<(), CommitError>), LookError> {
        let begun = self.env.clock.now();
        let mut transaction = self.store.begin().await?;
        self.generation.check(transaction.as_mut()).await?;
        let members = self.members(transaction.as_mut()).await?;
        let leases = self.leases(transaction.as_mut()).await?;
        if let Some(own) = own {
            self.put_own(transaction.as_mut(), own).await?;
        }
        let ended = self.env.clock.now();
        let observed = Observed {
            at: ReadAt { begun, ended },
            members,
            leases,
        };
        let written = match own {
            Some(_) => transaction.commit().await.map(|_| ()),
            None => Ok(()),
        };
        Ok((observed, written))
    }

    async fn put_own(
        &self,
        transaction: &mut dyn Transaction,
        own: &OwnRow,
    ) -> Result<(), LookError> {
        let key = self.keys.member(own.member.id);
        let stored = transaction.get(&key, ReadMode::Serializable).await?;
        let stored = stored.map(|value| MemberRow::decode(own.member.id, value));
        let mut member = own.member.clone();
        if let Some(stored) = stored.transpose()? {
            member.state = stored.member.state;
        }
        if own.is_leaving {
            member.state = MemberState::Draining;
        }
        let row = MemberRow {
            via: member.id,
            session: own.session,
            beat: own.beat,
            member,
        };
        transaction.put(key, row.encode());
        Ok(())
    }

    async fn members(
        &self,
        transaction: &mut dyn Transaction,
    ) -> Result<BTreeMap<MemberId, MemberRow>, LookError> {
        let mut members = BTreeMap::new();
        let mut rest = Some(self.keys.all(KeyKind::Member));
        while let Some(range) = rest.take() {
            let options = ScanOptions::default().snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                let id = Keyspace::member_id(&key).ok_or(RowError {
                    kind: "member",
                    what: "its key has another length",
                })?;
                members.insert(id, MemberRow::decode(id, value)?);
            }
        }
        Ok(members)
    }

    async fn leases(&self, transaction: &mut dyn Transaction) -> Result<Vec<LeaseSeen>, LookError> {
        let mut leases = Vec::new();
        leases.resize_with(self.shards as usize, LeaseSeen::default);
        let mut rest = Some(self.keys.all(KeyKind::Lease));
        while let Some(range) = rest.take() {
            let options = ScanOptions::default().snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                let shard = Keyspace::lease_shard(&key).ok_or(RowError {
                    kind: "lease",
                    what: "its key has another length",
                })?;
                let row = LeaseRow::decode(value)?;
                if let Some(lease) = leases.get_mut(shard.get() as usize) {
                    *lease = LeaseSeen {
                        owner: row.owner(),
                        epoch: row.epoch,
                    };
                }
            }
        }
        Ok(leases)
    }
}

impl Observed {
    /// Every shard with its lease, in the order of numbers.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (ShardId, LeaseSeen)> {
        (0..).map(ShardId::new).zip(self.leases.iter().copied())
    }
}
