//! Which bucket the merged segments of a topic go to.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_metadata_api::TopicConfig;
use tidelog_types::BucketId;

/// The buckets that storage classes have for what is merged, by the names of the classes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ClassBuckets(Arc<BTreeMap<String, BucketId>>);

impl ClassBuckets {
    /// These classes, and no others.
    pub fn new(classes: impl IntoIterator<Item = (String, BucketId)>) -> Self {
        Self(Arc::new(classes.into_iter().collect()))
    }

    /// Where merged segments of a topic go. A topic without a class has the main bucket. Of one whose class no setting names
    /// they stay where `there` says that its data is.
    pub(crate) fn of(&self, topic: &TopicConfig, there: BucketId) -> BucketId {
        match topic.storage_class() {
            None => BucketId::default(),
            Some(class) => self.0.get(class).copied().unwrap_or(there),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::STORAGE_CLASS;

    use super::*;

    #[test]
    fn a_topic_goes_where_its_class_does() {
        let buckets = ClassBuckets::new([("fast".to_owned(), BucketId::new(2))]);
        let of = |class: Option<&str>| {
            let config = class.map(|class| (STORAGE_CLASS.to_owned(), class.to_owned()));
            let config = TopicConfig::new(config.into_iter().collect()).unwrap();
            buckets.of(&config, BucketId::new(7)).get()
        };
        assert_eq!(of(None), 0);
        assert_eq!(of(Some("fast")), 2);
        assert_eq!(of(Some("gone")), 7);
    }
}
