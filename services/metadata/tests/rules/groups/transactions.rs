//! Offsets that are part of a transaction: nobody sees them before its end, and its end once and for ever.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, Decision, EndGroupTransaction, FetchOffsets, Groups,
    GroupsError, OpenTransaction, ProducerIdentity, TransactionNumber,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{ProducerEpoch, ProducerId, TopicPartition};

use super::{alone, commit, fetch, known, member, name, newcomer, offset, sync};
use crate::world::{Process, World, partition};

const NOBODY: CommittingMember = CommittingMember::nobody();

/// A transaction of a producer in its epoch.
pub(crate) fn transaction(producer: i64, epoch: i16, number: u64) -> OpenTransaction {
    OpenTransaction {
        producer: ProducerIdentity::new(ProducerId::new(producer), ProducerEpoch::new(epoch)),
        number: TransactionNumber(number),
    }
}

/// Commits an offset in a transaction.
pub(crate) async fn commit_in(
    groups: &impl Groups,
    (group, member): (&str, CommittingMember),
    transaction: OpenTransaction,
    at: TopicPartition,
    value: u64,
) -> Result<(), GroupsError> {
    let request = CommitOffsets {
        group: name(group),
        member,
        offsets: vec![(at, offset(value))],
        transaction: Some(transaction),
    };
    let outcomes = groups.commit_offsets(request).await?;
    outcomes.into_iter().next().expect("one for one")
}

pub(crate) async fn end(
    groups: &impl Groups,
    group: &str,
    transaction: OpenTransaction,
    decision: Decision,
) -> Result<(), GroupsError> {
    let end = EndGroupTransaction {
        group: name(group),
        producer: transaction.producer,
        number: transaction.number,
        decision,
    };
    let mut outcomes = groups.end_group_transactions(vec![end]).await;
    outcomes.pop().expect("one for one")
}

/// The offset of a partition, if no open transaction may change it.
pub(crate) async fn stable(
    groups: &impl Groups,
    group: &str,
    at: TopicPartition,
) -> Result<Option<u64>, GroupsError> {
    let request = FetchOffsets {
        group: name(group),
        member: None,
        partitions: Some(vec![at]),
        only_stable: true,
    };
    let mut answers = groups.fetch_offsets(vec![request]).await;
    let mut answer = answers.pop().expect("one for one")?;
    let (_, found) = answer.pop().expect("one for one");
    Ok(found?.map(|found| found.offset.offset.get()))
}

/// Every partition that has an offset, and whether it is one that may change.
async fn all_stable(process: &Process, group: &str) -> Vec<(u32, bool)> {
    let request = FetchOffsets {
        group: name(group),
        member: None,
        partitions: None,
        only_stable: true,
    };
    let mut answers = process.fetch_offsets(vec![request]).await;
    let found = answers.pop().expect("one for one").expect("the owner");
    let found = found.into_iter();
    found
        .map(|(at, found)| (at.partition.get(), found.is_ok()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_transaction_are_the_groups_when_it_commits_and_go_when_it_aborts() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let (first, second) = (transaction(7, 0, 1), transaction(7, 0, 2));
    for index in [0, 2] {
        let done = commit(groups, "g", NOBODY, partition(index), 1).await;
        assert_eq!(done, Ok(()));
    }
    for index in [0, 1] {
        let done = commit_in(groups, ("g", NOBODY), first, partition(index), 5);
        assert_eq!(done.await, Ok(()));
    }
    assert_eq!(fetch(groups, "g", partition(0)).await, Ok(Some(1)));
    assert_eq!(fetch(groups, "g", partition(1)).await, Ok(None));
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(stable(groups, "g", partition(0)).await, unstable);
    assert_eq!(stable(groups, "g", partition(1)).await, unstable);
    assert_eq!(stable(groups, "g", partition(2)).await, Ok(Some(1)));
    assert_eq!(all_stable(&process, "g").await, [(0, false), (2, true)]);
    world.clock.jump_wall(5);
    assert_eq!(end(groups, "g", first, Decision::Commit).await, Ok(()));
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(Some(5)));
    assert_eq!(stable(groups, "g", partition(1)).await, Ok(Some(5)));
    assert_eq!(world.store.rows(KeyKind::GroupPending), []);
    // What a commit says of when is when it is seen.
    let request = FetchOffsets {
        group: name("g"),
        member: None,
        partitions: Some(vec![partition(0)]),
        only_stable: false,
    };
    let found = groups.fetch_offsets(vec![request]).await.remove(0);
    let found = found.expect("the owner").remove(0).1;
    let found = found.expect("it is stable").expect("it is there");
    assert_eq!(found.offset, offset(5));
    assert_eq!(found.committed_at.as_millis(), 1_000_005);
    let done = commit_in(groups, ("g", NOBODY), second, partition(0), 9);
    assert_eq!(done.await, Ok(()));
    assert_eq!(stable(groups, "g", partition(0)).await, unstable);
    assert_eq!(end(groups, "g", second, Decision::Abort).await, Ok(()));
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(Some(5)));
    assert_eq!(world.store.rows(KeyKind::GroupPending), []);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_heard_twice_and_does_nothing_the_second_time() {
    let (_world, process) = World::opened().await;
    let groups = &process.service;
    let at = partition(0);
    let first = transaction(7, 0, 1);
    let done = commit_in(groups, ("g", NOBODY), first, at, 5).await;
    assert_eq!(done, Ok(()));
    assert_eq!(end(groups, "g", first, Decision::Commit).await, Ok(()));
    assert_eq!(commit(groups, "g", NOBODY, at, 6).await, Ok(()));
    let done = commit_in(groups, ("g", NOBODY), transaction(7, 0, 2), at, 7);
    assert_eq!(done.await, Ok(()));
    // The next transaction is open, and stays so.
    assert_eq!(end(groups, "g", first, Decision::Commit).await, Ok(()));
    assert_eq!(fetch(groups, "g", at).await, Ok(Some(6)));
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(stable(groups, "g", at).await, unstable);
    // What has ended since is not forgotten.
    let second = transaction(7, 0, 2);
    assert_eq!(end(groups, "g", second, Decision::Abort).await, Ok(()));
    assert_eq!(end(groups, "g", first, Decision::Commit).await, Ok(()));
    let late = commit_in(groups, ("g", NOBODY), second, at, 8).await;
    assert_eq!(late, Err(GroupsError::TransactionEnded));
}

/// They would wait for an end that nobody tells of any more.
#[tokio::test(start_paused = true)]
async fn offsets_that_come_after_the_end_or_from_a_fenced_producer_are_refused() {
    let (world, first) = World::opened().await;
    let at = partition(0);
    let fenced = Err(GroupsError::FencedProducer);
    let ended = Err(GroupsError::TransactionEnded);
    let open = transaction(7, 3, 4);
    let done = commit_in(&first.service, ("g", NOBODY), open, at, 5).await;
    assert_eq!(done, Ok(()));
    for (late, expected) in [
        (transaction(7, 2, 4), &fenced),
        (transaction(7, 3, 3), &ended),
    ] {
        let refused = commit_in(&first.service, ("g", NOBODY), late, at, 6).await;
        assert_eq!(refused, *expected, "{late:?}");
    }
    // Who ends it may have been given a new epoch for that.
    let bumped = transaction(7, 4, 4);
    let done = end(&first.service, "g", bumped, Decision::Commit).await;
    assert_eq!(done, Ok(()));
    let next = world.open_on(&world.store.sibling()).await;
    let groups = &next.service;
    for (late, expected) in [
        (transaction(7, 3, 4), &fenced),
        (transaction(7, 3, 5), &fenced),
        (transaction(7, 4, 4), &ended),
        (transaction(7, 4, 3), &ended),
    ] {
        let refused = commit_in(groups, ("g", NOBODY), late, at, 6).await;
        assert_eq!(refused, *expected, "{late:?}");
    }
    assert_eq!(stable(groups, "g", at).await, Ok(Some(5)));
    let done = commit_in(groups, ("g", NOBODY), transaction(7, 4, 5), at, 6).await;
    assert_eq!(done, Ok(()));
    let other = commit_in(groups, ("g", NOBODY), transaction(8, 0, 1), at, 6).await;
    assert_eq!(other, Ok(()));
}

/// The group may have forgotten that it has heard the first one.
#[tokio::test(start_paused = true)]
async fn an_end_that_comes_late_does_not_end_the_next_transaction() {
    let (_world, process) = World::opened().await;
    let groups = &process.service;
    let at = partition(0);
    let (first, second) = (transaction(7, 0, 1), transaction(7, 0, 2));
    let done = commit_in(groups, ("g", NOBODY), second, at, 5).await;
    assert_eq!(done, Ok(()));
    assert_eq!(end(groups, "g", first, Decision::Abort).await, Ok(()));
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(stable(groups, "g", at).await, unstable);
    assert_eq!(end(groups, "g", second, Decision::Commit).await, Ok(()));
    assert_eq!(stable(groups, "g", at).await, Ok(Some(5)));
}

#[tokio::test(start_paused = true)]
async fn who_was_fenced_stays_so_whatever_ends_later() {
    let (_world, process) = World::opened().await;
    let groups = &process.service;
    for ended in [transaction(7, 4, 1), transaction(7, 3, 2)] {
        assert_eq!(end(groups, "g", ended, Decision::Abort).await, Ok(()));
    }
    let late = transaction(7, 3, 3);
    let late = commit_in(groups, ("g", NOBODY), late, partition(0), 5).await;
    assert_eq!(late, Err(GroupsError::FencedProducer));
}

#[tokio::test(start_paused = true)]
async fn offsets_that_wait_outlive_their_owner() {
    let (world, old) = World::opened().await;
    let open = transaction(7, 0, 1);
    for index in 0..2 {
        let done = commit_in(&old.service, ("g", NOBODY), open, partition(index), 5);
        assert_eq!(done.await, Ok(()));
    }
    let new = world.open_on(&world.store.sibling()).await;
    let groups = &new.service;
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(stable(groups, "g", partition(0)).await, unstable);
    let done = commit_in(groups, ("g", NOBODY), open, partition(1), 6).await;
    assert_eq!(done, Ok(()));
    let replaced = end(&old.service, "g", open, Decision::Abort).await;
    assert_eq!(replaced, Err(GroupsError::Unknown));
    assert_eq!(end(groups, "g", open, Decision::Commit).await, Ok(()));
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(Some(5)));
    assert_eq!(stable(groups, "g", partition(1)).await, Ok(Some(6)));
    let replaced = commit_in(&old.service, ("g", NOBODY), open, partition(0), 7).await;
    assert_eq!(replaced, Err(GroupsError::NotCoordinator));
    assert_eq!(world.store.rows(KeyKind::GroupPending), []);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_outcome_is_unknown_is_settled_before_it_is_answered() {
    let landings = [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
        Landing::Later { after_commits: 1 },
    ];
    for landing in landings {
        for kind in [KeyKind::GroupPending, KeyKind::GroupProducer] {
            let (world, process) = World::opened().await;
            let groups = &process.service;
            let at = partition(0);
            let (first, second) = (transaction(7, 0, 1), transaction(7, 0, 2));
            world.store.fail(kind, CommitFault::Unknown(landing));
            let done = commit_in(groups, ("g", NOBODY), first, at, 5).await;
            assert_eq!(done, Ok(()), "{landing:?}");
            let done = end(groups, "g", first, Decision::Commit).await;
            assert_eq!(done, Ok(()), "{landing:?}");
            let done = commit_in(groups, ("g", NOBODY), second, at, 6).await;
            assert_eq!(done, Ok(()), "{landing:?}");
            world.store.memory.land_delayed();
            assert_eq!(end(groups, "g", second, Decision::Abort).await, Ok(()));
            assert_eq!(stable(groups, "g", at).await, Ok(Some(5)), "{landing:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_neither_answered_nor_seen_before_it_is_durable() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let at = partition(0);
    let open = transaction(7, 0, 1);
    let done = commit_in(groups, ("g", NOBODY), open, at, 5).await;
    assert_eq!(done, Ok(()));
    let hold = world.store.hold(KeyKind::GroupProducer);
    let mut ended = Box::pin(end(groups, "g", open, Decision::Commit));
    tokio::select! {
        biased;
        done = &mut ended => panic!("answered too early: {done:?}"),
        () = hold.reached() => {}
    }
    // Who hears it a second time hears no more than that it is stored.
    let mut again = Box::pin(end(groups, "g", open, Decision::Commit));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut again).is_pending());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut again).is_pending());
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert_eq!(ended.await, Err(GroupsError::Unknown));
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(stable(&new.service, "g", at).await, unstable);
    let done = end(&new.service, "g", open, Decision::Commit).await;
    assert_eq!(done, Ok(()));
    assert_eq!(stable(&new.service, "g", at).await, Ok(Some(5)));
}

/// The rows of a large one are written in more than one transaction of the store.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_stored_in_part_is_told_again_and_done() {
    const PARTITIONS: u32 = 4_000;
    let (world, old) = World::opened().await;
    let open = transaction(7, 0, 1);
    let request = CommitOffsets {
        group: name("g"),
        member: NOBODY,
        offsets: (0..PARTITIONS)
            .map(|index| (partition(index), offset(5)))
            .collect(),
        transaction: Some(open),
    };
    let outcomes = old.commit_offsets(request).await.expect("the owner");
    assert!(outcomes.iter().all(Result::is_ok));
    let hold = world.store.hold(KeyKind::GroupProducer);
    let mut ended = Box::pin(end(&old.service, "g", open, Decision::Commit));
    tokio::select! {
        biased;
        done = &mut ended => panic!("answered too early: {done:?}"),
        () = hold.reached() => {}
    }
    let left = world.store.rows(KeyKind::GroupPending).len();
    assert!((1..PARTITIONS as usize).contains(&left), "{left}");
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert!(ended.await.is_err());
    let groups = &new.service;
    assert_eq!(end(groups, "g", open, Decision::Commit).await, Ok(()));
    assert_eq!(world.store.rows(KeyKind::GroupPending), []);
    let all = all_stable(&new, "g").await;
    assert_eq!(all.len(), PARTITIONS as usize);
    assert!(all.iter().all(|(_, is_stable)| *is_stable));
}

/// The last that was said of a partition holds, as if each had been written into a log when it came.
#[tokio::test(start_paused = true)]
async fn an_end_does_not_undo_what_came_later() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let (one, other) = (transaction(7, 0, 1), transaction(8, 0, 1));
    let put = |of, at, value| commit_in(groups, ("g", NOBODY), of, at, value);
    assert_eq!(put(one, partition(0), 1).await, Ok(()));
    assert_eq!(commit(groups, "g", NOBODY, partition(0), 2).await, Ok(()));
    assert_eq!(put(one, partition(1), 1).await, Ok(()));
    assert_eq!(put(other, partition(1), 2).await, Ok(()));
    // Also under another owner, who knows the order from what is stored.
    let next = world.open_on(&world.store.sibling()).await;
    let groups = &next.service;
    let put = |of, at, value| commit_in(groups, ("g", NOBODY), of, at, value);
    assert_eq!(put(other, partition(2), 1).await, Ok(()));
    assert_eq!(put(one, partition(2), 2).await, Ok(()));
    assert_eq!(end(groups, "g", other, Decision::Commit).await, Ok(()));
    assert_eq!(fetch(groups, "g", partition(1)).await, Ok(Some(2)));
    assert_eq!(fetch(groups, "g", partition(2)).await, Ok(Some(1)));
    assert_eq!(end(groups, "g", one, Decision::Commit).await, Ok(()));
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(Some(2)));
    assert_eq!(stable(groups, "g", partition(1)).await, Ok(Some(2)));
    assert_eq!(stable(groups, "g", partition(2)).await, Ok(Some(2)));
    assert_eq!(world.store.rows(KeyKind::GroupPending), []);
}

/// A producer may commit for a group whose members it does not know; what it says of one must be so.
#[tokio::test(start_paused = true)]
async fn offsets_of_a_transaction_are_those_of_the_generation() {
    let (_world, process) = World::opened().await;
    let groups = &process.service;
    let at = partition(0);
    let open = transaction(7, 0, 1);
    let first = alone(groups, "g").await;
    let outside = commit(groups, "g", NOBODY, at, 1).await;
    assert_eq!(outside, Err(GroupsError::UnknownMember));
    for who in [NOBODY, member(&first)] {
        let done = commit_in(groups, ("g", who), open, at, 2).await;
        assert_eq!(done, Ok(()));
    }
    let before = CommittingMember {
        epoch: first.generation - 1,
        ..member(&first)
    };
    let refused = commit_in(groups, ("g", before), open, at, 3).await;
    assert_eq!(refused, Err(GroupsError::IllegalGeneration));
    let missing = commit_in(groups, ("none", member(&first)), open, at, 3).await;
    assert_eq!(missing, Err(GroupsError::GroupNotFound));
    // Between two generations, too.
    let again = groups.join(known("g", &first.member_id));
    let (other, again) = tokio::join!(groups.join(newcomer("g")), again);
    let (other, again) = (other.expect("it joins"), again.expect("it joins"));
    let between = commit(groups, "g", member(&other), at, 4).await;
    assert_eq!(between, Err(GroupsError::RebalanceInProgress));
    let done = commit_in(groups, ("g", member(&other)), open, at, 4).await;
    assert_eq!(done, Ok(()));
    sync(groups, "g", &again).await.expect("it leads");
    assert_eq!(end(groups, "g", open, Decision::Commit).await, Ok(()));
    assert_eq!(stable(groups, "g", at).await, Ok(Some(4)));
}
