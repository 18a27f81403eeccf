//! What the service offers to those who create, describe and change topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidelog_metadata_api::{
    Catalogue, CatalogueError, NewTopic, TopicInfo, TopicPage, TopicSelector,
};

use super::MetadataService;

/// Of a change that was under way when the store was lost nobody knows what became.
const LOST: CatalogueError = CatalogueError::Unknown;

#[async_trait]
impl Catalogue for MetadataService {
    async fn create_topic(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        let work = self.inner.catalogue.create(topic);
        self.inner.touch.change(LOST, work).await
    }

    async fn topic(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        let work = self.inner.catalogue.topic(selector);
        self.inner.touch.answer(work).await
    }

    async fn list_topics(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError> {
        let work = self.inner.catalogue.list(after, count, deleted);
        self.inner.touch.answer(work).await
    }

    async fn alter_topic_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let work = self
            .inner
            .catalogue
            .alter_config(selector, changes, validate_only);
        self.inner.touch.change(LOST, work).await
    }

    async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let work = self.inner.catalogue.add_partitions(selector, count);
        self.inner.touch.change(LOST, work).await
    }

    async fn delete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let work = self.inner.catalogue.delete(selector);
        let topic = self.inner.touch.change(LOST, work).await;
        // Also after an error: the outcome may be unknown.
        self.inner.partition_shards.forget();
        topic
    }

    async fn undelete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let work = self.inner.catalogue.undelete(selector);
        self.inner.touch.change(LOST, work).await
    }
}
