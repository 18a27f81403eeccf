//! A drain answers everything that was taken, and takes nothing more.

use std::pin::pin;
use std::time::Duration;

use tidelog_blob::faulty::Fault;
use tidelog_broker_engine::AppendError;

use crate::batches::batch;
use crate::world::{World, settings, soon};

const LONG: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_drain_closes_the_open_segment_and_ends_when_all_is_answered() {
    let mut settings = settings();
    settings.append.linger = Duration::from_hours(1);
    let world = World::with(settings).await;
    world.slow(1, LONG);
    world.slow(2, LONG * 2);
    let mut answers = vec![world.send(0, "uploading")];
    world.pass(LONG / 10).await;
    answers.push(world.send(0, "open"));
    answers.push(world.send(1, "open too"));
    {
        let mut drained = pin!(world.engine.drain());
        assert!(futures::poll!(&mut drained).is_pending());
        let refused = world.try_append(0, batch(&["late"]), None);
        assert_eq!(refused.expect_err("it drains"), AppendError::ShuttingDown);
        world.pass(LONG).await;
        assert_eq!(world.puts(), 2, "nobody waits for the linger");
        assert!(futures::poll!(&mut drained).is_pending());
        let start = world.env.clock.now();
        soon(&world.env, drained).await;
        assert!(world.env.clock.now() - start < LONG * 2);
    }
    for answer in &mut answers {
        assert!(answer.has_offset_now(), "a drain ends after the answers");
    }
    assert_eq!(world.values(0).await, ["uploading@0", "open@1"]);
    let refused = world.try_append(0, batch(&["later"]), None);
    assert_eq!(refused.expect_err("it drained"), AppendError::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_what_is_on_its_way_fails() {
    let world = World::new().await;
    world.slow(1, LONG);
    world.fail(1, Fault::DENIED);
    let answer = world.send_ordered(0, "a", 1);
    world.pass(LONG / 10).await;
    let behind = world.send_ordered(0, "b", 1);
    soon(&world.env, world.engine.drain()).await;
    assert!(answer.fails_unstored().await);
    assert!(behind.fails_unstored().await);
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_an_idle_engine_ends_at_once_and_writes_nothing() {
    let world = World::new().await;
    soon(&world.env, world.engine.drain()).await;
    soon(&world.env, world.engine.drain()).await;
    assert_eq!(world.way.seen_total(), 0);
}
