//! Storage classes: which there are, which a topic names, and that it names none that there is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidelog_metadata_api::{
    Catalogue, CatalogueError, ConfigError, NewTopic, STORAGE_CLASS, TopicConfig, TopicInfo,
    TopicPage, TopicSelector,
};

use crate::settings::StorageClass;

/// Counts open segments: 0 is for topics that name no class, 1 for the first class, and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane(pub(crate) usize);

/// The classes of this process.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    all: Vec<StorageClass>,
}

impl Classes {
    pub(crate) const fn new(all: Vec<StorageClass>) -> Self {
        Self { all }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StorageClass> {
        self.all.iter()
    }

    /// Where batches of a topic go; the class's name if there is none such.
    pub(crate) fn lane<'a>(&self, config: &'a TopicConfig) -> Result<Lane, &'a str> {
        let Some(name) = config.storage_class() else {
            return Ok(Lane::default());
        };
        let found = self.all.iter().position(|class| class.name == name);
        found.map(|index| Lane(index + 1)).ok_or(name)
    }

    /// Refuses a class that there is not.
    fn check(&self, name: Option<&String>) -> Result<(), CatalogueError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        if self.all.iter().any(|class| class.name == *name) {
            return Ok(());
        }
        let known: Vec<String> = self
            .all
            .iter()
            .map(|class| format!("`{}`", class.name))
            .collect();
        let known = match known.as_slice() {
            [] => "the settings name no class".to_owned(),
            known => format!("the settings name {}", known.join(", ")),
        };
        Err(CatalogueError::InvalidConfig(ConfigError::InvalidValue {
            key: STORAGE_CLASS.to_owned(),
            value: name.clone(),
            reason: format!("{known} (`storage.classes`)"),
        }))
    }
}

/// A catalogue in which topics name only classes that this process knows.
#[derive(Debug)]
pub(crate) struct ClassedCatalogue {
    pub(crate) inner: Arc<dyn Catalogue>,
    pub(crate) classes: Arc<Classes>,
}

#[async_trait]
impl Catalogue for ClassedCatalogue {
    async fn create_topic(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.classes.check(topic.config.get(STORAGE_CLASS))?;
        self.inner.create_topic(topic).await
    }

    async fn topic(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.topic(selector).await
    }

    async fn list_topics(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError> {
        self.inner.list_topics(after, count, deleted).await
    }

    async fn alter_topic_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let named = changes.get(STORAGE_CLASS).and_then(Option::as_ref);
        self.classes.check(named)?;
        let inner = &self.inner;
        inner
            .alter_topic_config(selector, changes, validate_only)
            .await
    }

    async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.add_partitions(selector, count).await
    }

    async fn delete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.delete_topic(selector).await
    }

    async fn undelete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.undelete_topic(selector).await
    }
}
