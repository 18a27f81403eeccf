//! A janitor that ends in the middle.

use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_metadata_api::MERGE_KEEP_EVERY;

use super::world::World;

async fn written() -> World {
    let mut world = World::new(7);
    world.write_plain(&[(0, 10), (1, 20), (2, 5)]).await;
    world.write_plain(&[(0, 10), (2, 5)]).await;
    world
}

#[tokio::test(start_paused = true)]
async fn who_drains_in_the_middle_swaps_nothing_later() {
    for (operation, name_was_used) in [(Operation::Get, false), (Operation::Put, true)] {
        for fault in [Fault::Hang, Fault::GhostHang] {
            let world = written().await;
            world.way.inject(FaultRule::new(fault).on(operation));
            world.owner.give(world.history.task(1));
            let working = world.start();
            while world.way.injected().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.stop.cancel();
            working.await.unwrap();
            assert!(world.owner.swaps.lock().is_empty());
            assert!(world.owner.finished.lock().is_empty());
            let floors = world.owner.floors.lock().clone();
            let expected: &[(u64, u64)] = if name_was_used { &[(50, 2)] } else { &[] };
            assert_eq!(floors, expected, "{operation:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_kept_for_as_long_as_it_is_worked_on() {
    let world = written().await;
    world
        .way
        .inject(FaultRule::new(Fault::Hang).on(Operation::Get));
    world.owner.give(world.history.task(1));
    let working = world.start();
    world
        .owner
        .until(|owner| owner.kept.lock().len() == 3)
        .await;
    assert_eq!(*world.owner.kept.lock(), [1, 1, 1]);
    world.stop.cancel();
    working.await.unwrap();
    tokio::time::sleep(3 * MERGE_KEEP_EVERY).await;
    assert_eq!(world.owner.kept.lock().len(), 3, "nobody works on it");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_is_asked_again_after_a_while() {
    let world = written().await;
    let failures = 4;
    let rule = FaultRule::new(Fault::SLOW_DOWN).on(Operation::Get);
    world.way.inject(rule.times(failures));
    let begun = tokio::time::Instant::now();
    for _ in 0..=failures {
        world.owner.give(world.history.task(1));
    }
    let working = world.start();
    world.owner.until_finished(1).await;
    let failed = world.metrics.failures("read");
    assert!((2..=failures).contains(&failed), "{failed}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    world.stop.cancel();
    working.await.unwrap();
}
