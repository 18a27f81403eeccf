//! What backups pin, from their first object to the last.

use tidelog_blob::BackupPart;
use tidelog_blob::object_store::ObjectStoreExt as _;
use tidelog_metadata::backup::{BackupState, may_delete, pending_restore};
use tidelog_metadata_api::Log as _;
use tidelog_store::Store as _;
use tidelog_store::memory::MemoryStore;
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use super::{Bucket, name};
use crate::manifests::{WRITER, one, plain};
use crate::world::{World, partition};

const fn segment(writer: Incarnation, sequence: u64) -> SegmentName {
    SegmentName::new(writer, SegmentSequence::new(sequence))
}

#[tokio::test(start_paused = true)]
async fn a_backup_pins_what_it_names_until_it_is_deleted() {
    let (world, process) = World::opened().await;
    for sequence in [3, 5] {
        let commit = one(sequence, partition(0), plain(1));
        process.send_until_answered(&commit).await;
    }
    let bucket = Bucket::new();
    let none = bucket.backups.pins().await.expect("it answers");
    assert!(!none.name(segment(WRITER, 3)));
    let taken = bucket.take(&world.store.memory, "nightly").await;
    let pins = bucket.backups.pins().await.expect("it answers");
    for (sequence, is_pinned) in [(3, true), (4, true), (5, true), (6, false)] {
        assert_eq!(
            pins.name(segment(WRITER, sequence)),
            is_pinned,
            "{sequence}"
        );
    }
    assert!(!pins.name(segment(Incarnation::new(8), 1)));
    // What was dead long before it began it does not need.
    let begun = taken.begun_at.as_millis();
    let hour = 60 * 60 * 1_000;
    for (dead_since, is_needed) in [
        (begun, true),
        (begun - hour + 1, true),
        (begun - hour, false),
    ] {
        let dead_since = tidelog_types::Timestamp::from_millis(dead_since);
        assert_eq!(pins.need(segment(WRITER, 5), dead_since), is_needed);
        assert!(!pins.need(segment(WRITER, 6), dead_since));
    }
    let listed = bucket.backups.list().await.expect("it answers");
    assert_eq!(listed.len(), 1);
    assert!(matches!(&listed[0].state, BackupState::Complete(summary) if *summary == taken));

    assert!(
        bucket
            .backups
            .delete(&taken.name)
            .await
            .expect("it answers")
    );
    assert!(
        !bucket
            .backups
            .delete(&taken.name)
            .await
            .expect("it answers")
    );
    let pins = bucket.backups.pins().await.expect("it answers");
    assert!(!pins.name(segment(WRITER, 3)));
    assert!(bucket.backups.list().await.expect("it answers").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_or_damaged_backup_pins_everything() {
    let (world, process) = World::opened().await;
    let commit = one(1, partition(0), plain(1));
    process.send_until_answered(&commit).await;
    let bucket = Bucket::new();
    bucket.take(&world.store.memory, "nightly").await;
    let end = bucket.layout.backup(&name("nightly"), BackupPart::End);
    let whole = bucket.objects.get(&end).await.expect("it is there");
    let mut bytes = whole.bytes().await.expect("it is there").to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let put = bucket.objects.put(&end, bytes.into()).await;
    put.expect("it answers");
    let damaged = bucket.backups.list().await.expect("it answers");
    assert!(matches!(damaged[0].state, BackupState::Damaged(_)));
    let anything = segment(Incarnation::new(999), 999);
    assert!(
        bucket
            .backups
            .pins()
            .await
            .expect("it answers")
            .name(anything)
    );

    bucket.objects.delete(&end).await.expect("it is there");
    let incomplete = bucket.backups.list().await.expect("it answers");
    let state = &incomplete[0].state;
    assert!(matches!(
        state,
        BackupState::Incomplete { begun_at: Some(_) }
    ));
    assert!(
        bucket
            .backups
            .pins()
            .await
            .expect("it answers")
            .name(anything)
    );
}

async fn is_free(store: &MemoryStore, segment: SegmentName) -> bool {
    let mut transaction = store.begin().await.expect("it answers");
    may_delete(transaction.as_mut(), segment)
        .await
        .expect("it answers")
}

#[tokio::test(start_paused = true)]
async fn nothing_newer_than_the_backup_may_be_deleted_until_a_restore_is_accepted() {
    let (world, process) = World::opened().await;
    let commit = one(1, partition(0), plain(1));
    process.send_until_answered(&commit).await;
    let bucket = Bucket::new();
    bucket.take(&world.store.memory, "nightly").await;
    let later = one(2, partition(0), plain(1));
    process.send_until_answered(&later).await;
    let (named, lost) = (segment(WRITER, 1), segment(WRITER, 2));
    assert!(is_free(&world.store.memory, lost).await);

    let (store, restored) = bucket.restored("nightly").await;
    let world = World::on(store.clone());
    let process = world.open().await;
    let writer = process.register_writer().await.expect("it answers");
    assert_eq!(writer, restored.first_incarnation);
    let new = one(1, partition(0), plain(1));
    let mut manifest = new.manifest.clone();
    manifest.segment = segment(writer, 1);
    let new = tidelog_metadata_api::ShardCommit { manifest, ..new };
    process.send_until_answered(&new).await;
    let expected = [(named, true), (lost, false), (segment(writer, 1), false)];
    for (segment, may_go) in expected {
        assert_eq!(is_free(&store, segment).await, may_go, "{segment}");
    }
    let mut transaction = store.begin().await.expect("it answers");
    let pending = pending_restore(transaction.as_mut()).await;
    let pending = pending.expect("it answers").expect("nobody has accepted");
    assert_eq!(pending.backup, "nightly");

    let accepted = tidelog_metadata::backup::accept_restore(&store, &bucket.env).await;
    assert_eq!(accepted.expect("one waits"), pending);
    for (segment, _) in expected {
        assert!(is_free(&store, segment).await, "{segment}");
    }
    let again = tidelog_metadata::backup::accept_restore(&store, &bucket.env).await;
    assert!(again.is_err());
}
