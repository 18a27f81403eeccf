//! History can be read at a process that does not own the shard, as far as checkpoints have written it.

use std::time::Duration;

use tidelog_metadata_api::{Log as _, LogError, LookupRequest};
use tidelog_types::{Offset, ShardId, TopicPartition};

use super::nodes::{Node, id, world};
use crate::manifests::{plain, segment};

fn request(partition: TopicPartition, offset: u64) -> LookupRequest {
    LookupRequest {
        partition,
        offset: Offset::new(offset),
        bytes_max: 1,
        extents_max: 10,
    }
}

async fn fill(
    node: &Node,
    shard: ShardId,
    partition: TopicPartition,
    sequences: std::ops::Range<u64>,
) {
    for sequence in sequences {
        let commit = segment(sequence).shard(shard);
        let commit = commit.slice(partition, &[plain(1)]).done();
        node.send_until_answered(&commit).await;
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_read_from_rows_whoever_owns_the_shard_and_no_further() {
    let world = world(1, 2);
    let (first, second) = (world.join(1).await, world.join(2).await);
    first.until_shared_by(&[id(1), id(2)]).await;
    second.until_shared_by(&[id(1), id(2)]).await;
    let partitions = first.partition_of_each_shard().await;
    let shard = first.own_shards()[0];
    let partition = partitions[&shard];
    let nothing = second.lookup(request(partition, 0)).await;
    assert_eq!(nothing.expect_err("nothing is written"), LogError::NotOwner);
    fill(&first, shard, partition, 1..21).await;
    // A checkpoint, and some more.
    tokio::time::sleep(Duration::from_secs(11)).await;
    fill(&first, shard, partition, 21..26).await;
    for offset in [0, 7, 19] {
        let here = first
            .lookup(request(partition, offset))
            .await
            .expect("the owner");
        let there = second
            .lookup(request(partition, offset))
            .await
            .expect("in rows");
        assert_eq!(there.extents[0], here.extents[0]);
        assert_eq!(here.bounds.high_watermark, Offset::new(25));
        assert_eq!(there.bounds.high_watermark, Offset::new(20));
    }
    for offset in [20, 24, 25, 99] {
        let error = second.lookup(request(partition, offset)).await;
        assert_eq!(error.expect_err("only the owner knows"), LogError::NotOwner);
    }
    assert_eq!(second.bounds(partition).await, Err(LogError::NotOwner));
    let bounds_only = LookupRequest {
        extents_max: 0,
        ..request(partition, 3)
    };
    let error = second.lookup(bounds_only).await;
    assert_eq!(error.expect_err("only the owner knows"), LogError::NotOwner);
    // Also while nobody owns it.
    first.kill();
    let answer = second.lookup(request(partition, 3)).await.expect("in rows");
    assert_eq!(answer.extents[0].offsets.base, Offset::new(3));
    second.until_shared_by(&[id(2)]).await;
    let answer = second
        .lookup(request(partition, 24))
        .await
        .expect("the owner");
    assert_eq!(answer.bounds.high_watermark, Offset::new(25));
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_before_the_checkpoint_is_not_found_in_rows() {
    let world = world(2, 2);
    let (first, second) = (world.join(1).await, world.join(2).await);
    first.until_shared_by(&[id(1), id(2)]).await;
    let partitions = first.partition_of_each_shard().await;
    let shard = first.own_shards()[0];
    let partition = partitions[&shard];
    fill(&first, shard, partition, 1..11).await;
    let deleted = first.delete_records(partition, Offset::new(4)).await;
    deleted.expect("the owner");
    tokio::time::sleep(Duration::from_secs(11)).await;
    let error = second.lookup(request(partition, 3)).await;
    assert_eq!(error.expect_err("it is below the log"), LogError::NotOwner);
    let answer = second.lookup(request(partition, 4)).await.expect("in rows");
    assert_eq!(answer.bounds.log_start, Offset::new(4));
}
