//! What is merged is what was written, byte by byte and offset by offset.

use tidelog_blob::Operation;
use tidelog_format::location::Location;
use tidelog_format::segment::{AnySegment, MergedReader};
use tidelog_types::{BucketId, Offset, SegmentName, SegmentSequence};

use super::history::{BROKER, partition};
use super::world::{CLUSTER, JANITOR, World};

/// Every partition has in its new extents exactly what it had before.
async fn all_is_there(world: &World) {
    let swapped = world.owner.swapped.lock().clone();
    assert_eq!(swapped.len(), world.history.partitions.len());
    for ((topic, index), known) in &world.history.partitions {
        let extents = &swapped[&partition(*topic, *index)];
        assert_eq!(world.read(extents).await, known.bytes);
        let mut next = known.extents[0].offsets.base;
        for extent in extents {
            assert_eq!(extent.offsets.base, next);
            next = extent.offsets.next;
        }
        assert_eq!(
            Some(next),
            known.extents.last().map(|last| last.offsets.next)
        );
        let newest = |extents: &[tidelog_metadata_api::Extent]| {
            extents.iter().map(|extent| extent.max_timestamp).max()
        };
        assert_eq!(newest(extents), newest(&known.extents));
    }
}

/// New data lies in one bucket and history in another: what is merged may lie in both.
#[tokio::test(start_paused = true)]
async fn what_lies_in_other_buckets_is_merged_into_the_one_of_the_task() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        for bucket in [1, 0, 2] {
            world.history.bucket = BucketId::new(bucket);
            world.write(3, 4).await;
        }
        world.merge_all().await;
        all_is_there(&world).await;
        let swapped = world.owner.swapped.lock();
        let mut extents = swapped.values().flatten();
        assert!(extents.all(|extent| matches!(
            extent.location,
            Location::Segment { bucket, .. } if bucket == BucketId::default()
        )));
    }
}

#[tokio::test(start_paused = true)]
async fn random_history_is_merged_byte_by_byte_and_merged_again() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.write(6, 4).await;
        world.merge_all().await;
        all_is_there(&world).await;
        let name = world.owner.swaps.lock()[0].1;
        assert_eq!(name.incarnation, JANITOR);
        let object = world.object(name).await;
        let reader = MergedReader::open_named(object, CLUSTER, name).unwrap();
        assert_eq!(reader.check(), Ok(()), "seed {seed}");
        let footer = reader.footer();
        assert_eq!(footer.committed_at.as_millis(), 9_000);
        assert_eq!(footer.slices().count(), world.history.partitions.len());
        assert!(
            footer
                .topics()
                .iter()
                .all(|topic| topic.partition_count == 2_000)
        );

        // Once more: merged extents and newer ones together.
        let swapped = std::mem::take(&mut *world.owner.swapped.lock());
        world.history.swap(&swapped);
        world.write(3, 4).await;
        let mut again = World {
            owner: std::sync::Arc::default(),
            stop: tidelog_env::CancellationToken::new(),
            ..world
        };
        again.way.heal();
        // The bucket has the first name of this writer already.
        again.merge_all().await;
        all_is_there(&again).await;
        let name = again.owner.swaps.lock()[0].1;
        assert_eq!(name.sequence, SegmentSequence::new(2), "seed {seed}");
        let segment = AnySegment::open(again.object(name).await).unwrap();
        assert_eq!(segment.check(), Ok(()), "seed {seed}");
        again.history.swap(&again.owner.swapped.lock().clone());
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_together_is_read_with_one_request_each_segment() {
    let mut world = World::new(1);
    for _ in 0..5 {
        world
            .write_plain(&[(0, 1_000), (1, 50_000), (2, 10), (0, 70)])
            .await;
    }
    world.merge_all().await;
    all_is_there(&world).await;
    assert_eq!(world.way.seen(Operation::Get), 5);
    assert_eq!(world.way.seen(Operation::Put), 1);
    let first = &world.owner.swapped.lock()[&partition(1, 0)];
    assert_eq!(first[0].offsets.base, Offset::new(100));
    assert_eq!(first.len(), 1);
}

/// What was committed together with its bytes is merged with what lies in the bucket, and lies there from then on.
#[tokio::test(start_paused = true)]
async fn what_lies_in_the_store_is_merged_with_what_lies_in_the_bucket() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.write(6, 4).await;
        world
            .move_into_store(|segment| segment.sequence.get() % 3 != 0)
            .await;
        world.merge_all().await;
        all_is_there(&world).await;
        assert!(world.way.seen(Operation::Get) <= 2, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_the_store_any_more_is_missing_and_nothing_else_is() {
    let mut world = World::new(1);
    for batches in [&[(0, 100)][..], &[(0, 200), (1, 300)], &[(1, 400)]] {
        world.write_plain(batches).await;
    }
    world.move_into_store(|_| true).await;
    let name = |sequence| SegmentName::new(BROKER, SegmentSequence::new(sequence));
    world.owner.inline.lock().remove(&name(1));
    let mut cut = world.owner.inline.lock()[&name(3)].clone();
    cut.truncate(60);
    world.owner.inline.lock().insert(name(3), cut);
    world.merge_all().await;
    assert_eq!(world.owner.swapped.lock().len(), 0);
    assert_eq!(world.owner.finished.lock().len(), 1);
}
