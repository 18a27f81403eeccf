use std::collections::BTreeSet;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidelog_blob::buckets::{Beside, Routed};
use tidelog_blob::faulty::{Fault, FaultRule, FaultyStore};
use tidelog_blob::metrics::Operation;
use tidelog_blob::names::BucketPart;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_blob::{BucketLayout, MAIN};
use tidelog_env::Env;
use tidelog_metadata_api::OrphanSearch;
use tidelog_types::{BucketId, ClusterId, Incarnation, SegmentSequence, Timestamp};

use super::*;

/// Metadata that hands out what a test says, and takes note of what it hears.
#[derive(Debug, Default)]
struct Work {
    next: Mutex<Deletions>,
    heard: Mutex<Vec<(Deletions, bool)>>,
}

#[async_trait]
impl JanitorWork for Work {
    async fn due(&self) {}

    async fn deletions(&self) -> Result<Deletions, LogError> {
        Ok(self.next.lock().clone())
    }

    async fn deleted(&self, done: Deletions, pinned: bool) -> Result<(), LogError> {
        self.heard.lock().push((done, pinned));
        Ok(())
    }
}

/// A backup that needs some segments, if they were named after it began.
#[derive(Clone, Debug, Default)]
struct Needed(BTreeSet<u64>);

impl Pins for Needed {
    fn need(&self, segment: SegmentName, unnamed_since: Timestamp) -> bool {
        self.0.contains(&segment.sequence.get()) && unnamed_since > Timestamp::from_millis(0)
    }

    fn are_under_way(&self) -> bool {
        self.0.contains(&UNDER_WAY)
    }
}

#[async_trait]
impl Backups for Needed {
    async fn pins(&self) -> Result<Box<dyn Pins>, BackupsError> {
        Ok(Box::new(self.clone()))
    }
}

struct World {
    work: Arc<Work>,
    objects: Arc<InMemory>,
    deletion: Deletion,
}

const WRITER: Incarnation = Incarnation::new(7);
/// A backup that needs this one is being taken.
const UNDER_WAY: u64 = 999;

const fn name(sequence: u64) -> SegmentName {
    SegmentName::new(WRITER, SegmentSequence::new(sequence))
}

fn layout() -> ClusterLayout {
    BucketLayout::new(object_store::path::Path::default()).cluster(ClusterId::from_bytes([3; 16]))
}

impl World {
    async fn new(segments: &[u64], needed: &[u64]) -> Self {
        let objects = Arc::new(InMemory::new());
        for sequence in segments {
            let path = layout().segment(MAIN, name(*sequence));
            objects
                .put(&path, PutPayload::from_static(b"x"))
                .await
                .unwrap();
        }
        let work = Arc::new(Work::default());
        let deletion = Deletion {
            work: Arc::clone(&work) as Arc<dyn JanitorWork>,
            objects: Arc::clone(&objects) as Arc<dyn ObjectStore>,
            layout: layout(),
            backups: Arc::new(Needed(needed.iter().copied().collect())),
            metrics: JanitorMetrics::default(),
        };
        Self {
            work,
            objects,
            deletion,
        }
    }

    async fn left(&self) -> Vec<u64> {
        let listed = self.objects.list(None);
        let names = listed.map(|object| layout().parse_segment(&object.unwrap().location));
        let mut left: Vec<u64> = names
            .map(|name| name.unwrap().1.sequence.get())
            .collect()
            .await;
        left.sort_unstable();
        left
    }
}

fn dead(sequences: &[u64]) -> Vec<DeadSegment> {
    let dead = sequences.iter().map(|sequence| DeadSegment {
        segment: name(*sequence),
        dead_since: Timestamp::from_millis(5),
        bytes: 10,
        in_store: false,
    });
    dead.collect()
}

fn orphans(sequences: &[u64], below: u64, is_last: bool) -> OrphanSearch {
    let sequences = sequences.iter().copied().map(SegmentSequence::new);
    OrphanSearch {
        writer: WRITER,
        sequences: sequences.collect(),
        below: SegmentSequence::new(below),
        is_last,
        since: Timestamp::from_millis(5),
    }
}

#[tokio::test]
async fn what_is_handed_out_goes_and_what_is_not_there_has_gone() {
    let world = World::new(&[1, 2, 3], &[]).await;
    *world.work.next.lock() = Deletions {
        dead: dead(&[1, 3, 4]),
        orphans: Vec::new(),
    };
    world.deletion.round().await.unwrap();
    assert_eq!(world.left().await, [2]);
    let heard = world.work.heard.lock().clone();
    let all = Deletions {
        dead: dead(&[1, 3, 4]),
        orphans: Vec::new(),
    };
    assert_eq!(heard, [(all, false)]);
    assert_eq!(world.deletion.metrics.deleted_bytes.get(), 30);
}

/// What lies in the store is only reported: no object is asked for, and complete backups have a copy.
#[tokio::test]
async fn what_lies_in_the_store_waits_for_no_backup_but_one_that_is_being_taken() {
    let in_store = |sequences| {
        let mut dead = dead(sequences);
        for dead in &mut dead {
            dead.in_store = true;
        }
        dead
    };
    for (needed, pinned) in [(vec![1, 2], false), (vec![1, 2, UNDER_WAY], true)] {
        let world = World::new(&[1, 3], &needed).await;
        let all = [in_store(&[1]), dead(&[2, 3])].concat();
        *world.work.next.lock() = Deletions {
            dead: all,
            orphans: Vec::new(),
        };
        world.deletion.round().await.unwrap();
        assert_eq!(
            world.left().await,
            [1],
            "an object of its name is no matter"
        );
        let in_store = if pinned { Vec::new() } else { in_store(&[1]) };
        let told = Deletions {
            dead: [in_store, dead(&[3])].concat(),
            orphans: Vec::new(),
        };
        assert_eq!(world.work.heard.lock().clone(), [(told, true)]);
        assert_eq!(world.deletion.metrics.deleted_bytes.get(), 10);
        assert_eq!(world.deletion.metrics.segments_deleted.get(), 1);
    }
}

#[tokio::test]
async fn what_a_backup_needs_stays_and_is_not_reported() {
    let world = World::new(&[1, 2, 5, 6], &[2, 6]).await;
    *world.work.next.lock() = Deletions {
        dead: dead(&[1, 2]),
        orphans: vec![orphans(&[5], 6, false), orphans(&[5, 6], 7, false)],
    };
    world.deletion.round().await.unwrap();
    assert_eq!(world.left().await, [2, 6]);
    let heard = world.work.heard.lock().clone();
    let some = Deletions {
        dead: dead(&[1]),
        orphans: vec![orphans(&[5], 6, false)],
    };
    assert_eq!(heard, [(some, true)]);
}

#[tokio::test]
async fn behind_the_last_of_a_writer_that_has_ended_names_are_looked_at_until_none_is_there() {
    // From 10 on nothing is known. A gap as large as can be is looked over.
    let world = World::new(&[4, 9, 12, 140, 141, 269, 398], &[]).await;
    *world.work.next.lock() = Deletions {
        dead: Vec::new(),
        orphans: vec![orphans(&[4, 5], 10, true)],
    };
    world.deletion.round().await.unwrap();
    assert_eq!(world.left().await, [9, 398]);
    assert_eq!(world.work.heard.lock()[0].0.orphans.len(), 1);
}

#[tokio::test]
async fn what_the_bucket_does_not_delete_is_not_reported() {
    let mut world = World::new(&[1, 2], &[]).await;
    let objects = Arc::clone(&world.objects) as Arc<dyn ObjectStore>;
    let faulty = FaultyStore::new(objects, Env::system().clock);
    faulty.inject(FaultRule::new(Fault::DENIED).on(Operation::Delete));
    world.deletion.objects = Arc::new(faulty);
    *world.work.next.lock() = Deletions {
        dead: dead(&[1]),
        orphans: vec![orphans(&[2], 3, false)],
    };
    world.deletion.round().await.unwrap_err();
    assert_eq!(world.left().await, [1, 2]);
    let heard = world.work.heard.lock().clone();
    assert_eq!(heard, [(Deletions::default(), false)]);
}

#[tokio::test]
async fn what_is_handed_out_goes_from_whichever_bucket_it_lies_in() {
    const ONE: BucketId = BucketId::new(1);
    let mut world = World::new(&[1, 2, 5], &[]).await;
    let fast = Arc::new(InMemory::new());
    let all = layout().with_buckets([ONE]);
    let main = Arc::clone(&world.objects) as Arc<dyn ObjectStore>;
    let beside = Beside {
        number: ONE,
        store: Arc::clone(&fast) as Arc<dyn ObjectStore>,
        layout: layout(),
        storage_class: None,
    };
    let routed: Arc<dyn ObjectStore> = Arc::new(Routed::new(main, all.clone(), [beside]));
    for sequence in [3, 4, 12] {
        let path = all.segment(ONE, name(sequence));
        let payload = PutPayload::from_static(b"x");
        routed.put(&path, payload).await.unwrap();
    }
    world.deletion.objects = Arc::clone(&routed);
    *world.work.next.lock() = Deletions {
        dead: dead(&[1, 3]),
        orphans: vec![orphans(&[5], 10, true)],
    };
    // As long as this process does not know the bucket, nothing is said to be deleted.
    let text = "{\"name\":\"fast\",\"location\":\"fast\"}";
    let known = all.bucket(ONE, BucketPart::Name);
    routed.put(&known, text.into()).await.unwrap();
    let error = world.deletion.round().await.unwrap_err();
    assert!(matches!(error, DeletionError::Unknown(_)), "{error}");
    assert!(world.work.heard.lock().is_empty());

    world.deletion.layout = all;
    world.deletion.round().await.unwrap();
    world.objects.delete(&known).await.unwrap();
    assert_eq!(world.left().await, [2]);
    let listed = fast.list(None).map(|object| object.unwrap().location);
    let left: Vec<_> = listed.collect().await;
    assert_eq!(left, [layout().segment(MAIN, name(4))]);
}
