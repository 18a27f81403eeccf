//! What markers end: once, whatever is sent how often, and all of one call at once.

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    Catalogue as _, Decision, Log as _, LogError, MARKERS_MAX, Notice, TopicSelector,
    TransactionMarker,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{PartitionIndex, ProducerEpoch, ProducerId, TopicNumber, TopicPartition};

use super::{INVALID, Sender, abort, commit, inside, with_epoch};
use crate::manifests::{accepted, at_epoch, duplicate, plain, sent};
use crate::world::{Run, World, partition, settings};

#[tokio::test(start_paused = true)]
async fn a_marker_takes_one_offset_and_a_second_word_of_the_same_end_none() {
    let (world, mut process) = World::opened().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, inside(1, 0, 0, 2), Some(1)).await;
    sender.send(&process, 0, plain(1), None).await;
    for (restart, markers) in [(0, 1), (1, 0), (2, 0)] {
        assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
        // Also one that says the opposite: the first has counted.
        assert_eq!(process.end(abort(partition(0), 1, 1)).await, Ok(()));
        let log = process.log_of(partition(0)).await;
        assert_eq!(log.len(), 3, "restart {restart}");
        assert_eq!(log[2], Run::marker(3, 1, Decision::Commit));
        assert_eq!(process.all_bounds(0).await, (0, 4, 4, 0));
        assert_eq!(process.metric("transactions_committed_total"), markers);
        assert_eq!(process.metric("transactions_aborted_total"), 0);
        process = world.open().await;
    }
}

/// No batch has come: the marker still makes sure that none comes after it.
#[tokio::test(start_paused = true)]
async fn a_marker_for_a_producer_that_has_sent_nothing_keeps_its_transaction_from_beginning() {
    let (world, mut process) = World::opened().await;
    assert_eq!(
        process.end(with_epoch(abort(partition(0), 1, 4), 2)).await,
        Ok(())
    );
    assert_eq!(process.all_bounds(0).await, (0, 1, 1, 0));
    for _ in 0..2 {
        let mut sender = Sender::new(0);
        for (batch, number) in [(inside(1, 2, 0, 1), 4), (inside(1, 2, 0, 1), 3)] {
            assert_eq!(sender.send(&process, 0, batch, Some(number)).await, INVALID);
        }
        process = world.open().await;
    }
    let mut sender = Sender::new(10);
    let next = sender.send(&process, 0, inside(1, 2, 0, 1), Some(5)).await;
    assert_eq!(next, accepted(1));
    assert!(
        process.aborted_in(0, 0, 1).await.is_empty(),
        "it had no records"
    );
}

/// Only a restart of the producer, which its coordinator has seen to, lets an earlier number come late.
#[tokio::test(start_paused = true)]
async fn a_marker_of_an_earlier_transaction_does_not_end_a_later_one() {
    let (_, process) = World::opened().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, inside(1, 0, 0, 1), Some(6)).await;
    assert_eq!(process.end(abort(partition(0), 1, 5)).await, Ok(()));
    assert_eq!(process.all_bounds(0).await, (0, 0, 1, 0));
    assert_eq!(process.end(commit(partition(0), 1, 6)).await, Ok(()));
    assert_eq!(process.all_bounds(0).await, (0, 2, 2, 0));
}

fn order(marker: TransactionMarker) -> TransactionMarker {
    TransactionMarker {
        number: None,
        ..marker
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_what_is_open_and_nothing_else() {
    let (_, process) = World::opened().await;
    let mut sender = Sender::default();
    let none = Err(LogError::NoTransaction(ProducerId::new(1)));
    let asked = order(abort(partition(0), 1, 0));
    assert_eq!(process.end(asked).await, none);
    sender.send(&process, 0, inside(1, 0, 0, 1), Some(3)).await;
    assert_eq!(
        process.end(with_epoch(abort(partition(0), 1, 3), 2)).await,
        Ok(())
    );
    assert_eq!(process.end(with_epoch(asked, 2)).await, none);
    sender.send(&process, 0, inside(1, 2, 0, 1), Some(4)).await;
    let fenced = Err(LogError::ProducerFenced(ProducerEpoch::new(2)));
    assert_eq!(process.end(with_epoch(asked, 1)).await, fenced);
    let old = TransactionMarker {
        coordinator_epoch: 4,
        ..with_epoch(asked, 2)
    };
    assert_eq!(process.end(old).await, Err(LogError::CoordinatorFenced(5)));
    assert_eq!(process.all_bounds(0).await.1, 2);
    assert_eq!(process.end(with_epoch(asked, 2)).await, Ok(()));
    assert_eq!(process.all_bounds(0).await, (0, 4, 4, 4));
    // The coordinator's own word comes too late, and is done.
    assert_eq!(
        process.end(with_epoch(commit(partition(0), 1, 4), 2)).await,
        Ok(())
    );
    assert_eq!(process.all_bounds(0).await, (0, 4, 4, 4));
    let late = sender.send(&process, 0, inside(1, 2, 1, 1), Some(4)).await;
    assert_eq!(late, INVALID);
    let nobody = order(abort(partition(0), -1, 0));
    let none = Err(LogError::NoTransaction(ProducerId::new(-1)));
    assert_eq!(process.end(nobody).await, none);
}

/// A coordinator has decided: it would ask for ever, and the partition would hang.
#[tokio::test(start_paused = true)]
async fn a_marker_with_a_number_is_not_refused_for_its_epochs() {
    let (_, process) = World::opened().await;
    let mut sender = Sender::default();
    let first = sender.send(&process, 0, at_epoch(1, 3, 0, 1), None).await;
    assert_eq!(first, accepted(0));
    let old = TransactionMarker {
        coordinator_epoch: 1,
        ..abort(partition(0), 1, 2)
    };
    assert_eq!(process.end(old).await, Ok(()));
    // The newer epoch stays, and what it has sent.
    assert_eq!(
        sender.send(&process, 0, at_epoch(1, 3, 0, 1), None).await,
        duplicate(0)
    );
    assert_eq!(
        sender.send(&process, 0, at_epoch(1, 3, 1, 1), None).await,
        accepted(2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_there_is_not_is_an_error_of_its_own_marker_only() {
    let (_, process) = World::opened().await;
    let unknown = TopicPartition::new(TopicNumber::new(99), PartitionIndex::new(0));
    let beyond = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(77));
    let markers = [partition(1), unknown, partition(0), beyond].map(|at| abort(at, 1, 1));
    let outcomes = process.end_transactions(markers.to_vec()).await;
    let no = |at| Err(LogError::UnknownPartition(at));
    assert_eq!(outcomes, [Ok(()), no(unknown), Ok(()), no(beyond)]);
    assert_eq!(process.all_bounds(0).await.2, 1);
    assert!(process.end_transactions(Vec::new()).await.is_empty());
}

/// Else its transactions would be open for ever once it is back.
#[tokio::test(start_paused = true)]
async fn a_topic_that_can_be_brought_back_takes_markers() {
    let (_, process) = World::opened().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, inside(1, 0, 0, 1), Some(1)).await;
    let topic = TopicSelector::Number(partition(0).topic);
    process.delete_topic(&topic).await.expect("it is live");
    assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
    process.undelete_topic(&topic).await.expect("it is deleted");
    assert_eq!(process.all_bounds(0).await, (0, 2, 2, 0));
}

/// One group has them all, so that nobody sees one partition with the end of a transaction and another without it.
#[tokio::test(start_paused = true)]
async fn the_markers_of_one_call_show_at_once() {
    let (_, process) = World::opened().await;
    let mut sender = Sender::default();
    for index in 0..3 {
        sender
            .send(&process, index, inside(1, 0, 0, 1), Some(1))
            .await;
    }
    let mut news = process.subscribe();
    let markers: Vec<_> = (0..3).map(|index| commit(partition(index), 1, 1)).collect();
    assert_eq!(
        process.end_transactions(markers).await,
        [Ok(()), Ok(()), Ok(())]
    );
    let Some(Notice::Commit(notice)) = news.next().await else {
        panic!("a group is news");
    };
    assert_eq!(notice.advances.len(), 3);
    for advance in &notice.advances {
        let bounds = advance.bounds;
        assert_eq!(
            (bounds.last_stable.get(), bounds.high_watermark.get()),
            (2, 2)
        );
        let run = advance.extents[0].clone();
        assert_eq!((run.offsets.base.get(), run.byte_count()), (1, 0));
    }
}

/// More than show at once are ended all the same, in several groups.
#[tokio::test(start_paused = true)]
async fn very_many_markers_are_ended_in_several_groups() {
    let (world, process) = World::opened().await;
    let markers: Vec<_> = (0..=2 * MARKERS_MAX)
        .map(|id| abort(partition(0), i64::try_from(id).expect("small"), 1))
        .collect();
    let outcomes = process.end_transactions(markers).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let end = 2 * MARKERS_MAX as u64 + 1;
    assert_eq!(process.all_bounds(0).await, (0, end, end, 0));
    assert_eq!(world.store.rows(KeyKind::Tail).len(), 3);
    let process = world.open().await;
    assert_eq!(process.all_bounds(0).await, (0, end, end, 0));
    assert_eq!(
        process.log_of(partition(0)).await.len(),
        2 * MARKERS_MAX + 1
    );
}

/// C3: whether it has landed or not, a marker whose outcome is not known is there once.
#[tokio::test(start_paused = true)]
async fn a_marker_whose_outcome_is_not_known_is_appended_once() {
    for landing in [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
        Landing::Later { after_commits: 1 },
    ] {
        let world = World::with(settings(u32::MAX));
        let process = world.open().await;
        let mut sender = Sender::default();
        sender.send(&process, 0, inside(1, 0, 0, 1), Some(1)).await;
        sender.send(&process, 0, inside(2, 0, 0, 1), Some(1)).await;
        world
            .store
            .fail(KeyKind::Tail, CommitFault::Unknown(landing));
        assert_eq!(
            process.end(abort(partition(0), 1, 1)).await,
            Ok(()),
            "{landing:?}"
        );
        assert_eq!(process.all_bounds(0).await, (0, 1, 3, 3), "{landing:?}");
        let process = world.open().await;
        assert_eq!(
            process.end(abort(partition(0), 1, 1)).await,
            Ok(()),
            "{landing:?}"
        );
        assert_eq!(process.all_bounds(0).await, (0, 1, 3, 3), "{landing:?}");
        assert_eq!(world.store.rows(KeyKind::Aborted).len(), 1, "{landing:?}");
        let next = sender.send(&process, 0, sent(3, 0, 1), None).await;
        assert_eq!(next, accepted(3), "{landing:?}");
    }
}

/// C1: an owner that was replaced ends nothing, and does not say that nothing is open.
#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_ends_nothing() {
    let (world, process) = World::opened().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, inside(1, 0, 0, 1), Some(1)).await;
    let new = world.open_on(&world.store.sibling()).await;
    let lost = Err(LogError::NotOwner);
    assert_eq!(process.end(commit(partition(0), 1, 1)).await, lost);
    assert_eq!(new.all_bounds(0).await, (0, 0, 1, 0));

    let (world, process) = World::opened().await;
    process.latest(partition(0)).await.expect("the owner");
    let new = world.open_on(&world.store.sibling()).await;
    let mut sender = Sender::default();
    sender.send(&new, 0, inside(1, 0, 0, 1), Some(1)).await;
    assert_eq!(process.end(order(abort(partition(0), 1, 0))).await, lost);
    assert_eq!(new.end(order(abort(partition(0), 1, 0))).await, Ok(()));
}

/// C9: what it says was so after the question came. It writes to be sure of that, and another one takes over meanwhile.
#[tokio::test(start_paused = true)]
async fn an_owner_that_is_replaced_while_it_makes_sure_says_nothing() {
    for asks_for_producers in [false, true] {
        let (world, old) = World::opened().await;
        let hold = world.store.hold(KeyKind::Lease);
        let asked = async {
            if asks_for_producers {
                old.producers(partition(0)).await.map(drop)
            } else {
                old.end(order(abort(partition(0), 1, 0))).await
            }
        };
        let takeover = async {
            hold.reached().await;
            let new = world.open_on(&world.store.sibling()).await;
            let mut sender = Sender::default();
            sender.send(&new, 0, inside(1, 0, 0, 1), Some(1)).await;
            drop(hold);
        };
        let (answer, ()) = tokio::join!(asked, takeover);
        assert_eq!(answer, Err(LogError::NotOwner), "{asks_for_producers}");
    }
}
