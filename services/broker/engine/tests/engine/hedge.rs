//! A slow upload is begun a second time under the next sequence; one of the two is the segment.

use std::time::Duration;

use object_store::ObjectStoreExt as _;
use tidelog_blob::faulty::Fault;
use tidelog_broker_engine::EngineSettings;

use crate::world::{World, settings};

const HEDGE_AFTER: Duration = Duration::from_millis(100);

fn hedging() -> EngineSettings {
    let mut settings = settings();
    settings.append.hedge_after = HEDGE_AFTER;
    settings
}

#[tokio::test(start_paused = true)]
async fn a_hedge_under_the_next_sequence_wins_over_an_upload_without_an_answer() {
    let world = World::with(hedging()).await;
    // It lands, and nobody hears of it: the worst kind of orphan.
    world.fail(1, Fault::GhostHang);
    let start = world.env.clock.now();
    assert_eq!(world.send(0, "a").offset().await, 0);
    let took = world.env.clock.now() - start;
    assert!((HEDGE_AFTER..HEDGE_AFTER * 2).contains(&took), "{took:?}");
    for sequence in [1, 2] {
        let path = world.path(sequence);
        world.objects.head(&path).await.expect("both are stored");
    }
    assert_eq!(world.sequences(0).await, [2], "one of them is committed");
    assert_eq!(world.values(0).await, ["a@0"]);
    assert_eq!(world.send(0, "b").offset().await, 1);
    assert_eq!(world.sequences(0).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_faster_than_its_hedge_is_the_segment() {
    let world = World::with(hedging()).await;
    world.slow(1, HEDGE_AFTER * 2);
    world.slow(2, HEDGE_AFTER * 9);
    assert_eq!(world.send(0, "a").offset().await, 0);
    assert_eq!(world.puts(), 2);
    assert_eq!(world.sequences(0).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_on_when_the_first_upload_fails_and_the_other_way_round() {
    for lost in [1, 2] {
        let world = World::with(hedging()).await;
        // The one that fails does so while the other is still on its way.
        world.slow(lost, HEDGE_AFTER * 2);
        world.slow(3 - lost, HEDGE_AFTER * 5);
        world.fail(lost, Fault::DENIED);
        assert_eq!(world.send(0, "a").offset().await, 0);
        assert_eq!(world.sequences(0).await, [3 - lost]);
        assert_eq!(world.values(0).await, ["a@0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_definite_failure_before_the_hedge_is_not_hedged() {
    let world = World::with(hedging()).await;
    world.fail(1, Fault::DENIED);
    assert!(world.send(0, "a").fails_unstored().await);
    world.pass(HEDGE_AFTER * 2).await;
    assert_eq!(world.puts(), 1);
}
