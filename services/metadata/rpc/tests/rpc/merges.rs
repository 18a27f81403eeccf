//! Merges between processes: tasks of every owner come, however large, and what became of them goes to the right one.

use std::sync::Arc;

use tidelog_api::internal::v1;
use tidelog_api::internal::v1::merge_service_client::MergeServiceClient;
use tidelog_format::location::Location;
use tidelog_metadata_api::*;
use tidelog_types::*;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::fake::{Fake, partition};
use crate::world::*;

pub(crate) fn extent(base: u64) -> Extent {
    Extent {
        offsets: OffsetRange {
            base: Offset::new(base),
            next: Offset::new(base + 1),
        },
        location: Location::Segment {
            bucket: BucketId::new(0),
            segment: segment(base),
            position: 40,
            length: 80,
        },
        crc32c: Some(u32::try_from(base).expect("small")),
        max_timestamp: Timestamp::from_millis(5),
    }
}

pub(crate) const fn segment(sequence: u64) -> SegmentName {
    SegmentName::new(Incarnation::new(4), SegmentSequence::new(sequence))
}

fn task(shard: u32, number: u64, runs: u32, extents: u64) -> MergeTask {
    let runs = (0..runs).map(|index| MergeRun {
        topic_id: TopicId::from_bytes([3; 16]),
        topic_name: TopicName::new("log").expect("it is one"),
        partition_count: 99,
        partition: partition(index),
        extents: (0..extents).map(extent).collect(),
    });
    MergeTask {
        id: MergeId {
            shard: ShardId::new(shard),
            epoch: 2,
            number,
        },
        bucket: BucketId::new(0),
        bytes: 80 * extents,
        committed_at: Timestamp::from_millis(-7),
        runs: runs.collect(),
        sparse: Vec::new(),
    }
}

fn slices(count: u32) -> Vec<IndexedSlice> {
    let slices = (0..count).map(|index| IndexedSlice {
        partition: partition(index),
        offsets: extent(u64::from(index)).offsets,
    });
    slices.collect()
}

fn merged(count: u32) -> Vec<MergedRun> {
    let runs = (0..count).map(|index| MergedRun {
        partition: partition(index),
        extents: vec![extent(u64::from(index))],
    });
    runs.collect()
}

async fn next(merges: &dyn Merges) -> MergeTask {
    let task = tokio::time::timeout(LONG, merges.next()).await;
    task.expect("it comes").expect("it is one")
}

async fn until_waiting(fake: &Fake, count: usize) {
    let mut waiting = fake.merging.waiting.subscribe();
    let seen = waiting.wait_for(|waiting| *waiting == count);
    let seen = tokio::time::timeout(LONG, seen).await;
    drop(seen.expect("it comes").expect("the sender is here"));
}

#[tokio::test]
async fn tasks_come_whole_however_many_extents_they_have() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    for (number, (runs, extents)) in (1..).zip([(1, 1), (3, 30_000), (1, 150_000), (5_000, 4)]) {
        let wanted = task(0, number, runs, extents);
        fake.merging.give(wanted.clone());
        assert!(next(&node).await == wanted, "{runs} runs of {extents}");
    }
    let sparse = MergeTask {
        sparse: vec![segment(3), segment(8)],
        ..task(0, 5, 0, 0)
    };
    fake.merging.give(sparse.clone());
    assert_eq!(next(&node).await, sparse);
}

#[tokio::test]
async fn what_became_of_runs_and_every_error_comes_back() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    let id = task(0, 1, 1, 1).id;
    let outcomes = node.swap(id, segment(9), merged(4)).await.unwrap();
    let (swapped, changed) = (SwapOutcome::Swapped, SwapOutcome::Changed);
    assert_eq!(outcomes, [swapped, changed, swapped, swapped]);
    assert_eq!(*fake.merging.swaps.lock(), [(id, segment(9), merged(4))]);
    node.keep(id).await.unwrap();
    assert_eq!(*fake.merging.kept.lock(), [id]);
    node.describe(id, segment(9), slices(3)).await.unwrap();
    let described = fake.merging.described.lock().clone();
    assert_eq!(described, [(id, segment(9), slices(3))]);
    node.finish(id).await.unwrap();
    assert_eq!(*fake.merging.finished.lock(), [id]);
    for error in [
        MergeError::Gone,
        MergeError::BelowFloor(segment(9)),
        MergeError::Malformed {
            reason: "so".to_owned(),
        },
        MergeError::Unavailable {
            reason: "and so".to_owned(),
        },
    ] {
        *fake.merging.error.lock() = Some(error.clone());
        let swapped = node.swap(id, segment(9), merged(1)).await;
        assert_eq!(swapped, Err(error.clone()));
        assert_eq!(node.keep(id).await, Err(error.clone()));
        let described = node.describe(id, segment(9), slices(1)).await;
        assert_eq!(described, Err(error.clone()));
        assert_eq!(node.finish(id).await, Err(error.clone()));
        assert_eq!(node.next().await, Err(error));
    }
    server.stop.cancel();
    let swapped = node.swap(id, segment(9), merged(1)).await;
    assert!(matches!(swapped, Err(MergeError::Unavailable { .. })));
}

#[tokio::test]
async fn who_stops_waiting_is_waited_for_no_more() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    let waiting = tokio::spawn(async move { node.next().await });
    until_waiting(&fake, 1).await;
    waiting.abort();
    until_waiting(&fake, 0).await;
}

#[tokio::test]
async fn more_runs_than_may_be_are_refused() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = MergeServiceClient::new(endpoint.connect().await.unwrap());
    let run = v1::MergedRun {
        partition: Some(v1::Partition { topic: 1, index: 0 }),
        extents: Vec::new(),
    };
    let request = v1::SwapMergeRequest {
        id: Some(v1::MergeId::default()),
        segment: Some(v1::SegmentName::default()),
        runs: vec![run; SWAP_RUNS_MAX + 1],
    };
    let refused = client.swap_merge(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let no_id = v1::SwapMergeRequest {
        id: None,
        runs: Vec::new(),
        ..request
    };
    let refused = client.swap_merge(no_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(fake.merging.swaps.lock().is_empty());
    let request = v1::DescribeMergeRequest {
        id: Some(v1::MergeId::default()),
        segment: Some(v1::SegmentName::default()),
        slices: vec![
            v1::IndexedSlice {
                partition: Some(v1::Partition { topic: 1, index: 0 }),
                ..v1::IndexedSlice::default()
            };
            DESCRIBED_SLICES_MAX + 1
        ],
    };
    let refused = client.describe_merge(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(fake.merging.described.lock().is_empty());
}

/// Two owners, and one process without shards.
#[tokio::test]
async fn a_router_has_the_tasks_of_all_owners_and_answers_each() {
    let fakes = [Fake::owning(&[0]), Fake::owning(&[1]), Fake::owning(&[])];
    let [a, b, c] = &fakes;
    let servers = [active(a).await, active(b).await, active(c).await];
    let addresses = [0, 1, 2].map(|at: usize| servers[at].address.as_str());
    let show = |owners: &[u8], epoch| {
        let seen = view(&addresses, owners, epoch);
        for fake in &fakes {
            fake.view.send_replace(Arc::clone(&seen));
        }
    };
    show(&[1, 2], 1);
    let router = router(&[&servers[0]], None).await;
    for (fake, shard) in [(b, 1), (a, 0), (b, 1)] {
        fake.merging.give(task(shard, 4, 2, 3));
        let task = next(&router).await;
        assert_eq!(task.id.shard, ShardId::new(shard));
        router.swap(task.id, segment(1), merged(2)).await.unwrap();
        router.keep(task.id).await.unwrap();
        let described = router.describe(task.id, segment(1), slices(1)).await;
        described.unwrap();
        router.finish(task.id).await.unwrap();
    }
    let shards = |fake: &Fake| {
        let finished = fake.merging.finished.lock();
        finished.iter().map(|id| id.shard.get()).collect::<Vec<_>>()
    };
    assert_eq!((shards(a), shards(b)), (vec![0], vec![1, 1]));
    let described = |fake: &Fake| fake.merging.described.lock().len();
    assert_eq!((described(a), described(b)), (1, 2));

    // A call that is given up leaves its questions open: nothing that comes meanwhile is lost.
    until_waiting(a, 1).await;
    let gave_up = tokio::time::timeout(std::time::Duration::from_millis(20), router.next());
    assert!(gave_up.await.is_err());
    a.merging.give(task(0, 5, 1, 1));
    b.merging.give(task(1, 6, 1, 1));
    let mut numbers = [next(&router).await.id.number, next(&router).await.id.number];
    numbers.sort_unstable();
    assert_eq!(numbers, [5, 6]);
    assert_eq!(*c.merging.waiting.borrow(), 0, "it owns nothing");

    // The third takes the first shard over.
    show(&[3, 2], 2);
    c.merging.give(task(0, 7, 1, 1));
    let task = next(&router).await;
    assert_eq!(task.id.number, 7);
    router.finish(task.id).await.unwrap();
    assert_eq!(c.merging.finished.lock().len(), 1);
}
