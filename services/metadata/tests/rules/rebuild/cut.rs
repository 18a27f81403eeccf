//! Merged extents that begin within what the backup has, and what retention would take of it.

use tidelog_metadata::keyspace::{Keyspace, PartitionRow};
use tidelog_store::RowSource as _;
use tidelog_store::{KeyRange, ScanOptions};

use super::*;
use crate::retention::configure;

#[tokio::test(start_paused = true)]
async fn a_merged_extent_that_begins_within_an_extent_of_the_backup_is_no_gap() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    back_up(&ground, "b").await;
    ground.fill(4..=6).await;
    let (end, before) = contents(&ground, &ground.process, partition(1)).await;
    // Of what was before nothing is left but the backup's.
    put_part(&ground, 1, partition(1), 4..12, |batch| batch).await;
    put_part(&ground, 2, partition(1), 12..18, |batch| batch).await;
    let (store, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("nothing is missing");
    assert_eq!(rebuilt.partitions.len(), 1);
    is_whole(&ground, &store).await;
    let (_world, process) = open(&store).await;
    assert_eq!(
        contents(&ground, &process, partition(1)).await,
        (end, before)
    );
}

#[tokio::test(start_paused = true)]
async fn what_retention_would_take_is_left_to_the_servers() {
    let ground = Ground::new(u32::MAX).await;
    configure(&ground.process, &[("retention.ms", "1200000")]).await;
    ground.fill(1..=3).await;
    back_up(&ground, "b").await;
    ground.fill(4..=6).await;
    ground.merge(1).await;
    ground.world.clock.jump_wall(36_000_000);
    let (store, _) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("nothing is missing");
    let key = Keyspace::default().partition(partition(0));
    let range = KeyRange {
        end: Some(KeyRange::successor(&key)),
        start: key,
    };
    let page = store.page(range, ScanOptions::default()).await;
    let rows = page.expect("memory").rows;
    let row = PartitionRow::decode(rows[0].1.clone()).expect("a good row");
    assert_eq!((row.log_start.get(), row.next.get()), (0, 18));
}
