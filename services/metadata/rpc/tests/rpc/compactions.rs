//! Compactions between processes: partitions of every owner come, and what became of them goes to the right one.

use std::sync::Arc;

use tidelog_api::internal::v1;
use tidelog_api::internal::v1::compaction_service_client::CompactionServiceClient;
use tidelog_metadata_api::*;
use tidelog_types::*;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::fake::{Fake, partition};
use crate::merges::{extent, segment};
use crate::world::*;

fn task(shard: u32, number: u64) -> CompactionTask {
    CompactionTask {
        id: MergeId {
            shard: ShardId::new(shard),
            epoch: 2,
            number,
        },
        topic_id: TopicId::from_bytes([3; 16]),
        topic_name: TopicName::new("log").expect("it is one"),
        partition_count: 99,
        partition: partition(shard),
        bucket: BucketId::new(4),
        start: Offset::new(5),
        cleaned: Offset::new(6),
        end: Offset::new(7),
        tombstones_millis: -8,
        committed_at: Timestamp::from_millis(-9),
        span_millis: number.is_multiple_of(2).then_some(10),
        now: Timestamp::from_millis(11),
    }
}

fn compacted(tombstones_until: Option<i64>) -> Compacted {
    Compacted {
        cleaned: Offset::new(7),
        bytes: u64::MAX,
        tombstones_until: tombstones_until.map(Timestamp::from_millis),
        unread: tombstones_until.map(|at| Offset::new(at.unsigned_abs())),
    }
}

fn extents(count: u64) -> Vec<Extent> {
    (0..count).map(extent).collect()
}

async fn next(compactions: &dyn Compactions) -> CompactionTask {
    let task = tokio::time::timeout(LONG, compactions.next_compaction()).await;
    task.expect("it comes").expect("it is one")
}

#[tokio::test]
async fn tasks_what_became_of_them_and_every_error_come_back() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    fake.compacting.give(task(0, 1));
    assert_eq!(next(&node).await, task(0, 1));
    let id = task(0, 1).id;
    let outcome = node.replace(id, segment(9), extents(4), extents(3)).await;
    assert_eq!(outcome, Ok(SwapOutcome::Swapped));
    let outcome = node.replace(id, segment(9), extents(3), extents(3)).await;
    assert_eq!(outcome, Ok(SwapOutcome::Changed));
    let replaced = fake.compacting.replaced.lock().clone();
    let first = (id, segment(9), extents(4), extents(3));
    assert_eq!(replaced[0], first);
    for (until, is_last) in [(None, false), (Some(-7), true)] {
        let noted = node.compacted(id, compacted(until), is_last).await;
        assert_eq!(noted, Ok(()));
    }
    let noted = fake.compacting.compacted.lock().clone();
    let wanted = [
        (id, compacted(None), false),
        (id, compacted(Some(-7)), true),
    ];
    assert_eq!(noted, wanted);
    for given_up in [None, Some("it is broken".to_owned())] {
        let held = node.hold_compaction(id, given_up.clone()).await;
        assert_eq!(held, Ok(()));
        let last = fake.compacting.held.lock().last().cloned();
        assert_eq!(last, Some((id, given_up)));
    }
    // A reason is as long as it is.
    let long = Some("x".repeat(10_000_000));
    assert_eq!(node.hold_compaction(id, long).await, Ok(()));
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
        *fake.compacting.error.lock() = Some(error.clone());
        let replaced = node.replace(id, segment(9), extents(2), extents(1)).await;
        assert_eq!(replaced, Err(error.clone()));
        let noted = node.compacted(id, compacted(None), true).await;
        assert_eq!(noted, Err(error.clone()));
        let held = node.hold_compaction(id, None).await;
        assert_eq!(held, Err(error.clone()));
        assert_eq!(node.next_compaction().await, Err(error));
    }
    server.stop.cancel();
    let held = node.hold_compaction(id, None).await;
    assert!(matches!(held, Err(MergeError::Unavailable { .. })));
}

#[tokio::test]
async fn as_many_extents_as_may_be_are_taken_and_more_are_refused() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    let id = task(0, 1).id;
    let most = u64::try_from(REPLACED_EXTENTS_MAX - 1).unwrap();
    let outcome = node
        .replace(id, segment(9), extents(most), extents(1))
        .await;
    assert_eq!(outcome, Ok(SwapOutcome::Swapped));
    let refused = node
        .replace(id, segment(9), extents(most), extents(2))
        .await;
    assert!(matches!(
        refused,
        Err(MergeError::Malformed { .. } | MergeError::Unavailable { .. })
    ));
    assert_eq!(fake.compacting.replaced.lock().len(), 1);
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = CompactionServiceClient::new(endpoint.connect().await.unwrap());
    let no_id = v1::NoteCompactedRequest::default();
    let refused = client.note_compacted(no_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let no_segment = v1::ReplaceExtentsRequest {
        id: Some(v1::MergeId::default()),
        ..v1::ReplaceExtentsRequest::default()
    };
    let refused = client.replace_extents(no_segment).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
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
        fake.compacting.give(task(shard, 4));
        let task = next(&router).await;
        assert_eq!(task.id.shard, ShardId::new(shard));
        let replaced = router.replace(task.id, segment(1), extents(2), extents(1));
        assert_eq!(replaced.await, Ok(SwapOutcome::Swapped));
        assert_eq!(router.hold_compaction(task.id, None).await, Ok(()));
        let noted = router.compacted(task.id, compacted(None), true).await;
        assert_eq!(noted, Ok(()));
    }
    let shards = |fake: &Fake| {
        let noted = fake.compacting.compacted.lock();
        noted
            .iter()
            .map(|(id, _, _)| id.shard.get())
            .collect::<Vec<_>>()
    };
    assert_eq!((shards(a), shards(b)), (vec![0], vec![1, 1]));
    assert_eq!(a.compacting.held.lock().len(), 1);
    assert_eq!(b.compacting.replaced.lock().len(), 2);

    // The third takes the first shard over.
    show(&[3, 2], 2);
    c.compacting.give(task(0, 7));
    let task = next(&router).await;
    assert_eq!(task.id.number, 7);
    let noted = router.compacted(task.id, compacted(None), true).await;
    assert_eq!(noted, Ok(()));
    assert_eq!(c.compacting.compacted.lock().len(), 1);
}
