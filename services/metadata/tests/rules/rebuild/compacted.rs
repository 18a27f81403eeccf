//! Partitions that were compacted by key: what was compacted is not mixed with what it was made of.

use tidelog_format::batch::{DecodeLimit, Retained};

use super::*;
use crate::retention::configure;

/// The first record of a batch stays.
fn first_record(batch: Bytes) -> Bytes {
    let (view, _) = BatchView::split(batch.clone()).expect("a batch");
    let base = u64::try_from(view.header().base_offset).expect("an offset");
    let mut kept = 0;
    let retained = view.retain(Offset::new(base), DecodeLimit::bytes(1 << 20), None, |_| {
        kept += 1;
        kept == 1
    });
    match retained.expect("it can be read") {
        Retained::Some(batch) => batch,
        Retained::All => batch,
        Retained::None => panic!("it has a first record"),
    }
}

async fn is_compacted_up_to(ground: &Ground, store: &MemoryStore, end: u64, next: u64) {
    is_whole(ground, store).await;
    let (_, mut before) = contents(ground, &ground.process, partition(0)).await;
    for (_, batch) in before.range_mut(..end) {
        *batch = first_record(batch.clone());
    }
    before.retain(|base, _| *base < next);
    let (_world, process) = open(store).await;
    let after = contents(ground, &process, partition(0)).await;
    assert_eq!(after, (next, before));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_have_other_bytes_the_compacted_one_that_was_put_later_counts() {
    for config in ["delete", "compact"] {
        let ground = Ground::new(1).await;
        configure(&ground.process, &[("cleanup.policy", config)]).await;
        ground.fill(1..=3).await;
        back_up(&ground, "b").await;
        ground.fill(4..=6).await;
        let (_, before) = contents(&ground, &ground.process, partition(0)).await;
        assert_eq!(before.len(), 6);
        put_part(&ground, 1, partition(0), 0..18, |batch| batch).await;
        put_part(&ground, 2, partition(0), 0..18, first_record).await;
        let (store, _) = try_rebuild(&ground, "b", Gaps::Refuse)
            .await
            .expect("it is no contradiction");
        is_compacted_up_to(&ground, &store, 18, 18).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_backup_has_does_not_come_back_below_what_was_compacted() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    back_up(&ground, "b").await;
    ground.fill(4..=8).await;
    // Tombstones of what is below may be gone from the second one.
    put_part(&ground, 1, partition(0), 0..9, first_record).await;
    put_part(&ground, 2, partition(0), 9..18, first_record).await;
    put_part(&ground, 3, partition(0), 18..24, |batch| batch).await;
    let (store, _) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    is_compacted_up_to(&ground, &store, 18, 24).await;
}

/// Of an extent that lies in the store a part is taken, where what was compacted begins within it.
#[tokio::test(start_paused = true)]
async fn what_lies_in_the_store_is_read_there() {
    let ground = Ground::new(1).await;
    configure(&ground.process, &[("cleanup.policy", "compact")]).await;
    let batches = |first| vec![batch(first, 1, None), batch(first + 1, 2, None)];
    for sequence in 1..=2 {
        let first = (sequence - 1) * 3;
        ground.append_all_in_store(sequence, batches(first)).await;
    }
    back_up(&ground, "b").await;
    ground.append_all_in_store(3, batches(6)).await;
    let (_, mut before) = contents(&ground, &ground.process, partition(0)).await;
    put_part(&ground, 1, partition(0), 4..9, first_record).await;
    let (store, _) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    is_whole(&ground, &store).await;
    for (_, batch) in before.range_mut(4..) {
        *batch = first_record(batch.clone());
    }
    let (_world, process) = open(&store).await;
    let after = contents(&ground, &process, partition(0)).await;
    assert_eq!(after, (9, before));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_no_compaction_has_changed_are_a_contradiction() {
    let ground = Ground::new(1).await;
    back_up(&ground, "b").await;
    ground.fill(1..=1).await;
    put_part(&ground, 1, partition(0), 0..3, |batch| batch).await;
    let other = batch(70, 3, None).to_bytes();
    put_part(&ground, 2, partition(0), 0..3, |_| other.clone()).await;
    let refused = try_rebuild(&ground, "b", Gaps::Refuse).await;
    assert!(
        matches!(refused, Err(RebuildError::Conflict { .. })),
        "{refused:?}"
    );
}
