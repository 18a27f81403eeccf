//! Memory and bandwidth.

use std::num::NonZeroU64;
use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_format::location::Location;
use tidelog_types::Offset;

use super::super::failure::Failure;
use super::super::plan::plan;
use super::world::World;

const MIB: usize = 1 << 20;

async fn written() -> World {
    let mut world = World::new(11);
    world.write_plain(&[(0, MIB), (1, MIB)]).await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_needs_more_memory_than_there_is_is_let_be_and_not_read() {
    let mut world = written().await;
    world.settings.memory_bytes = 2 * MIB as u64;
    world.owner.give(world.history.task(1));
    let working = world.start();
    while world.metrics.failures("too_large") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.way.seen_total(), 0);
    world.stop.cancel();
    working.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_merges_share_the_memory() {
    for (memory, together) in [(3, false), (5, true)] {
        let mut world = written().await;
        world.settings.memory_bytes = memory * MIB as u64;
        world.settings.at_once = 2;
        world
            .way
            .inject(FaultRule::new(Fault::Hang).on(Operation::Put));
        world.owner.give(world.history.task(1));
        world.owner.give(world.history.task(2));
        let working = world.start();
        tokio::time::sleep(Duration::from_mins(1)).await;
        let reads = if together { 2 } else { 1 };
        while world.way.seen(Operation::Put) < reads {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(world.way.seen(Operation::Get), reads);
        world.stop.cancel();
        working.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_read_and_written_keeps_to_the_rate() {
    let mut world = written().await;
    world.settings.bytes_per_second = NonZeroU64::new(MIB as u64);
    let begun = tokio::time::Instant::now();
    for number in 1..=5 {
        world.owner.give(world.history.task(number));
    }
    let working = world.start();
    world.owner.until_finished(5).await;
    // Twice 2 MiB each, of which what comes last need not be paid for yet.
    assert!(
        begun.elapsed() >= Duration::from_secs(16),
        "{:?}",
        begun.elapsed()
    );
    world.stop.cancel();
    working.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tasks_that_make_no_sense_are_refused_before_anything_is_read() {
    let world = written().await;
    let good = world.history.task(1);
    let memory = 1 << 30;
    assert!(plan(&good, memory).is_ok());
    let mut inline = good.clone();
    inline.runs[0].extents[0].location = Location::Inline { row: 3 };
    let planned = plan(&inline, memory);
    assert!(matches!(planned, Err(Failure::Unsupported { .. })));
    let mut empty = good.clone();
    empty.runs[1].extents.clear();
    let mut gap = good.clone();
    let mut second = gap.runs[0].extents[0].clone();
    second.offsets.base = Offset::new(5_000);
    second.offsets.next = Offset::new(5_001);
    gap.runs[0].extents.push(second);
    let mut nothing = good.clone();
    nothing.runs[0].extents[0].offsets.next = nothing.runs[0].extents[0].offsets.base;
    for (number, task) in [empty, gap, nothing].iter().enumerate() {
        let planned = plan(task, memory);
        assert!(
            matches!(planned, Err(Failure::Malformed { .. })),
            "{number}"
        );
    }
}
