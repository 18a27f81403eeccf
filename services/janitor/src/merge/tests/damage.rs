//! Bytes that are not those that were written are told of and never merged (invariant I6); all others are.

use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_blob::object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_blob::{MAIN, Operation};
use tidelog_format::location::Location;
use tidelog_types::{SegmentName, SegmentSequence};

use super::history::{BROKER, partition};
use super::world::World;

const fn name(sequence: u64) -> SegmentName {
    SegmentName::new(BROKER, SegmentSequence::new(sequence))
}

/// Two segments of three partitions.
async fn written() -> World {
    let mut world = World::new(3);
    world.write_plain(&[(0, 10), (1, 20), (2, 5), (1, 1)]).await;
    world.write_plain(&[(0, 30), (2, 8)]).await;
    world
}

async fn replace(world: &World, sequence: u64, bytes: Vec<u8>) {
    let path = world.layout.segment(MAIN, name(sequence));
    world
        .objects
        .put(&path, PutPayload::from(bytes))
        .await
        .unwrap();
}

/// The partition that has a byte of the first segment, and whether anything proves that byte.
fn of(world: &World, at: usize) -> Option<u32> {
    let mut found = None;
    for ((_, index), known) in &world.history.partitions {
        for extent in &known.extents {
            let Location::Segment {
                segment,
                position,
                length,
                ..
            } = extent.location
            else {
                continue;
            };
            let inside = (position as usize..(position + length) as usize).contains(&at);
            if segment == name(1) && inside {
                // Where only batches are proven, what is patched anyway is not.
                let in_batch = at - position as usize;
                let is_proven =
                    extent.crc32c.is_some() || (8..12).contains(&in_batch) || in_batch >= 16;
                found = is_proven.then_some(*index);
            }
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn no_flipped_bit_is_merged_and_what_is_whole_is() {
    let length = written().await.object(name(1)).await.len();
    let mut damaged = 0;
    for at in 0..length {
        let world = written().await;
        let mut bytes = world.object(name(1)).await.to_vec();
        bytes[at] ^= 1 << (at % 8);
        replace(&world, 1, bytes).await;
        world.merge_all().await;
        let hit = of(&world, at);
        let swapped = world.owner.swapped.lock().clone();
        for ((topic, index), known) in &world.history.partitions {
            let merged = swapped.get(&partition(*topic, *index));
            assert_eq!(
                merged.is_none(),
                hit == Some(*index),
                "byte {at}, partition {index}"
            );
            if let Some(merged) = merged {
                assert_eq!(world.read(merged).await, known.bytes, "byte {at}");
            }
        }
        assert_eq!(world.metrics.runs("damaged"), u64::from(hit.is_some()));
        damaged += u32::from(hit.is_some());
    }
    assert!(damaged > 300, "{damaged}");
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_read_again_and_harms_nothing() {
    for fault in [Fault::FlipBit(700 * 8), Fault::NOT_FOUND] {
        let world = written().await;
        world
            .way
            .inject(FaultRule::new(fault).on(Operation::Get).once());
        world.merge_all().await;
        assert_eq!(world.owner.swapped.lock().len(), 3);
        assert_eq!(
            world.metrics.runs("damaged") + world.metrics.runs("missing"),
            0
        );
        assert!(world.way.seen(Operation::Get) <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_leaves_its_partitions_as_they_are() {
    let world = written().await;
    let path = world.layout.segment(MAIN, name(2));
    world.objects.delete(&path).await.unwrap();
    world.merge_all().await;
    let swapped: Vec<_> = world.owner.swapped.lock().keys().copied().collect();
    assert_eq!(swapped, [partition(1, 1)]);
    assert_eq!(world.metrics.runs("missing"), 2);
    assert_eq!(world.metrics.runs("swapped"), 1);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_whole_nothing_is_written() {
    let world = written().await;
    for sequence in [1, 2] {
        let path = world.layout.segment(MAIN, name(sequence));
        world.objects.delete(&path).await.unwrap();
    }
    world.merge_all().await;
    assert_eq!(world.way.seen(Operation::Put), 0);
    assert!(world.owner.swaps.lock().is_empty());
    assert_eq!(world.metrics.runs("missing"), 3);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_cut_short_is_damaged_where_it_ends() {
    let whole = written().await;
    let bytes = whole.object(name(2)).await;
    let extents = &whole.history.partitions[&(1, 2)].extents;
    let mut places = extents.iter().filter_map(|extent| match extent.location {
        Location::Segment { position, .. } => Some(position),
        Location::Inline { .. } | Location::Marker(_) => None,
    });
    let position = places.next_back().unwrap();
    for (kept, left) in [(position as usize + 3, 1), (position as usize, 1), (0, 2)] {
        let world = written().await;
        replace(&world, 2, bytes[..kept].to_vec()).await;
        world.merge_all().await;
        assert_eq!(world.metrics.runs("damaged"), left, "kept {kept}");
        assert_eq!(world.metrics.runs("swapped"), 3 - left);
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_do_not_take_their_offsets_are_damaged() {
    let world = written().await;
    let mut task = world.history.task(1);
    // Bytes that are whole, in a place of the log that is not theirs.
    let run = &mut task.runs[0];
    let last = run.extents.last_mut().unwrap();
    last.offsets.next = last.offsets.next.checked_add(1).unwrap();
    world.owner.give(task);
    let working = world.start();
    world.owner.until_finished(1).await;
    world.stop.cancel();
    working.await.unwrap();
    assert_eq!(world.metrics.runs("damaged"), 1);
    assert_eq!(world.metrics.runs("swapped"), 2);
}
