//! Topics of different classes lie in different buckets, and are merged into others.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata::{ClassBuckets, MergeSettings};
use tidelog_metadata_api::{Catalogue as _, NewTopic, STORAGE_CLASS, TopicSelector};
use tidelog_types::{BucketId, PartitionIndex, TopicName, TopicPartition};

use crate::manifests::{plain, segment};
use crate::merge::{make, merging, now, pass};
use crate::world::{World, partition};

#[tokio::test(start_paused = true)]
async fn what_is_merged_goes_to_the_bucket_of_its_class() {
    const FAST: BucketId = BucketId::new(1);
    const HISTORY: BucketId = BucketId::new(2);
    const FILLER: BucketId = BucketId::new(9);
    let mut world = World::with(merging(MergeSettings {
        age: Duration::ZERO,
        ..MergeSettings::default()
    }));
    let classes = [("fast", HISTORY), ("filler", FILLER)];
    let classes = classes.map(|(class, bucket)| (class.to_owned(), bucket));
    world.classes = ClassBuckets::new(classes);
    let process = world.open().await;
    let filler = NewTopic {
        name: TopicName::new("filler").expect("a good name"),
        partitions: 1,
        config: BTreeMap::from([(STORAGE_CLASS.to_owned(), "filler".to_owned())]),
        validate_only: false,
    };
    let filler = process.create_topic(filler).await.expect("it is new");
    let filler = TopicPartition::new(filler.number, PartitionIndex::new(0));
    let mut sequence = 0;
    // Segments in a bucket, and where what is merged of them goes; nothing where they may stay as they are.
    for (class, segments, bucket, expected) in [
        (Some("fast"), 2, FAST, Some(HISTORY)),
        (Some("fast"), 1, FAST, Some(HISTORY)),
        (Some("fast"), 1, HISTORY, None),
        (None, 1, FAST, Some(BucketId::new(0))),
        (None, 1, BucketId::new(0), None),
        (Some("gone"), 2, FAST, Some(FAST)),
        (Some("gone"), 1, FAST, None),
    ] {
        let name = TopicName::new("log").expect("a good name");
        let changes = BTreeMap::from([(STORAGE_CLASS.to_owned(), class.map(str::to_owned))]);
        let selector = TopicSelector::Name(name);
        let altered = process.alter_topic_config(&selector, changes, false).await;
        altered.expect("it is there");
        for _ in 0..segments {
            sequence += 1;
            let draft = segment(sequence).bucket(bucket);
            let draft = draft.slice(partition(0), &[plain(2)]);
            process.send_until_answered(&draft.done()).await;
        }
        // One segment alone is nothing to merge; this one may stay.
        sequence += 1;
        let draft = segment(sequence).bucket(FILLER).slice(filler, &[plain(2)]);
        process.send_until_answered(&draft.done()).await;
        pass(&world, 12).await;
        let task = now(&process).await;
        let found = task.as_ref().map(|task| task.bucket);
        assert_eq!(found, expected, "{class:?}, {segments} in {bucket}");
        if let Some(task) = task {
            make(&process, &task, 100 + sequence).await;
        }
    }
}
