//! C2 and C3: whatever a commit comes to, it is settled before the next offset is given out: offsets
//! stay dense, no batch is lost or doubled, and each manifest has one answer for ever.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{CommitAnswer, Log as _, Notice, NoticeStream, ShardCommit};
use tidelog_store::StoreError;
use tidelog_store::memory::{CommitFault, FaultPlan, Landing};

use crate::manifests::{accepted, one, only, plain, segment, sent};
use crate::world::{Process, Run, World, partition, settings};

const FAULTS: [CommitFault; 8] = [
    CommitFault::Conflict,
    CommitFault::TooOld,
    CommitFault::Unavailable,
    CommitFault::Unknown(Landing::Now),
    CommitFault::Unknown(Landing::Never),
    CommitFault::Unknown(Landing::Later { after_commits: 0 }),
    CommitFault::Unknown(Landing::Later { after_commits: 1 }),
    CommitFault::Unknown(Landing::Later { after_commits: 6 }),
];

/// Rounds of a stream; each sends two manifests of two partitions at once.
const ROUNDS: u64 = 4;
/// More commits than a stream makes without a fault: groups and checkpoints.
const COMMITS: u64 = 10;

fn round(number: u64) -> Vec<ShardCommit> {
    let sequence = i32::try_from(number * 2).expect("few rounds");
    let first = segment(number * 2 + 1)
        .slice(
            partition(0),
            &[sent(1, sequence, 1), sent(1, sequence + 1, 1)],
        )
        .slice(partition(1), &[plain(3)]);
    let second = segment(number * 2 + 2).slice(partition(1), &[plain(2), plain(2)]);
    vec![first.done(), second.done()]
}

/// Sends the stream; every commit is answered in the end, since every fault passes.
async fn stream(process: &Process) -> Vec<(ShardCommit, CommitAnswer)> {
    let mut answered = Vec::new();
    for number in 0..ROUNDS {
        let commits = round(number);
        let answers = process.commit(commits.clone()).await;
        for (commit, answer) in commits.into_iter().zip(answers) {
            answered.push((commit, answer.expect("the fault passes")));
        }
    }
    answered
}

/// What the log must be, whatever happened on the way.
async fn check(process: &Process, answered: &[(ShardCommit, CommitAnswer)], context: &str) {
    for (number, pair) in (0_u64..).zip(answered.chunks(2)) {
        let both = [
            accepted(number * 2),
            accepted(number * 2 + 1),
            accepted(number * 7),
        ];
        assert_eq!(pair[0].1.outcomes, both, "{context}");
        let second = [accepted(number * 7 + 3), accepted(number * 7 + 5)];
        assert_eq!(pair[1].1.outcomes, second, "{context}");
    }
    let ends = |log: &[Run]| log.last().map(|run| run.next);
    let (zero, one) = (
        process.log_of(partition(0)).await,
        process.log_of(partition(1)).await,
    );
    assert_eq!(ends(&zero), Some(ROUNDS * 2), "{context}");
    assert_eq!(ends(&one), Some(ROUNDS * 7), "{context}");
    assert_eq!(zero.len() as u64, ROUNDS, "{context}");
    assert_eq!(one.len() as u64, ROUNDS * 2, "{context}");
    for (commit, answer) in answered {
        let again = process.send_until_answered(commit).await;
        assert_eq!(again.outcomes, answer.outcomes, "{context}");
        assert_eq!(again.token, answer.token, "{context}");
    }
}

/// Takes what was told so far: each extent once and in order, and bounds that never go back.
async fn check_notices(mut notices: NoticeStream, context: &str) {
    let mut ends = [0; 2];
    while ends != [ROUNDS * 2, ROUNDS * 7] {
        let Some(Notice::Commit(notice)) = notices.next().await else {
            panic!("news of all groups: {context}");
        };
        for advance in &notice.advances {
            let end = &mut ends[advance.partition.partition.get() as usize];
            for extent in &advance.extents {
                assert_eq!(extent.offsets.base.get(), *end, "{context}");
                *end = extent.offsets.next.get();
            }
            assert_eq!(advance.bounds.high_watermark.get(), *end, "{context}");
        }
    }
}

/// Runs the stream in a world into which `plan` has put faults, then in a second process on its rows.
async fn survives(context: &str, plan: impl Fn(&FaultPlan)) {
    let world = World::with(settings(3));
    let process = world.open().await;
    let notices = process.subscribe();
    plan(world.store.memory.faults());
    let answered = stream(&process).await;
    check_notices(notices, context).await;
    world.store.memory.faults().clear();
    check(&process, &answered, context).await;
    let before = world.store.memory.dump();
    for landed in world.store.memory.land_delayed() {
        assert!(landed.is_err(), "an old transaction landed: {context}");
    }
    assert_eq!(world.store.memory.dump(), before, "{context}");
    let next = world.open_on(&world.store.sibling()).await;
    check(&next, &answered, context).await;
    let more = next
        .send_until_answered(&one(99, partition(1), plain(1)))
        .await;
    assert_eq!(only(&more), accepted(ROUNDS * 7), "{context}");
}

#[tokio::test(start_paused = true)]
async fn every_fault_at_every_commit_loses_doubles_and_moves_nothing() {
    for fault in FAULTS {
        for nth in 0..COMMITS {
            let context = format!("{fault:?} at commit {nth}");
            survives(&context, |plan| plan.fail_commit(nth, fault)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_a_fault_is_settled_is_settled_too() {
    for fault in FAULTS {
        for second in FAULTS {
            for nth in 0..4 {
                let context = format!("{fault:?} at commit {nth}, then {second:?} twice");
                survives(&context, |plan| {
                    plan.fail_commit(nth, fault);
                    plan.fail_commit(nth + 1, second);
                    plan.fail_commit(nth + 2, second);
                })
                .await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_and_begins_that_fail_delay_and_change_nothing() {
    for error in [FaultPlan::unavailable(), StoreError::TooOld] {
        for nth in 0..30 {
            let context = format!("{error} at call {nth}");
            survives(&context, |plan| plan.fail_get(nth, error.clone())).await;
            survives(&context, |plan| plan.fail_begin(nth, error.clone())).await;
            survives(&context, |plan| {
                plan.fail_commit(0, CommitFault::Unknown(Landing::Now));
                plan.fail_get(nth, error.clone());
                plan.fail_begin(nth, error.clone());
            })
            .await;
        }
    }
}

/// The transaction that landed late had read the lease row before the owner wrote it to settle.
#[tokio::test(start_paused = true)]
async fn a_group_that_would_land_after_it_was_settled_conflicts() {
    let (world, process) = World::opened().await;
    let later = CommitFault::Unknown(Landing::Later {
        after_commits: 1_000,
    });
    world.store.fail(KeyKind::Tail, later);
    let answer = process.send(one(1, partition(0), plain(3))).await;
    assert_eq!(only(&answer.expect("it was settled")), accepted(0));
    let before = world.store.memory.dump();
    let landed = world.store.memory.land_delayed();
    assert_eq!(landed.len(), 1);
    assert!(landed[0].is_err());
    assert_eq!(world.store.memory.dump(), before);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_lands_late_puts_no_old_row_over_a_new_one() {
    for kind in [KeyKind::Partition, KeyKind::Checkpoint] {
        let world = World::with(settings(1));
        let process = world.open().await;
        let later = CommitFault::Unknown(Landing::Later {
            after_commits: 1_000,
        });
        world.store.fail(kind, later);
        for sequence in 1..=3_i32 {
            let batch = sent(4, sequence - 1, 1);
            let commit = one(sequence.unsigned_abs().into(), partition(0), batch);
            process.send_until_answered(&commit).await;
        }
        process.latest(partition(0)).await.expect("it is the owner");
        let before = world.store.memory.dump();
        let landed = world.store.memory.land_delayed();
        assert_eq!(landed.len(), 1, "{kind:?}");
        assert!(landed[0].is_err(), "{kind:?}");
        assert_eq!(world.store.memory.dump(), before, "{kind:?}");
    }
}

/// Rule C2: the second group gathers while the first is in flight, and sees what became of it.
#[tokio::test(start_paused = true)]
async fn one_group_is_in_flight_and_the_next_gathers_meanwhile() {
    let (world, process) = World::opened().await;
    let hold = world.store.hold(KeyKind::Tail);
    let first = process.commit(vec![one(1, partition(0), plain(1))]);
    hold.reached().await;
    let second = process.commit(vec![
        one(2, partition(0), plain(1)),
        one(3, partition(0), plain(1)),
    ]);
    world
        .store
        .fail(KeyKind::Tail, CommitFault::Unknown(Landing::Never));
    let sent_before = world.store.commits();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.store.commits(), sent_before, "one group is in flight");
    drop(hold);
    let first = first.await.pop().expect("one").expect("it was settled");
    assert_eq!(only(&first), accepted(0));
    for (offset, answer) in (1..).zip(second.await) {
        let answer = answer.expect("it follows");
        assert_eq!(only(&answer), accepted(offset));
        assert_eq!(answer.token.group.get(), first.token.group.get() + 1);
    }
}
