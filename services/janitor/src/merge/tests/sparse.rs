//! What owners are told of sparse segments.

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_blob::object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_metadata_api::{DESCRIBED_SLICES_MAX, IndexedSlice, MergeError, MergeTask};
use tidelog_types::{BucketId, SegmentName, SegmentSequence};

use super::history::BROKER;
use super::world::{JANITOR, World};

fn merged(sequence: u64) -> SegmentName {
    SegmentName::new(JANITOR, SegmentSequence::new(sequence))
}

fn asked(world: &World, number: u64, sparse: &[SegmentName]) -> MergeTask {
    MergeTask {
        bytes: 0,
        runs: Vec::new(),
        sparse: sparse.to_vec(),
        ..world.history.task(number)
    }
}

/// A world in which so many partitions were merged into one segment.
async fn with_merged(partitions: u32) -> World {
    let mut world = World::new(5);
    let batches: Vec<_> = (0..partitions).map(|index| (index, 10)).collect();
    world.write_plain(&batches).await;
    world.write_plain(&batches).await;
    world.owner.give(world.history.task(1));
    let working = world.start();
    world.owner.until_finished(1).await;
    world.stop.cancel();
    working.await.unwrap();
    world.stop = tidelog_env::CancellationToken::new();
    world
}

async fn look(world: &World, task: MergeTask) {
    let finished = world.owner.finished.lock().len();
    world.owner.give(task);
    let working = world.start();
    world.owner.until_finished(finished + 1).await;
    world.stop.cancel();
    working.await.unwrap();
}

fn told(world: &World) -> Vec<(SegmentName, Vec<IndexedSlice>)> {
    world.owner.described.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn all_that_an_index_says_is_told_in_parts_and_nothing_is_written() {
    for partitions in [3, 1_300] {
        let world = with_merged(partitions).await;
        let swapped = world.owner.swapped.lock().clone();
        let puts = world.metrics.segments.get();
        look(&world, asked(&world, 2, &[merged(1)])).await;
        let told = told(&world);
        assert!(
            told.iter()
                .all(|(_, some)| some.len() <= DESCRIBED_SLICES_MAX)
        );
        assert!(told.iter().all(|(segment, _)| *segment == merged(1)));
        let mut slices: Vec<_> = told.into_iter().flat_map(|(_, some)| some).collect();
        slices.sort_by_key(|slice| slice.partition);
        let wanted = swapped.iter().map(|(partition, extents)| IndexedSlice {
            partition: *partition,
            offsets: tidelog_types::OffsetRange {
                base: extents.first().unwrap().offsets.base,
                next: extents.last().unwrap().offsets.next,
            },
        });
        assert_eq!(slices, wanted.collect::<Vec<_>>());
        assert_eq!(*world.owner.finished.lock(), [1, 2]);
        assert_eq!(world.metrics.segments.get(), puts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sparse_segment_is_found_in_whichever_bucket_it_lies() {
    let mut world = with_merged(3).await;
    let bytes = world.object(merged(1)).await;
    world.layout = world.layout.with_buckets([1, 2].map(BucketId::new));
    let [from, to] = [0, 2].map(|bucket| world.layout.segment(BucketId::new(bucket), merged(1)));
    world.objects.put(&to, bytes.into()).await.unwrap();
    world.objects.delete(&from).await.unwrap();
    look(&world, asked(&world, 2, &[merged(1)])).await;
    let told = told(&world);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_merged_or_missing_or_damaged_is_passed_over() {
    let world = with_merged(3).await;
    let broker = SegmentName::new(BROKER, SegmentSequence::new(1));
    for (sequence, change) in [(8, 0), (9, 20), (10, 130)] {
        let mut bytes = world.object(merged(1)).await.to_vec();
        let at = bytes.len() - 1 - change;
        bytes[at] ^= 1;
        let path = world.layout.segment(BucketId::default(), merged(sequence));
        let put = PutPayload::from(bytes::Bytes::from(bytes));
        world.objects.put(&path, put).await.unwrap();
    }
    let sparse = [
        broker,
        merged(7),
        merged(8),
        merged(9),
        merged(10),
        merged(1),
    ];
    look(&world, asked(&world, 2, &sparse)).await;
    let told: Vec<_> = told(&world)
        .into_iter()
        .map(|(at, some)| (at, some.len()))
        .collect();
    assert_eq!(told, [(merged(1), 3)]);
    assert_eq!(*world.owner.finished.lock(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_is_asked_again_and_a_bucket_later() {
    let world = with_merged(3).await;
    let unavailable = MergeError::Unavailable {
        reason: "on purpose".to_owned(),
    };
    world.owner.answers.lock().push_back(Err(unavailable));
    look(&world, asked(&world, 2, &[merged(1)])).await;
    assert_eq!(told(&world).len(), 2);

    let world = with_merged(3).await;
    let rule = FaultRule::new(Fault::SLOW_DOWN).on(Operation::Get);
    world.way.inject(rule.once());
    world.owner.give(asked(&world, 2, &[merged(1)]));
    look(&world, asked(&world, 3, &[merged(1)])).await;
    assert_eq!(*world.owner.finished.lock(), [1, 3], "the first was let be");
    assert_eq!(world.metrics.failures("read"), 1);
}
