//! However long the bucket hangs, batches take no more memory than their share (invariant I7).

use std::pin::pin;
use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_broker_engine::EngineSettings;

use crate::batches::batch;
use crate::world::{Answer, World, settings, soon};

const SHARE: u64 = 64 * 1024;
const HANGS: Duration = Duration::from_mins(1);

fn small() -> EngineSettings {
    let mut settings = settings();
    settings.append.memory_bytes = SHARE;
    settings.append.uploads_max = 2;
    settings.append.segment_bytes = 8 * 1024;
    settings
}

/// Sends batches until there is no more memory. Tells how many bytes were taken.
fn fill(world: &World) -> (u64, Vec<Answer>) {
    let value = "x".repeat(3 * 1024);
    let mut taken = 0;
    let mut answers = Vec::new();
    loop {
        let batch = batch(&[&value]);
        let size = u64::from(batch.size());
        match world.engine.try_reserve(size) {
            Ok(hold) => answers.push(world.send_held(0, batch, hold)),
            Err(full) => {
                assert_eq!(full.total, SHARE);
                return (taken, answers);
            }
        }
        taken += size;
        assert!(taken <= SHARE, "more was taken than the share has");
    }
}

#[tokio::test(start_paused = true)]
async fn while_uploads_hang_memory_stays_in_its_share_and_goes_on_after() {
    let world = World::in_one_bucket(small()).await;
    let hang = FaultRule::new(Fault::Delay(HANGS)).on(Operation::Put);
    world.way.inject(hang);
    let (taken, mut answers) = fill(&world);
    assert!(taken > SHARE / 2, "{taken}");
    {
        let mut waiting = pin!(world.engine.reserve(SHARE / 8));
        assert!(futures::poll!(&mut waiting).is_pending());
        world.pass(HANGS / 2).await;
        assert!(futures::poll!(&mut waiting).is_pending());
        assert_eq!(world.puts(), 2, "no more uploads than their limit");
        assert!(answers.iter_mut().all(Answer::is_pending));
        assert!(world.engine.try_reserve(SHARE / 8).is_err());
        drop(soon(&world.env, waiting).await);
    }
    let count = u64::try_from(answers.len()).expect("a few");
    for (expected, answer) in (0..).zip(answers) {
        assert_eq!(answer.offset().await, expected);
    }
    world.way.heal();
    drop(soon(&world.env, world.engine.reserve(SHARE)).await);
    assert_eq!(world.send(0, "after").offset().await, count);
}
