//! An upload whose answer was lost is settled by the trailer of the object that is there.

use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, select};
use object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_blob::Operation;
use tidelog_blob::faulty::Fault;
use tidelog_format::segment::{Nonce, SegmentIdentity, SegmentWriter};
use tidelog_types::{BucketId, PartitionIndex, SegmentName, SegmentSequence};

use crate::batches::batch;
use crate::world::{World, soon};

#[tokio::test(start_paused = true)]
async fn an_upload_that_landed_unseen_is_ours_and_its_batches_are_appended_once() {
    let world = World::new().await;
    world.fail(1, Fault::GhostAlreadyExists);
    let answers = [world.send(0, "a"), world.send(0, "b")];
    for (expected, answer) in (0..).zip(answers) {
        assert_eq!(answer.offset().await, expected);
    }
    assert_eq!(world.bucket.injected()["ghost_already_exists"], 1);
    assert_eq!(world.way.seen(Operation::Get), 1, "the trailer was read");
    assert_eq!(world.puts(), 1);
    assert_eq!(world.sequences(0).await, [1]);
    assert_eq!(world.values(0).await, ["a@0", "b@1"]);
}

/// A whole segment under the engine's next name, with another nonce.
async fn put_foreign_segment(world: &World) {
    let index = PartitionIndex::new(0);
    let (partition, info) = world.topic.partition(index).expect("it exists");
    let mut writer = SegmentWriter::new();
    writer
        .push(world.topic.id, partition, info.shard, batch(&["foreign"]))
        .expect("it fits");
    let identity = SegmentIdentity {
        cluster: world.engine.cluster(),
        bucket: BucketId::default(),
        name: SegmentName::new(world.engine.incarnation(), SegmentSequence::new(1)),
        nonce: Nonce::new([1; 16]),
    };
    let sealed = writer.seal(&identity).expect("it has a batch");
    let payload: PutPayload = sealed.chunks.iter().cloned().collect();
    world
        .objects
        .put(&world.path(1), payload)
        .await
        .expect("memory takes it");
}

#[tokio::test(start_paused = true)]
async fn a_segment_of_somebody_else_under_our_name_ends_the_process_unacknowledged() {
    let world = World::new().await;
    put_foreign_segment(&world).await;
    let answer = world.send(0, "ours");
    let failed = pin!(world.supervisor.failed());
    let failure = soon(&world.env, failed).await;
    assert_eq!(failure.task, "batcher");
    assert!(failure.message.contains("I3"), "{}", failure.message);
    assert!(answer.stays_unanswered().await, "nothing was acknowledged");
    assert!(world.places(0).await.is_empty(), "nothing was committed");
}

#[tokio::test(start_paused = true)]
async fn a_name_taken_by_what_is_no_segment_fails_its_batches_and_the_next_segment_goes_on() {
    let world = World::new().await;
    let junk = PutPayload::from(Bytes::from_static(&[7; 512]));
    let path = world.path(1);
    world
        .objects
        .put(&path, junk)
        .await
        .expect("memory takes it");
    assert!(world.send(0, "lost").fails_unstored().await);
    let failed = pin!(world.supervisor.failed());
    match select(failed, pin!(world.send(0, "next").offset())).await {
        Either::Left((failure, _)) => panic!("{failure:?}"),
        Either::Right((offset, _)) => assert_eq!(offset, 0),
    }
    assert_eq!(world.sequences(0).await, [2]);
}
