//! Who reads a history needs each page once, and several who read it at once find what one of them has fetched.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};

use crate::batches::batch;
use crate::world::World;

const PARTITIONS: u32 = 3;
const SEGMENTS_OF_EACH: usize = 16;
const BATCHES_OF_SEGMENT: usize = 4;
const BATCH_BYTES: usize = 1_000_000;
const MIB: u64 = 1 << 20;
/// A quarter of the history.
const POOL_BYTES: usize = 48 << 20;
/// Less than lies between two slices of a partition.
const POOL_BYTES_OF_ONE: usize = 56 << 20;
const READERS: u64 = 4;
/// After how many fetches a reader does nothing for a while.
const STOPS_AT: u64 = 20;

/// Segment after segment of one partition, and then those of the next, as merging leaves them; and the same for each window
/// of time.
async fn history(windows: usize, pool_bytes: usize) -> World {
    let world = World::with_catch_up_bytes(pool_bytes).await;
    let value = "x".repeat(BATCH_BYTES);
    for partition in (0..windows).flat_map(|_| 0..PARTITIONS) {
        for _ in 0..SEGMENTS_OF_EACH / windows {
            let sent = |_| world.send_batch(partition, batch(&[&value]), None).result();
            for answer in join_all((0..BATCHES_OF_SEGMENT).map(sent)).await {
                answer.expect("it is appended");
            }
        }
    }
    let slow = Fault::Delay(Duration::from_millis(20));
    world.way.inject(FaultRule::new(slow).on(Operation::Get));
    world
}

/// Reads everything, with a pause after each answer: no two readers make the same ones, and all are as fast in the end. Nor
/// is there always as much room for an answer. It may do nothing for a while.
async fn read(world: &World, number: u64, stops: Option<Duration>) {
    let end = (SEGMENTS_OF_EACH * BATCHES_OF_SEGMENT) as u64;
    let mut next = [0; PARTITIONS as usize];
    let mut fetch = 0;
    while next.iter().any(|next| *next < end) {
        let wanted = (0..).zip(&next);
        let wanted = wanted.map(|(partition, next)| world.want(partition, *next, 2 * MIB));
        let room = MIB * (1 + (number + 3 * fetch) % 4 / 3);
        let fetched = world.fetch(wanted.collect(), room).await;
        for (next, found) in next.iter_mut().zip(&fetched.partitions) {
            *next = found.as_ref().expect("it has an answer").next_offset.get();
        }
        drop(fetched);
        world
            .pass(Duration::from_millis(1 + (number + 7 * fetch) % 10))
            .await;
        fetch += 1;
        if let Some(stops) = stops
            && fetch == STOPS_AT
        {
            world.pass(stops).await;
        }
    }
}

/// Pages that the history lies in.
async fn pages(world: &World) -> u64 {
    let mut pages = BTreeSet::new();
    for partition in 0..PARTITIONS {
        for place in world.places(partition).await {
            let page = |byte: u32| byte / tidelog_cache::PAGE_BYTES;
            let last = page(place.position + place.length - 1);
            pages.extend((page(place.position)..=last).map(|page| (place.sequence, page)));
        }
    }
    pages.len() as u64
}

/// Who comes to the end of its slice goes on in the next window, far behind the slices of the others.
#[tokio::test(start_paused = true)]
async fn who_reads_alone_fetches_each_page_once() {
    let world = history(2, POOL_BYTES_OF_ONE).await;
    let pages = pages(&world).await;
    read(&world, 0, None).await;
    assert_eq!(world.gets(), pages);
}

#[tokio::test(start_paused = true)]
async fn several_who_read_the_same_cost_what_one_does() {
    let world = history(1, POOL_BYTES).await;
    let pages = pages(&world).await;
    join_all((0..READERS).map(|number| read(&world, number, None))).await;
    let gets = world.gets();
    assert!(gets <= pages + pages / 10, "{gets} GETs for {pages} pages");
}

#[tokio::test(start_paused = true)]
async fn who_has_fallen_behind_is_waited_for() {
    let world = history(1, POOL_BYTES).await;
    let pages = pages(&world).await;
    // By then the others are farther ahead than the pool reaches.
    let stops = |number| (number == 0).then_some(Duration::from_millis(250));
    join_all((0..READERS).map(|number| read(&world, number, stops(number)))).await;
    let gets = world.gets();
    assert!(gets <= pages + pages / 3, "{gets} GETs for {pages} pages");
}
