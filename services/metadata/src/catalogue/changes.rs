//! The changes that a catalogue makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_metadata_api::{
    CatalogueError, NewTopic, PartitionCount, TopicConfig, TopicInfo, TopicSelector, TopicState,
};
use tidelog_store::{ReadMode, ScanOptions, TransactError, Transaction, transact};
use tidelog_types::{Timestamp, TopicId, TopicName, TopicNumber};

use super::{
    BodyError, Catalogue, Change, RETRY, check_new, check_partitions, damaged, find, flatten,
    is_live, read_number, read_topic, to_number,
};
use crate::keyspace::{Counter, DeletedTopicRow, Keyspace, NumberRow, TopicRow};

impl Catalogue {
    pub(crate) async fn create(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        let config = check_new(&topic)?;
        let id = TopicId::from_random_bytes(self.env.rng.bytes_16());
        let plan = NewRow {
            id,
            topic: &topic,
            config: &config,
            now: self.env.clock.wall(),
        };
        let row = transact(self.store.as_ref(), &self.env, RETRY, |mut transaction| {
            let plan = &plan;
            async move {
                let row = self.insert(transaction.as_mut(), plan).await?;
                Ok((transaction, row))
            }
        })
        .await
        .map_err(flatten)?;
        let info = Arc::new(row.info());
        if !topic.validate_only {
            self.changed(&info).await;
            tracing::info!(topic = %info.name, id = %info.id, "created topic");
        }
        Ok(info)
    }

    async fn insert(
        &self,
        transaction: &mut dyn Transaction,
        plan: &NewRow<'_>,
    ) -> Result<TopicRow, BodyError> {
        self.generation.check(transaction).await?;
        let keys = self.keys;
        let name = &plan.topic.name;
        if read_number(transaction, keys.topic_name(name))
            .await?
            .is_some()
        {
            return Err(TransactError::Abort(CatalogueError::TopicExists(
                name.clone(),
            )));
        }
        let last = read_counter(transaction, keys.counter(Counter::TopicNumber)).await?;
        let number = last
            .checked_add(1)
            .ok_or_else(|| damaged("topic counter"))?;
        let number = TopicNumber::new(number);
        let count = PartitionCount {
            count: plan.topic.partitions,
            since: plan.now,
        };
        let row = TopicRow::new(
            plan.id,
            number,
            name.clone(),
            count,
            self.shards,
            plan.config,
        );
        if !plan.topic.validate_only {
            let value = NumberRow(number.get()).encode();
            transaction.put(keys.counter(Counter::TopicNumber), value.clone());
            transaction.put(keys.topic_name(name), value.clone());
            transaction.put(keys.topic_id(plan.id), value);
            transaction.put(keys.topic(number), row.encode());
        }
        Ok(row)
    }

    pub(crate) async fn alter_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.change(
            selector,
            Change::Config {
                changes,
                validate_only,
            },
        )
        .await
    }

    pub(crate) async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        check_partitions(count)?;
        self.change(selector, Change::Partitions(count)).await
    }

    pub(crate) async fn delete(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.change(selector, Change::Delete).await
    }

    /// Changes a live topic in one transaction.
    async fn change(
        &self,
        selector: &TopicSelector,
        change: Change,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let now = self.env.clock.wall();
        let row = transact(self.store.as_ref(), &self.env, RETRY, |mut transaction| {
            let change = &change;
            async move {
                self.generation.check(transaction.as_mut()).await?;
                let mut row = find(self.keys, transaction.as_mut(), selector).await?;
                if !is_live(&row) {
                    let gone = CatalogueError::UnknownTopic(row.name().clone());
                    return Err(TransactError::Abort(gone));
                }
                let writes = self
                    .apply(transaction.as_mut(), &mut row, change, now)
                    .map_err(TransactError::Abort)?;
                if writes {
                    transaction.put(self.keys.topic(row.number()), row.encode());
                }
                Ok((transaction, row))
            }
        })
        .await
        .map_err(flatten);
        if row == Err(CatalogueError::Unknown) {
            // It may have happened under any of the topic's selectors.
            self.may_have_changed();
        }
        let info = Arc::new(row?.info());
        self.changed(&info).await;
        Ok(info)
    }

    /// Changes the row; tells whether it is to be written.
    fn apply(
        &self,
        transaction: &mut dyn Transaction,
        row: &mut TopicRow,
        change: &Change,
        now: Timestamp,
    ) -> Result<bool, CatalogueError> {
        match change {
            Change::Config {
                changes,
                validate_only,
            } => {
                let config: TopicConfig = row.info().config.altered(changes)?;
                row.set_config(&config);
                Ok(!validate_only)
            }
            Change::Partitions(count) => {
                if *count <= row.partition_count() {
                    let reason = "partitions can only be added";
                    return Err(CatalogueError::InvalidPartitions {
                        asked: *count,
                        reason,
                    });
                }
                row.grow(
                    PartitionCount {
                        count: *count,
                        since: now,
                    },
                    self.shards,
                );
                Ok(true)
            }
            Change::Delete => {
                let keep = row.info().config.deleted_retention_millis();
                let purge_after = Timestamp::from_millis(now.as_millis().saturating_add(keep));
                row.set_state(TopicState::Deleted {
                    at: now,
                    purge_after,
                });
                transaction.delete(self.keys.topic_name(row.name()));
                transaction.put(
                    self.keys.deleted_topic(row.name(), row.number()),
                    DeletedTopicRow.encode(),
                );
                Ok(true)
            }
        }
    }

    pub(crate) async fn undelete(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let row = transact(
            self.store.as_ref(),
            &self.env,
            RETRY,
            |mut transaction| async move {
                let row = self.revive(transaction.as_mut(), selector).await?;
                Ok((transaction, row))
            },
        )
        .await
        .map_err(flatten);
        if row == Err(CatalogueError::Unknown) {
            self.may_have_changed();
        }
        let info = Arc::new(row?.info());
        self.changed(&info).await;
        tracing::info!(topic = %info.name, id = %info.id, "undeleted topic");
        Ok(info)
    }

    async fn revive(
        &self,
        transaction: &mut dyn Transaction,
        selector: &TopicSelector,
    ) -> Result<TopicRow, BodyError> {
        self.generation.check(transaction).await?;
        let mut row = match selector {
            TopicSelector::Name(name) => find_deleted(self.keys, transaction, name).await?,
            TopicSelector::Id(_) | TopicSelector::Number(_) => {
                find(self.keys, transaction, selector).await?
            }
        };
        match row.state() {
            TopicState::Live => return Ok(row),
            TopicState::Deleted { .. } => {}
            TopicState::Purging { .. } => {
                let error = CatalogueError::Purging(row.name().clone());
                return Err(TransactError::Abort(error));
            }
        }
        let name = row.name().clone();
        if read_number(transaction, self.keys.topic_name(&name))
            .await?
            .is_some()
        {
            return Err(TransactError::Abort(CatalogueError::TopicExists(name)));
        }
        row.set_state(TopicState::Live);
        let number = NumberRow(row.number().get()).encode();
        transaction.put(self.keys.topic_name(&name), number);
        transaction.delete(self.keys.deleted_topic(&name, row.number()));
        transaction.put(self.keys.topic(row.number()), row.encode());
        Ok(row)
    }
}

/// What a new topic's row is made of.
struct NewRow<'a> {
    id: TopicId,
    topic: &'a NewTopic,
    config: &'a TopicConfig,
    now: Timestamp,
}

/// The topic of this name that was deleted last: numbers only go up.
async fn find_deleted(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    name: &TopicName,
) -> Result<TopicRow, BodyError> {
    let options = ScanOptions::limit(1).backward();
    let page = transaction.scan(keys.deleted_topics(name), options).await?;
    let number = page
        .rows
        .first()
        .and_then(|(key, _)| Keyspace::deleted_number(key));
    let row = match number {
        Some(number) => read_topic(keys, transaction, number).await?,
        None => None,
    };
    row.ok_or_else(|| TransactError::Abort(CatalogueError::UnknownTopic(name.clone())))
}

/// A counter's value; 0 before its first use.
async fn read_counter(transaction: &mut dyn Transaction, key: Bytes) -> Result<u64, BodyError> {
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    // A damaged counter must not begin again: its numbers are taken.
    match value.map(to_number) {
        None => Ok(0),
        Some(number) => number.map(TopicNumber::get),
    }
}
