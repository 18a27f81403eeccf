//! The transactions of a restore. Each reads and writes the row of the restore, so that one whose outcome
//! was unknown can only conflict later, and so that of two restores only one goes on.

use bytes::Bytes;
use tidelog_env::Env;
use tidelog_metadata_api::TopicState;
use tidelog_store::{KeyRange, ReadMode, Retry, Store, TransactError, Transaction};
use tidelog_types::Timestamp;

use super::error::RestoreError;
use crate::catalogue::RETRY;
use crate::keyspace::{DeletedTopicRow, Keyspace, NumberRow, RestoreRow, RowError, TopicRow};

/// Bytes of changes in one transaction; with one more row of each kind it still fits the store.
const STEP_BYTES: usize = 400_000;
/// What a topic costs beside its row: its name and its id, or its deletion.
const TOPIC_BYTES: usize = 1_024;

/// Something that a transaction does. Doing it twice is doing it once.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Bytes, Bytes),
    Delete(Bytes),
    DeleteRange(KeyRange),
    /// Writes a topic and what it is found by.
    Topic(Box<TopicRow>),
}

/// Writes to a store for one restore.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    store: &'a dyn Store,
    env: &'a Env,
    keys: Keyspace,
    /// Our row as it is to be written next.
    row: RestoreRow,
    /// The restore whose row may be there instead of ours until ours is.
    before: Option<[u8; 16]>,
    has_begun: bool,
    changes: Vec<Change>,
    bytes: usize,
    pub(crate) written: u64,
}

type StepError = TransactError<RestoreError>;

impl<'a> Steps<'a> {
    /// Begins: makes `row` the row of the restore, and removes what lets others use the store.
    pub(crate) async fn begin(
        store: &'a dyn Store,
        env: &'a Env,
        keys: Keyspace,
        row: RestoreRow,
        before: Option<RestoreRow>,
        first: Vec<Change>,
    ) -> Result<Self, RestoreError> {
        let mut steps = Self {
            store,
            env,
            keys,
            row,
            before: before.map(|row| row.nonce),
            has_begun: false,
            changes: first,
            bytes: 0,
            written: 0,
        };
        steps.step().await?;
        Ok(steps)
    }

    /// Adds a change, and commits those before it if they are many.
    pub(crate) async fn push(&mut self, change: Change) -> Result<(), RestoreError> {
        self.bytes += match &change {
            Change::Put(key, value) => key.len() + value.len(),
            Change::Delete(key) => key.len(),
            Change::DeleteRange(range) => 2 * range.start.len(),
            // It may make another one deleted.
            Change::Topic(row) => 2 * (row.encode().len() + TOPIC_BYTES),
        };
        self.changes.push(change);
        if self.bytes >= STEP_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Commits the changes that wait.
    pub(crate) async fn flush(&mut self) -> Result<(), RestoreError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.step().await
    }

    /// Commits what waits together with the row as it shall stay.
    pub(crate) async fn finish(mut self, row: RestoreRow) -> Result<u64, RestoreError> {
        let step = self.row.step;
        self.row = RestoreRow { step, ..row };
        self.step().await?;
        Ok(self.written)
    }

    async fn step(&mut self) -> Result<(), RestoreError> {
        let mut backoff = RETRY.start();
        loop {
            let error = match self.try_step().await {
                Ok(()) => break,
                Err(error) => error,
            };
            let retry = match &error {
                TransactError::Abort(_) => Retry::Never,
                TransactError::Read(error) => error.retry(),
                TransactError::Commit(error) => error.retry(),
            };
            // Also after an unknown outcome: the next attempt does the same, and writes what the unknown
            // one has read.
            match (retry, backoff.next_wait(self.env.rng.as_ref())) {
                (Retry::Again | Retry::Later | Retry::Settle, Some(wait)) => {
                    self.env.clock.sleep(wait).await;
                }
                _ => return Err(error.into()),
            }
        }
        self.has_begun = true;
        let count = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(count);
        self.changes.clear();
        self.bytes = 0;
        Ok(())
    }

    async fn try_step(&mut self) -> Result<(), StepError> {
        let mut transaction = self.store.begin().await?;
        let key = self.keys.restore();
        let found = transaction.get(&key, ReadMode::Serializable).await?;
        let found = found.map(RestoreRow::decode).transpose().map_err(abort)?;
        let nonce = found.as_ref().map(|row| row.nonce);
        let may_begin = !self.has_begun && nonce == self.before;
        if !may_begin && nonce != Some(self.row.nonce) {
            return Err(TransactError::Abort(RestoreError::Superseded));
        }
        self.row.step += 1;
        for change in &self.changes {
            apply(self.keys, transaction.as_mut(), change).await?;
        }
        transaction.put(key, self.row.encode());
        transaction.commit().await?;
        Ok(())
    }
}

fn abort(error: RowError) -> StepError {
    TransactError::Abort(RestoreError::Row(error))
}

async fn apply(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    change: &Change,
) -> Result<(), StepError> {
    match change {
        Change::Put(key, value) => transaction.put(key.clone(), value.clone()),
        Change::Delete(key) => transaction.delete(key.clone()),
        Change::DeleteRange(range) => transaction.delete_range(range.clone()),
        Change::Topic(row) => put_topic(keys, transaction, row).await?,
    }
    Ok(())
}

/// Writes a topic, and by its state the rows that it is found by. Topics are read one after another while
/// the catalogue changes, so two live ones may have one name: then the one that was made first was deleted
/// before the other was made, and it becomes so.
async fn put_topic(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    row: &TopicRow,
) -> Result<(), StepError> {
    let own = NumberRow(row.number().get()).encode();
    transaction.put(keys.topic_id(row.info().id), own.clone());
    if row.state() != TopicState::Live {
        put_deleted(keys, transaction, row);
        return Ok(());
    }
    let name = keys.topic_name(row.name());
    let other = transaction.get(&name, ReadMode::Serializable).await?;
    let other = other.map(NumberRow::decode).transpose().map_err(abort)?;
    let number = row.number().get();
    let Some(other) = other.filter(|other| other.0 != number) else {
        transaction.put(keys.topic(row.number()), row.encode());
        transaction.put(name, own);
        return Ok(());
    };
    let key = keys.topic(tidelog_types::TopicNumber::new(other.0));
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    let other = value.map(TopicRow::decode).transpose().map_err(abort)?;
    let other = other.ok_or_else(|| {
        abort(RowError {
            kind: "topic name",
            what: "its topic is not there",
        })
    })?;
    let (first, second) = if other.number() < row.number() {
        (&other, row)
    } else {
        (row, &other)
    };
    let second_number = NumberRow(second.number().get()).encode();
    transaction.put(keys.topic(second.number()), second.encode());
    transaction.put(name, second_number);
    let retired = retired(first.clone(), second.info().created_at);
    put_deleted(keys, transaction, &retired);
    Ok(())
}

fn put_deleted(keys: Keyspace, transaction: &mut dyn Transaction, row: &TopicRow) {
    transaction.put(keys.topic(row.number()), row.encode());
    let deleted = keys.deleted_topic(row.name(), row.number());
    transaction.put(deleted, DeletedTopicRow.encode());
}

/// A live topic as one that was deleted at this time.
fn retired(mut row: TopicRow, at: Timestamp) -> TopicRow {
    let keep = row.info().config.deleted_retention_millis();
    let purge_after = Timestamp::from_millis(at.as_millis().saturating_add(keep));
    row.set_state(TopicState::Deleted { at, purge_after });
    row
}
