//! What was written and not merged, where it is to be appended.

use tidelog_format::batch::ProducerStamp;
use tidelog_types::{ProducerEpoch, ProducerId};

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_not_merged_comes_behind_the_log_and_once() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    back_up(&ground, "b").await;
    ground.fill(4..=6).await;
    ground.merge(1).await;
    ground.fill(7..=9).await;
    let (store, rebuilt) = append_newer(&ground).await;
    // Six segments lie there, and half of them were merged.
    assert_eq!(rebuilt.unmerged.segments.len(), 6);
    assert_eq!(rebuilt.appended.records, 2 * 9);
    assert_eq!(rebuilt.appended.known, 2 * 9);
    is_whole(&ground, &store).await;
    let (_world, process) = open(&store).await;
    for index in 0..2 {
        let before = contents(&ground, &ground.process, partition(index)).await;
        let after = contents(&ground, &process, partition(index)).await;
        assert_eq!(after, before, "{index}");
    }
    // Once more comes to the same.
    let (again, _) = append_newer(&ground).await;
    let (_world, process) = open(&again).await;
    assert_eq!(process.high_watermark(partition(0)).await, 27);
}

#[tokio::test(start_paused = true)]
async fn what_producers_and_transactions_have_sent_is_told_apart() {
    let ground = Ground::new(1).await;
    let stamp = |base_sequence, transactional| ProducerStamp {
        id: ProducerId::new(5),
        epoch: ProducerEpoch::new(0),
        base_sequence,
        transactional,
    };
    back_up(&ground, "b").await;
    let first = batch(0, 2, Some(stamp(0, false)));
    ground.append(1, &[(0, first)]).await;
    ground.append(2, &[(1, batch(0, 1, None))]).await;
    ground.merge(1).await;
    let second = batch(2, 2, Some(stamp(2, false)));
    ground.append(3, &[(0, second)]).await;
    let other = ProducerStamp {
        id: ProducerId::new(6),
        ..stamp(0, true)
    };
    let open_one = [(0, batch(4, 3, Some(other)), Some(1))];
    let commit = ground.put_numbered(4, &open_one).await;
    ground.process.send_until_answered(&commit).await;
    let (store, rebuilt) = append_newer(&ground).await;
    let appended = rebuilt.appended;
    assert_eq!((appended.records, appended.known), (2, 3));
    assert_eq!(appended.transactional, 3);
    is_whole(&ground, &store).await;
    let (_world, process) = open(&store).await;
    assert_eq!(process.high_watermark(partition(0)).await, 4);
    // Its producer goes on where it was, and what it sends again is known.
    let writer = process.register_writer().await.expect("durable");
    for (sequence, base, expected) in [(1, 2, 4), (2, 4, 6)] {
        let batch = batch(0, 2, Some(stamp(base, false)));
        let mut commit = ground.put_written(90 + sequence, &[(0, batch)]).await;
        commit.manifest.segment =
            tidelog_types::SegmentName::new(writer, SegmentSequence::new(sequence));
        process.send(commit).await.expect("it is accepted");
        assert_eq!(process.high_watermark(partition(0)).await, expected);
    }
}
