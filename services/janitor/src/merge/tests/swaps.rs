//! What becomes of a merged segment: names, floors, and the answers of owners.

use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_blob::object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_blob::{MAIN, Operation};
use tidelog_metadata_api::{MergeError, SWAP_RUNS_MAX, SwapOutcome};
use tidelog_types::{SegmentName, SegmentSequence};

use super::world::{JANITOR, World};

async fn written() -> World {
    let mut world = World::new(5);
    world.write_plain(&[(0, 10), (1, 20), (2, 5)]).await;
    world
}

fn sequences(world: &World) -> Vec<u64> {
    let swaps = world.owner.swaps.lock();
    swaps
        .iter()
        .map(|(_, name, _)| name.sequence.get())
        .collect()
}

fn unavailable() -> MergeError {
    MergeError::Unavailable {
        reason: "on purpose".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn many_runs_are_swapped_in_parts_and_each_once() {
    let mut world = World::new(5);
    let batches: Vec<_> = (0..150).map(|index| (index, 10)).collect();
    world.write_plain(&batches).await;
    world.merge_all().await;
    let swaps = world.owner.swaps.lock();
    let sizes: Vec<_> = swaps.iter().map(|(_, _, runs)| runs.len()).collect();
    assert_eq!(sizes, [SWAP_RUNS_MAX, SWAP_RUNS_MAX, 22]);
    assert_eq!(world.owner.swapped.lock().len(), 150);
}

#[tokio::test(start_paused = true)]
async fn runs_that_have_changed_are_let_go_and_the_task_ends() {
    let world = written().await;
    let outcomes = [
        SwapOutcome::Swapped,
        SwapOutcome::Changed,
        SwapOutcome::Swapped,
    ];
    world.owner.answers.lock().push_back(Ok(outcomes.to_vec()));
    world.merge_all().await;
    assert_eq!(world.owner.swapped.lock().len(), 2);
    assert_eq!(world.metrics.runs("changed"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_is_asked_again_for_the_same_segment() {
    let world = written().await;
    for _ in 0..3 {
        world.owner.answers.lock().push_back(Err(unavailable()));
    }
    world.merge_all().await;
    assert_eq!(sequences(&world), [1, 1, 1, 1]);
    assert_eq!(world.owner.swapped.lock().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_given_up_is_let_be_and_the_next_one_done() {
    for (error, reason) in [
        (MergeError::Gone, "gone"),
        (
            MergeError::Malformed {
                reason: "on purpose".to_owned(),
            },
            "owner",
        ),
    ] {
        let world = written().await;
        world.owner.answers.lock().push_back(Err(error));
        world.owner.give(world.history.task(1));
        world.owner.give(world.history.task(2));
        let working = world.start();
        world.owner.until_finished(1).await;
        assert_eq!(*world.owner.finished.lock(), [2]);
        assert_eq!(sequences(&world), [1, 2]);
        assert_eq!(world.metrics.failures(reason), 1);
        world.stop.cancel();
        working.await.unwrap();
        // Nothing can be swapped in under either name any more.
        assert_eq!(world.owner.floors.lock().last(), Some(&(50, 3)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_ended_as_a_writer_goes_on_as_another_one() {
    let world = written().await;
    let name = SegmentName::new(JANITOR, SegmentSequence::new(1));
    let ended = Err(MergeError::BelowFloor(name));
    world.owner.answers.lock().push_back(ended);
    world.owner.give(world.history.task(1));
    world.owner.give(world.history.task(1));
    let working = world.start();
    world.owner.until_finished(1).await;
    let swaps = world.owner.swaps.lock().clone();
    let writers: Vec<_> = swaps
        .iter()
        .map(|(_, name, _)| name.incarnation.get())
        .collect();
    assert_eq!(writers, [50, 51]);
    assert_eq!(sequences(&world), [1, 1]);
    world.stop.cancel();
    working.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_there_already_is_ours_if_its_trailer_says_so() {
    let world = written().await;
    let rule = FaultRule::new(Fault::GhostAlreadyExists).on(Operation::Put);
    world.way.inject(rule.once());
    world.merge_all().await;
    assert_eq!(sequences(&world), [1]);

    let world = written().await;
    let name = SegmentName::new(JANITOR, SegmentSequence::new(1));
    let other = world.object(SegmentName::new(
        super::history::BROKER,
        SegmentSequence::new(1),
    ));
    let put = PutPayload::from(other.await);
    let path = world.layout.segment(MAIN, name);
    world.objects.put(&path, put.clone()).await.unwrap();
    world.merge_all().await;
    assert_eq!(sequences(&world), [2], "another name is taken");
    assert_eq!(world.object(name).await, bytes::Bytes::from(put));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_to_be_stored_is_written_anew_under_another_name() {
    for fault in [Fault::GhostTimeout, Fault::Timeout, Fault::SLOW_DOWN] {
        let world = written().await;
        world
            .way
            .inject(FaultRule::new(fault).on(Operation::Put).once());
        world.owner.give(world.history.task(1));
        world.owner.give(world.history.task(1));
        let working = world.start();
        world.owner.until_finished(1).await;
        assert_eq!(sequences(&world), [2]);
        assert_eq!(world.metrics.failures("write"), 1);
        world.stop.cancel();
        working.await.unwrap();
        assert_eq!(world.owner.floors.lock().last(), Some(&(50, 3)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_floor_follows_the_names_that_are_done_with() {
    let world = written().await;
    let working = world.start();
    for number in 1..=20 {
        world.owner.give(world.history.task(number));
        world
            .owner
            .until_finished(usize::try_from(number).unwrap())
            .await;
    }
    let above = |floor: u64| 21 - floor;
    let last = world
        .owner
        .floors
        .lock()
        .last()
        .map_or(1, |(_, floor)| *floor);
    assert!(above(last) <= 9, "{last}");
    // With nothing to do, it is raised over all of them, and then nothing more is asked.
    world
        .owner
        .until(|owner| owner.floors.lock().last() == Some(&(50, 21)))
        .await;
    let (requests, raised) = (world.way.seen_total(), world.owner.floors.lock().len());
    tokio::time::sleep(std::time::Duration::from_hours(1)).await;
    assert_eq!(world.way.seen_total(), requests);
    assert_eq!(world.owner.floors.lock().len(), raised);
    world.stop.cancel();
    working.await.unwrap();
    assert_eq!(
        world.owner.floors.lock().len(),
        raised,
        "there is nothing to raise"
    );
}

#[tokio::test(start_paused = true)]
async fn the_floor_stays_below_a_name_that_is_in_use() {
    let mut world = written().await;
    world.settings.at_once = 2;
    let rule = FaultRule::new(Fault::Hang).on(Operation::Put);
    world.way.inject(rule.once());
    for number in 1..=12 {
        world.owner.give(world.history.task(number));
    }
    let working = world.start();
    world.owner.until_finished(11).await;
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    assert_eq!(*world.owner.floors.lock(), []);
    world.stop.cancel();
    working.await.unwrap();
    assert_eq!(*world.owner.floors.lock(), [(50, 13)]);
}
