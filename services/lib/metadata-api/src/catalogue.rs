//! The topic catalogue.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelog_types::{TopicId, TopicName, TopicNumber};

use crate::{CatalogueError, TopicInfo};

/// What a new topic shall be.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name; no live topic may have it.
    pub name: TopicName,
    /// How many partitions, from 1.
    pub partitions: u32,
    /// Settings by key, as text; keys that are left out have their defaults.
    pub config: BTreeMap<String, String>,
    /// Check everything, change nothing.
    pub validate_only: bool,
}

/// Names a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicSelector {
    /// The live topic of this name.
    Name(TopicName),
    /// The topic with this id, live or deleted.
    Id(TopicId),
    /// The topic with this number, live or deleted.
    Number(TopicNumber),
}

/// Some topics, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct TopicPage {
    /// The topics.
    pub topics: Vec<Arc<TopicInfo>>,
    /// Ask with this for more; empty at the end.
    pub next: Vec<u8>,
}

/// Topics: created, described, changed, deleted. Every change is durable when answered.
#[async_trait]
pub trait Catalogue: fmt::Debug + Send + Sync + 'static {
    /// Creates a topic.
    async fn create_topic(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError>;

    /// Describes a topic.
    async fn topic(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError>;

    /// Lists live topics, or with `deleted` those that are deleted and not yet purged, in the order of
    /// their names, at most `count` from where `after` (a page's `next`, or empty) points.
    async fn list_topics(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError>;

    /// Sets keys, or with `None` puts them back to their defaults, leaving the others as they are.
    async fn alter_topic_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError>;

    /// Raises the number of partitions to `count`.
    async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError>;

    /// Deletes a topic softly: nobody can use it, its name is free, and it can be undeleted until it is
    /// purged.
    async fn delete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError>;

    /// Undoes a deletion. By name it is the topic of that name that was deleted last.
    async fn undelete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError>;
}
