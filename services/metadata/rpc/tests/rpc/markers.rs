//! Markers find the owners of their shards, and what a partition knows of transactions crosses the wire.

use std::sync::Arc;

use tidelog_metadata_api::*;
use tidelog_store::memory::MemoryStore;
use tidelog_types::*;

use crate::fake::{Fake, partition};
use crate::world::*;

fn marker(index: u32, number: u64) -> TransactionMarker {
    TransactionMarker {
        partition: partition(index),
        producer: ProducerIdentity::new(ProducerId::new(7), ProducerEpoch::new(2)),
        number: Some(TransactionNumber(number)),
        coordinator_epoch: 3,
        decision: Decision::Commit,
    }
}

fn numbers(calls: &[Vec<TransactionMarker>]) -> Vec<Vec<u64>> {
    let number = |marker: &TransactionMarker| marker.number.map_or(0, |number| number.0);
    let numbers = |call: &Vec<TransactionMarker>| call.iter().map(number).collect();
    calls.iter().map(numbers).collect()
}

/// Two processes, the first with shards 0 and 2, the second with shard 1.
async fn two() -> (Arc<Fake>, Arc<Fake>, [Served; 2]) {
    let (a, b) = (Fake::owning(&[0, 2]), Fake::owning(&[1]));
    let servers = [active(&a).await, active(&b).await];
    let seen = view(&[&servers[0].address, &servers[1].address], &[1, 2, 1], 1);
    a.view.send_replace(Arc::clone(&seen));
    b.view.send_replace(seen);
    (a, b, servers)
}

#[tokio::test]
async fn markers_go_to_the_owners_of_their_shards_and_outcomes_keep_their_places() {
    let (a, b, servers) = two().await;
    let router = router(&[&servers[0]], None).await;
    let markers = [(1, 10), (0, 11), (9, 12), (2, 13), (1, 14), (0, 15)];
    let markers = markers.map(|(index, number)| marker(index, number));
    let outcomes = router.end_transactions(markers.to_vec()).await;
    let unknown = Err(LogError::UnknownPartition(partition(9)));
    assert_eq!(outcomes, [Ok(()), Ok(()), unknown, Ok(()), Ok(()), Ok(())]);
    assert_eq!(numbers(&b.said.lock().markers), [[10, 14]]);
    let mut told = numbers(&a.said.lock().markers);
    told.sort();
    assert_eq!(
        told,
        [vec![11, 15], vec![13]],
        "those of one shard in one call"
    );
}

/// What the one of before says does not count: the next owner is told all of it.
#[tokio::test]
async fn a_shard_that_moves_is_told_its_markers_again() {
    let (a, b, servers) = two().await;
    let router = router(&[&servers[0]], None).await;
    a.said.lock().groups.remove(&ShardId::new(0));
    b.said.lock().groups.insert(ShardId::new(0), 1);
    let ending = router.end_transactions(vec![marker(0, 1), marker(0, 2)]);
    let (outcomes, ()) = tokio::join!(ending, async {
        let seen = view(&[&servers[0].address, &servers[1].address], &[2, 2, 1], 2);
        a.view.send_replace(Arc::clone(&seen));
        b.view.send_replace(seen);
    });
    assert_eq!(outcomes, [Ok(()), Ok(())]);
    assert_eq!(numbers(&b.said.lock().markers).last(), Some(&vec![1, 2]));
}

#[tokio::test]
async fn a_shard_without_an_owner_does_not_keep_the_markers_of_others_from_being_told() {
    let (a, b, servers) = two().await;
    let router = router(&[&servers[0]], None).await;
    let seen = view(&[&servers[0].address, &servers[1].address], &[0, 2, 1], 2);
    a.view.send_replace(Arc::clone(&seen));
    b.view.send_replace(seen);
    let mut view = router.watch();
    let is_free = |view: &Arc<ClusterView>| view.owner(ShardId::new(0)).is_none();
    view.wait_for(is_free).await.unwrap();
    let outcomes = router.end_transactions(vec![marker(0, 1), marker(1, 2)]);
    let outcomes = outcomes.await;
    assert!(matches!(outcomes[0], Err(LogError::Unavailable { .. })));
    assert_eq!(outcomes[1], Ok(()));
}

/// Else its transactions would be open for ever once it is back.
#[tokio::test]
async fn a_topic_that_can_be_brought_back_is_told_its_markers() {
    let (a, _b, servers) = two().await;
    let router = router(&[&servers[0]], None).await;
    a.said.lock().is_deleted = true;
    let outcomes = router.end_transactions(vec![marker(0, 1)]).await;
    assert_eq!(outcomes, [Ok(())]);
    let latest = router.offset(partition(0), OffsetQuery::Latest).await;
    assert_eq!(latest, Err(LogError::UnknownPartition(partition(0))));
}

/// A batch of transaction 1 of producer 7, alone in a segment.
fn inside(sequence: u64, topic: &TopicInfo) -> ShardCommit {
    let mut commit = commit(7, sequence, topic.partitions[0].shard.get(), 0);
    let slice = &mut commit.manifest.slices[0];
    slice.partition.topic = topic.number;
    let batch = &mut slice.batches[0];
    (batch.producer_id, batch.producer_epoch) = (ProducerId::new(7), ProducerEpoch::new(2));
    (batch.base_sequence, batch.transactional) = (0, true);
    let condition = BatchCondition {
        transaction: Some(TransactionNumber(1)),
        ..BatchCondition::default()
    };
    let at = BatchPosition { slice: 0, batch: 0 };
    commit.conditions = vec![(at, condition)];
    commit
}

#[tokio::test]
async fn a_remote_process_says_what_its_partitions_know_of_transactions() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let topic = node.create_topic(new_topic("other", 1)).await.expect("new");
    let writer = node.register_writer().await.expect("the store answers");
    let mut batch = inside(1, &topic);
    batch.manifest.segment.incarnation = writer;
    let answer = committed(&node, batch).await.expect("it is the owner");
    assert!(format!("{:?}", answer.outcomes).contains("Accepted"));
    let at = TopicPartition::new(topic.number, PartitionIndex::new(0));
    let bounds = node.bounds(at).await.expect("it is there");
    let producers = node.producers(at).await.expect("it is the owner");
    assert_eq!(
        (producers.len(), producers[0].open_from),
        (1, Some(Offset::ZERO))
    );
    let end = TransactionMarker {
        partition: at,
        number: None,
        decision: Decision::Abort,
        ..marker(0, 1)
    };
    let nothing = Err(LogError::NoTransaction(ProducerId::new(7)));
    for expected in [Ok(()), nothing] {
        assert_eq!(node.end_transactions(vec![end]).await, [expected]);
    }
    let numbered = TransactionMarker {
        number: Some(TransactionNumber(1)),
        ..end
    };
    assert_eq!(
        node.end_transactions(vec![numbered; 3]).await,
        [Ok(()), Ok(()), Ok(())]
    );
    let last = bounds.high_watermark;
    let offsets = OffsetRange {
        base: Offset::ZERO,
        next: last,
    };
    let aborted = AbortedTransaction {
        producer: ProducerId::new(7),
        first: Offset::ZERO,
        last,
    };
    assert_eq!(node.aborted(at, offsets).await, Ok(vec![aborted]));
    let stable = node.offset(at, OffsetQuery::LastStable).await;
    assert_eq!(
        stable,
        Ok(OffsetAnswer::Offset(Offset::new(last.get() + 1)))
    );
}
