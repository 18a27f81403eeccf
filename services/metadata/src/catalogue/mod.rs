//! The topic catalogue on the store. Each change is one transaction; what is read often is cached.

mod changes;
mod purge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use tidelog_env::{BackoffPolicy, Env, error_chain};
use tidelog_metadata_api::{
    CatalogueError, NewTopic, Notice, TopicConfig, TopicInfo, TopicPage, TopicSelector, TopicState,
};
use tidelog_store::{
    CommitError, KeyRange, Retry, ScanOptions, Store, StoreError, TransactError, Transaction,
};
use tidelog_types::limits::TOPIC_PARTITIONS_MAX;
use tidelog_types::{TopicName, TopicNumber};
use tokio::sync::broadcast;

use crate::generation::Generation;
use crate::keyspace::{KeyKind, Keyspace, NumberRow, RowError, TopicRow};
pub(crate) use purge::BeginPurge;

/// Topics kept in memory.
const CACHED_TOPICS: u64 = 10_000;
/// How long one is kept without a look at the store. Changes in this process show at once.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// Topics in a page, at most.
const PAGE_MAX: usize = 1_000;

/// Changes that a slow listener may fall behind before it is told that it missed some.
const CHANGES_KEPT: usize = 1_024;

/// How often a change is tried again after a conflict.
pub(crate) const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(2), Duration::from_millis(200), 12);

/// The catalogue. Clones share the cache.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    store: Arc<dyn Store>,
    env: Env,
    generation: Generation,
    keys: Keyspace,
    shards: u32,
    notices: broadcast::Sender<Notice>,
    cache: Cache<TopicSelector, Arc<TopicInfo>>,
    /// How many changes this process has made.
    changes: Arc<AtomicU64>,
    /// The topics that it has changed; none where it is not known which.
    changed: broadcast::Sender<Option<TopicNumber>>,
}

/// The error inside a transaction's body.
type BodyError = TransactError<CatalogueError>;

impl Catalogue {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        env: Env,
        generation: Generation,
        shards: u32,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        let cache = Cache::builder()
            .max_capacity(CACHED_TOPICS)
            .time_to_live(CACHED_FOR)
            .build();
        Self {
            store,
            env,
            keys: generation.keys(),
            generation,
            shards,
            notices,
            cache,
            changes: Arc::default(),
            changed: broadcast::channel(CHANGES_KEPT).0,
        }
    }

    /// The topic, from the cache or the store.
    pub(crate) async fn topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        if let Some(info) = self.cache.get(selector).await {
            return Ok(info);
        }
        let mut transaction = self.store.begin().await.map_err(unavailable)?;
        let row = find(self.keys, transaction.as_mut(), selector)
            .await
            .map_err(flatten)?;
        let info = Arc::new(row.info());
        self.cache.insert(selector.clone(), Arc::clone(&info)).await;
        Ok(info)
    }

    /// How many shards the cluster has.
    pub(crate) const fn shards(&self) -> u32 {
        self.shards
    }

    /// Forgets a topic under all its selectors and tells brokers.
    pub(crate) async fn changed(&self, info: &TopicInfo) {
        for selector in [
            TopicSelector::Name(info.name.clone()),
            TopicSelector::Id(info.id),
            TopicSelector::Number(info.number),
        ] {
            self.cache.invalidate(&selector).await;
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        // Nobody may be listening, which is no error.
        let _ = self.notices.send(Notice::Topic(info.number));
        let _ = self.changed.send(Some(info.number));
    }

    /// A change may have happened, it is not known to which topic.
    fn may_have_changed(&self) {
        self.cache.invalidate_all();
        // As above.
        let _ = self.changed.send(None);
    }

    /// Hears of topics that this process changes; of none where it is not known which. Who falls behind hears so.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Option<TopicNumber>> {
        self.changed.subscribe()
    }

    /// Numbers of topics after one, also of deleted ones, in order; fewer than asked for at the end.
    pub(crate) async fn numbers(
        &self,
        after: TopicNumber,
        count: usize,
    ) -> Result<Vec<TopicNumber>, CatalogueError> {
        let range = KeyRange {
            start: KeyRange::successor(&self.keys.topic(after)),
            end: self.keys.all(KeyKind::Topic).end,
        };
        let mut transaction = self.store.begin().await.map_err(unavailable)?;
        let options = ScanOptions::limit(count).snapshot();
        let page = transaction.scan(range, options).await;
        let rows = page.map_err(unavailable)?.rows;
        let numbers = rows
            .iter()
            .filter_map(|(key, _)| Keyspace::topic_number(key));
        Ok(numbers.collect())
    }

    /// How many changes this process has made so far; whoever reads topics afterwards sees them.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) async fn list(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError> {
        let count = count.clamp(1, PAGE_MAX);
        let range = self.page_range(after, deleted)?;
        let mut transaction = self.store.begin().await.map_err(unavailable)?;
        let options = ScanOptions::limit(count).snapshot();
        let page = transaction
            .scan(range, options)
            .await
            .map_err(unavailable)?;
        let mut topics = Vec::with_capacity(page.rows.len());
        for (key, value) in &page.rows {
            let number = if deleted {
                Keyspace::deleted_number(key).ok_or_else(|| damaged("deleted topic"))
            } else {
                to_number(value.clone())
            };
            let number = number.map_err(flatten)?;
            let row = read_topic(self.keys, transaction.as_mut(), number)
                .await
                .map_err(flatten)?;
            topics.extend(row.map(|row| Arc::new(row.info())));
        }
        let last = page.rows.last().filter(|_| page.more);
        let next = match last {
            Some((key, _)) if deleted => key.to_vec(),
            Some((key, _)) => Keyspace::name_of(key)
                .unwrap_or_default()
                .as_bytes()
                .to_vec(),
            None => Vec::new(),
        };
        Ok(TopicPage { topics, next })
    }

    fn page_range(&self, after: &[u8], deleted: bool) -> Result<KeyRange, CatalogueError> {
        if deleted {
            let known = after.is_empty() || self.keys.all(KeyKind::DeletedTopic).contains(after);
            return known
                .then(|| self.keys.deleted_topics_after(after))
                .ok_or(CatalogueError::InvalidPageToken);
        }
        let name = std::str::from_utf8(after).ok();
        let name = name.filter(|name| name.is_empty() || TopicName::new(name).is_ok());
        name.map(|name| self.keys.topic_names_after(name))
            .ok_or(CatalogueError::InvalidPageToken)
    }
}

/// Checks what can be checked without the store.
fn check_new(topic: &NewTopic) -> Result<TopicConfig, CatalogueError> {
    check_partitions(topic.partitions)?;
    Ok(TopicConfig::new(topic.config.clone())?)
}

fn check_partitions(count: u32) -> Result<(), CatalogueError> {
    if count == 0 {
        let reason = "a topic has at least one";
        return Err(CatalogueError::InvalidPartitions {
            asked: count,
            reason,
        });
    }
    if count > TOPIC_PARTITIONS_MAX {
        let reason = "a topic has at most 100000";
        return Err(CatalogueError::InvalidPartitions {
            asked: count,
            reason,
        });
    }
    Ok(())
}

/// Finds a topic; by name only a live one.
async fn find(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    selector: &TopicSelector,
) -> Result<TopicRow, BodyError> {
    let missing = |error: CatalogueError| TransactError::Abort(error);
    let number = match selector {
        TopicSelector::Number(number) => Some(*number),
        TopicSelector::Name(name) => read_number(transaction, keys.topic_name(name)).await?,
        TopicSelector::Id(id) => read_number(transaction, keys.topic_id(*id)).await?,
    };
    let row = match number {
        Some(number) => read_topic(keys, transaction, number).await?,
        None => None,
    };
    row.ok_or_else(|| {
        missing(match selector {
            TopicSelector::Name(name) => CatalogueError::UnknownTopic(name.clone()),
            TopicSelector::Id(id) => CatalogueError::UnknownTopicId(*id),
            TopicSelector::Number(number) => CatalogueError::Corrupt {
                reason: format!("no topic has the number `{number}`"),
            },
        })
    })
}

async fn read_number(
    transaction: &mut dyn Transaction,
    key: Bytes,
) -> Result<Option<TopicNumber>, BodyError> {
    let value = transaction
        .get(&key, tidelog_store::ReadMode::Serializable)
        .await?;
    // A damaged row must not look like a free name.
    value.map(to_number).transpose()
}

async fn read_topic(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    number: TopicNumber,
) -> Result<Option<TopicRow>, BodyError> {
    let key = keys.topic(number);
    let value = transaction
        .get(&key, tidelog_store::ReadMode::Serializable)
        .await?;
    value
        .map(TopicRow::decode)
        .transpose()
        .map_err(|error| TransactError::Abort(corrupt(&error)))
}

/// The number in a name or id row.
fn to_number(value: Bytes) -> Result<TopicNumber, BodyError> {
    NumberRow::decode(value)
        .map(|row| TopicNumber::new(row.0))
        .map_err(|error| TransactError::Abort(corrupt(&error)))
}

/// A row that is to hold a number holds something else.
fn damaged(kind: &'static str) -> BodyError {
    TransactError::Abort(corrupt(&RowError {
        kind,
        what: "it holds no number",
    }))
}

fn corrupt(error: &RowError) -> CatalogueError {
    CatalogueError::Corrupt {
        reason: error.to_string(),
    }
}

fn unavailable(error: StoreError) -> CatalogueError {
    match error {
        StoreError::Fenced => CatalogueError::NotOwner,
        other => CatalogueError::Unavailable {
            reason: error_chain(&other),
        },
    }
}

/// From the error of a whole transaction to the caller's.
fn flatten(error: BodyError) -> CatalogueError {
    match error {
        TransactError::Abort(error) => error,
        TransactError::Read(error) => unavailable(error),
        TransactError::Commit(CommitError::Fenced) => CatalogueError::NotOwner,
        TransactError::Commit(error) if error.retry() == Retry::Settle => CatalogueError::Unknown,
        TransactError::Commit(error) => CatalogueError::Unavailable {
            reason: error_chain(&error),
        },
    }
}

/// What a change does to a topic's row.
enum Change {
    Config {
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    },
    Partitions(u32),
    Delete,
}

/// Whether a row is of a topic that can be used.
fn is_live(row: &TopicRow) -> bool {
    row.state() == TopicState::Live
}
