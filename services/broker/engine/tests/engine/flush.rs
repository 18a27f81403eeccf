//! When a segment closes: full, by its linger, at once when the budget allows, and never without need.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tidelog_broker_engine::{AppendSettings, EngineSettings};
use tidelog_env::ManualClock;

use crate::batches::batch;
use crate::world::{Answer, LINGER, World, settings};

const LONG: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_micros(1);

fn with(change: impl FnOnce(&mut AppendSettings)) -> EngineSettings {
    let mut settings = settings();
    change(&mut settings.append);
    settings
}

/// A world in which an upload is on its way for long, so that nothing closes for being idle.
async fn busy(change: impl FnOnce(&mut AppendSettings)) -> (World, Answer) {
    let world = World::with(with(change)).await;
    world.slow(1, LONG);
    let first = world.send(0, "busy");
    world.pass(MOMENT).await;
    assert_eq!(world.puts(), 1);
    (world, first)
}

#[tokio::test(start_paused = true)]
async fn a_segment_closes_when_it_has_its_size() {
    let (world, _first) = busy(|append| {
        append.linger = LONG;
        append.segment_bytes = 4 * 1024;
    })
    .await;
    let value = "x".repeat(1_500);
    let small = world.send_batch(0, batch(&[&value]), None);
    world.pass(MOMENT).await;
    assert_eq!(world.puts(), 1);
    let _more = [
        world.send_batch(0, batch(&[&value]), None),
        world.send_batch(0, batch(&[&value]), None),
    ];
    world.pass(MOMENT).await;
    assert_eq!(world.puts(), 2);
    assert_eq!(small.offset().await, 0);
    for place in world.places(0).await {
        assert!(place.position + place.length < 4 * 1024, "{place:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_closes_when_it_has_its_slices() {
    let (world, _first) = busy(|append| {
        append.linger = LONG;
        append.segment_slices = 2;
    })
    .await;
    let _same_slice = [world.send(0, "a"), world.send(0, "b")];
    world.pass(MOMENT).await;
    assert_eq!(world.puts(), 1);
    let second = world.send(1, "c");
    world.pass(MOMENT).await;
    assert_eq!(world.puts(), 2);
    assert_eq!(second.offset().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_segment_closes_when_its_manifest_is_full() {
    const SENT: usize = 200;
    let (world, _first) = busy(|append| {
        append.linger = LONG;
        append.manifest_bytes = 256;
        append.uploads_max = 1_000;
        append.unanswered_max = 1_000;
    })
    .await;
    let answers: Vec<Answer> = (0..SENT).map(|_| world.send(0, "a")).collect();
    world.pass(MOMENT).await;
    // How many there are is the manifest's business; that there are some and not one a batch, ours.
    let closed = world.puts() - 1;
    assert!((2..50).contains(&closed), "{closed}");
    world.pass(LONG).await;
    for answer in answers {
        answer.result().await.expect("it is appended");
    }
    assert_eq!(world.values(0).await.len(), SENT + 1);
}

#[tokio::test(start_paused = true)]
async fn a_linger_counts_from_the_first_byte_and_later_ones_do_not_stretch_it() {
    let (world, _first) = busy(|_| {}).await;
    let a = world.send(0, "a");
    world.pass(LINGER * 6 / 10).await;
    let b = world.send(0, "b");
    world.pass(LINGER * 3 / 10).await;
    assert_eq!(world.puts(), 1);
    world.pass(LINGER * 2 / 10).await;
    assert_eq!(world.puts(), 2);
    assert_eq!(a.offset().await, 0);
    assert_eq!(b.offset().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_close_waits_for_the_budget() {
    let once = NonZeroU32::MIN;
    let settings = with(|append| {
        append.linger = LONG;
        append.flush_rate = once;
        append.flush_burst = once;
    });
    let world = World::with(settings).await;
    let start = world.env.clock.now();
    world.send(0, "a").offset().await;
    assert!(world.env.clock.now() - start < Duration::from_millis(10));
    let mut second = world.send(0, "b");
    world.pass(Duration::from_millis(900)).await;
    assert!(second.is_pending());
    assert_eq!(world.puts(), 1);
    assert_eq!(second.offset().await, 1);
    let took = world.env.clock.now() - start;
    let about = Duration::from_secs(1)..Duration::from_millis(1_010);
    assert!(about.contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_writes_nothing_and_sets_no_timer() {
    let clock = ManualClock::default();
    let world = World::at(settings(), Arc::new(clock.clone())).await;
    world.pass(LONG).await;
    assert_eq!(clock.sleepers(), 0);
    assert_eq!(world.send(0, "a").offset().await, 0);
    assert_eq!(clock.sleepers(), 0);
    let requests = world.way.seen_total();
    clock.advance(Duration::from_hours(24));
    world.pass(LONG).await;
    assert_eq!(clock.sleepers(), 0);
    assert_eq!(world.way.seen_total(), requests);
    assert_eq!(world.puts(), 1);
}
