//! Bytes that are not those that were written are told of and never served (invariant I6).

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_broker_engine::{FetchError, ReadError};
use tidelog_types::{ErrorCode, Offset};

use crate::batches::values_in;
use crate::world::World;

/// A first segment with batches for two partitions, and a second one for the first of them.
async fn written() -> World {
    let world = World::new().await;
    let together = [world.send(0, "a"), world.send(1, "b")];
    for answer in together {
        assert_eq!(answer.offset().await, 0);
    }
    assert_eq!(world.send(0, "c").offset().await, 1);
    assert_eq!(world.sequences(0).await, [1, 2]);
    assert_eq!(world.sequences(1).await, [1]);
    world
}

async fn object(world: &World, sequence: u64) -> Bytes {
    let object = world.objects.get(&world.path(sequence)).await;
    let bytes = object.expect("it is stored").bytes().await;
    bytes.expect("memory answers")
}

async fn replace(world: &World, sequence: u64, bytes: Bytes) {
    let path = world.path(sequence);
    let put = world.objects.put(&path, bytes.into()).await;
    put.expect("memory takes it");
}

/// Checks that partition 0 is told of as damaged from offset 0 on, and that the rest is served.
async fn only_the_first_extent_is_damaged(world: &World) {
    let wanted = vec![
        world.want(0, 0, u64::MAX),
        world.want(1, 0, u64::MAX),
        world.want(0, 1, u64::MAX),
    ];
    let fetched = world.fetch(wanted, u64::MAX).await;
    let (partition, error) = fetched.partitions[0].as_ref().expect_err("damaged");
    assert_eq!(*partition, world.partition(0));
    assert_eq!(error.code(), ErrorCode::DataLoss);
    let FetchError::Read(ReadError::Damaged { object, offset, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(*object, world.path(1).to_string());
    assert_eq!(*offset, Offset::ZERO);
    for (at, expected) in [(1, "b@0"), (2, "c@1")] {
        let found = fetched.partitions[at].as_ref().expect("it is whole");
        assert_eq!(values_in(found), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_flipped_bit_of_a_batch_is_ever_served() {
    let place = written().await.places(0).await[0];
    // One bit in each part of the batch, the first and the last byte among them.
    let last = place.length - 1;
    for at in [0, 8, 11, 16, 17, 23, 27, 43, 57, 61, last] {
        let world = written().await;
        let mut bytes = object(&world, 1).await.to_vec();
        bytes[usize::try_from(place.position + at).expect("small")] ^= 1;
        replace(&world, 1, bytes.into()).await;
        only_the_first_extent_is_damaged(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_costs_one_more_request_and_nobody_sees_it() {
    let world = written().await;
    let place = world.places(0).await[0];
    let flip = Fault::FlipBit(u64::from(place.position + place.length - 1) * 8);
    world
        .way
        .inject(FaultRule::new(flip).on(Operation::Get).once());
    assert_eq!(world.values(0).await, ["a@0", "c@1"]);
    assert_eq!(world.gets(), 3, "a page of each segment, and one again");
    assert_eq!(world.values(0).await, ["a@0", "c@1"]);
    assert_eq!(world.gets(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_cut_short_is_damaged_where_it_ends() {
    for missing in [1, 40, u32::MAX] {
        let world = written().await;
        let first = world.places(0).await[0];
        let other = world.places(1).await[0];
        // The object is cut within the slice that lies behind the other one.
        let (cut, whole) = if first.position > other.position {
            (0, 1)
        } else {
            (1, 0)
        };
        let place = world.places(cut).await[0];
        let kept = (place.position + place.length).saturating_sub(missing);
        let kept = kept.max(place.position);
        let bytes = object(&world, 1).await;
        replace(
            &world,
            1,
            bytes.slice(..usize::try_from(kept).expect("small")),
        )
        .await;
        let wanted = vec![world.want(cut, 0, u64::MAX), world.want(whole, 0, u64::MAX)];
        let fetched = world.fetch(wanted, u64::MAX).await;
        let (_, error) = fetched.partitions[0].as_ref().expect_err("damaged");
        let expected = world.path(1).to_string();
        assert!(
            matches!(error, FetchError::Read(ReadError::Damaged { object, offset, .. })
                if *object == expected && *offset == Offset::ZERO),
            "{error}"
        );
        let found = fetched.partitions[1].as_ref().expect("it is whole");
        assert_eq!(values_in(found).len(), if whole == 0 { 2 } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_looked_for_twice_and_then_told_of() {
    let world = written().await;
    let path = world.path(1);
    world.objects.delete(&path).await.expect("memory answers");
    let fetched = world
        .fetch(vec![world.want(0, 0, u64::MAX)], u64::MAX)
        .await;
    let (_, error) = fetched.partitions[0].as_ref().expect_err("missing");
    assert_eq!(error.code(), ErrorCode::DataLoss);
    let FetchError::Read(ReadError::Missing { object, offset, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!((object.as_str(), *offset), (path.as_ref(), Offset::ZERO));
    assert_eq!(world.way.seen(Operation::Get), 2);
    let fetched = world
        .fetch(vec![world.want(0, 1, u64::MAX)], u64::MAX)
        .await;
    let found = fetched.partitions[0].as_ref().expect("it is whole");
    assert_eq!(values_in(found), ["c@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_is_no_loss_of_data() {
    let world = written().await;
    let rule = FaultRule::new(Fault::INTERNAL).on(Operation::Get);
    world.way.inject(rule.once());
    let fetched = world
        .fetch(vec![world.want(0, 0, u64::MAX)], u64::MAX)
        .await;
    let (_, error) = fetched.partitions[0].as_ref().expect_err("no answer");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(world.values(0).await, ["a@0", "c@1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_passed_over_when_a_missing_object_is_looked_for_again() {
    let world = World::new().await;
    let large = "x".repeat(100_000);
    for value in [&large, &large, "small"] {
        world.send(0, value).offset().await;
    }
    assert_eq!(world.sequences(0).await, [1, 2, 3]);
    let gone = FaultRule::new(Fault::NOT_FOUND).on(Operation::Get);
    world.way.inject(gone.at(world.path(1).as_ref()).once());
    // There is room for the first batch and for the last, but not for the one between them.
    let fetched = world.fetch(vec![world.want(0, 0, 150_000)], u64::MAX).await;
    let found = fetched.partitions[0].as_ref().expect("it is there now");
    assert_eq!(values_in(found), [format!("{large}@0")]);
    assert_eq!(found.next_offset, Offset::new(1));
}
