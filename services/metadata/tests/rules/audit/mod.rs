//! An audit finds every difference that was planted, mends what it says that it mends, and finds none where there is
//! none, whatever happens while it looks.

mod buckets;
pub(crate) mod ground;
mod inline;
mod races;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::{ObjectStore, ObjectStoreExt as _};
use tidelog_blob::{BackupName, MAIN};
use tidelog_env::Clock as _;
use tidelog_metadata::audit::{
    AuditError, AuditOptions, Difference, MendError, OrphansOf, Part, Report, Verify, mend_orphans,
    mend_rows,
};
use tidelog_metadata::backup::{Backups, TakeOptions};
use tidelog_metadata::keyspace::{Counter, DyingRow, KeyKind, Keyspace, LiveBytesRow, PageRow};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{Offset, OffsetRange, ShardId, Timestamp};

use crate::world::{SHARD, partition};
use ground::{CLUSTER, Ground, MERGER, batch, merged, written};

const KEYS: Keyspace = Keyspace::new(tidelog_types::Tenant::new(0));

/// Six segments that were merged, whose objects are still there, then four in pages, and two in the tail.
async fn some_of_all() -> Ground {
    let ground = Ground::new(1).await;
    ground.fill(1..=6).await;
    ground.merge(1).await;
    ground.fill(7..=12).await;
    // The clock of the bucket is ahead of ours.
    ground.world.clock.jump_wall(1 << 42);
    ground
}

fn kinds(report: &Report) -> Vec<&'static str> {
    report.differences.iter().map(Difference::kind).collect()
}

fn part(index: u32, base: u64, next: u64) -> Part {
    Part {
        partition: partition(index),
        offsets: OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        },
    }
}

fn orphans_of(ground: &Ground) -> OrphansOf<'_, MemoryStore> {
    OrphansOf {
        source: &ground.world.store.memory,
        objects: ground.all(),
        layout: ground.layout.clone(),
        cluster: CLUSTER,
        env: &ground.env,
    }
}

async fn mend(ground: &Ground, report: &Report) -> usize {
    let orphans = mend_orphans(&orphans_of(ground), &report.differences).await;
    let rows = mend_rows(&ground.world.store, &ground.env, &report.differences).await;
    let (orphans, rows) = (orphans.expect("memory"), rows.expect("memory"));
    assert!(rows.changed.is_empty(), "{rows:?}");
    orphans.mended.len() + rows.mended.len()
}

/// What was found, all of it, is mended, and nothing is found any more.
async fn is_mended(ground: &Ground, report: &Report) {
    assert_eq!(mend(ground, report).await, report.differences.len());
    let again = ground.audit(Verify::Bytes).await;
    assert_eq!(again.differences, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn where_all_is_well_nothing_is_found_however_much_is_read() {
    let ground = some_of_all().await;
    for verify in [Verify::Lengths, Verify::Indexes, Verify::Bytes] {
        let report = ground.audit(verify).await;
        assert_eq!(report.differences, BTreeSet::new(), "{verify:?}");
        assert_eq!((report.objects, report.segments), (13, 13));
        assert_eq!((report.partitions, report.extents), (4, 14));
        assert_eq!((report.unsettled, report.in_flight), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_gone_is_told_with_what_it_held() {
    let ground = some_of_all().await;
    ground.delete(merged(1)).await;
    ground.delete(written(12)).await;
    // Nothing names this one.
    ground.delete(written(3)).await;
    let report = ground.audit(Verify::Bytes).await;
    let expected = [
        Difference::Missing {
            segment: written(12),
            lost: vec![part(0, 33, 36), part(1, 33, 36)],
        },
        Difference::Missing {
            segment: merged(1),
            lost: vec![part(0, 0, 18), part(1, 0, 18)],
        },
    ];
    assert_eq!(report.differences, BTreeSet::from(expected));
    assert_eq!(mend(&ground, &report).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_too_short_is_told_with_what_lies_beyond_its_end() {
    let ground = some_of_all().await;
    let whole = ground.get(written(8)).await;
    let first = batch(21, 3, None).to_bytes().len();
    ground
        .put(written(8), vec![whole.slice(..40 + first + 5)])
        .await;
    let report = ground.audit(Verify::Lengths).await;
    assert_eq!(kinds(&report), ["short"]);
    let short = report.differences.first().expect("one");
    assert_eq!(short.lost(), [part(1, 21, 24)]);
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(kinds(&report), ["short", "index"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_byte_is_found_wherever_it_is() {
    let ground = some_of_all().await;
    for name in [written(8), merged(1)] {
        let whole = ground.get(name).await;
        let mut places: Vec<usize> = (0..whole.len()).step_by(7).collect();
        places.push(whole.len() - 1);
        for at in places {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            ground.put(name, vec![bytes.into()]).await;
            let report = ground.audit(Verify::Bytes).await;
            assert_eq!(report.differences.len(), 1, "{name} at {at}: {report:?}");
            let found = report.differences.first().expect("one");
            assert_eq!(found.segment(), Some(name));
            let indexes = ground.audit(Verify::Indexes).await;
            match found {
                Difference::Index { .. } => assert_eq!(indexes.differences, report.differences),
                Difference::Extent { .. } => {
                    assert_eq!(indexes.differences, BTreeSet::new(), "it reads no batches");
                }
                other => panic!("{name} at {at}: {other:?}"),
            }
        }
        ground.put(name, vec![whole]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_under_the_name_of_another_one_is_found() {
    let ground = some_of_all().await;
    let other = ground.get(written(9)).await;
    ground.put(written(8), vec![other]).await;
    let report = ground.audit(Verify::Indexes).await;
    assert_eq!(kinds(&report), ["index"]);
}

#[tokio::test(start_paused = true)]
async fn extents_that_say_other_things_than_their_segment_are_found() {
    let ground = some_of_all().await;
    for (key, value) in ground.world.store.rows(KeyKind::Page) {
        let base = Keyspace::page_base(&key).expect("a good key");
        let page = PageRow::decode(base, value.clone()).expect("a good row");
        for at in 0..page.extents.len() {
            let mut wrong = page.clone();
            let crc = wrong.extents[at].crc32c.expect("a whole slice");
            wrong.extents[at].crc32c = Some(crc ^ 1);
            ground.write_row(key.clone(), Some(wrong.encode())).await;
            let report = ground.audit(Verify::Indexes).await;
            assert_eq!(kinds(&report), ["extent"]);
        }
        ground.write_row(key, Some(value)).await;
    }
    assert_eq!(kinds(&ground.audit(Verify::Bytes).await), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn orphans_go_and_what_may_be_committed_yet_stays() {
    let ground = some_of_all().await;
    let strange = |incarnation, sequence| {
        let at = (
            tidelog_types::Incarnation::new(incarnation),
            tidelog_types::SegmentSequence::new(sequence),
        );
        tidelog_types::SegmentName::new(at.0, at.1)
    };
    // Of writers that live, and of one that there never was.
    let in_flight = [written(13), merged(9)];
    let orphan = strange(900, 5);
    for name in in_flight.into_iter().chain([orphan]) {
        ground.put(name, vec![Bytes::from_static(b"abc")]).await;
    }
    let report = ground.audit(Verify::Indexes).await;
    assert_eq!(kinds(&report), ["orphan"]);
    assert_eq!(report.in_flight, 2);
    let found = report.differences.first().and_then(Difference::segment);
    assert_eq!(found, Some(orphan));
    is_mended(&ground, &report).await;
    let after = ground.audit(Verify::Indexes).await;
    assert_eq!((after.objects, after.in_flight), (15, 2));
    // What was put a moment ago is none, by whatever clock.
    ground.put(orphan, vec![Bytes::from_static(b"abc")]).await;
    let options = AuditOptions {
        grace: std::time::Duration::from_secs(1 << 40),
        ..AuditOptions::default()
    };
    let young = ground.audit_of(&ground.world.store.memory, options).await;
    assert_eq!((kinds(&young).len(), young.in_flight), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn of_a_writer_that_no_row_knows_nothing_is_an_orphan_for_an_hour() {
    let ground = some_of_all().await;
    let name = tidelog_types::SegmentName::new(
        tidelog_types::Incarnation::new(3),
        tidelog_types::SegmentSequence::new(1),
    );
    ground.put(name, vec![Bytes::from_static(b"abc")]).await;
    let path = ground.layout.segment(MAIN, name);
    let put = ground.objects.head(&path).await.expect("it is there");
    let age = ground.world.clock.wall().as_millis() - put.last_modified.timestamp_millis();
    ground.world.clock.jump_wall(30 * 60_000 - age);
    let report = ground.audit(Verify::Lengths).await;
    assert_eq!((kinds(&report).len(), report.in_flight), (0, 1));
    ground.world.clock.jump_wall(31 * 60_000);
    let report = ground.audit(Verify::Lengths).await;
    assert_eq!(kinds(&report), ["orphan"]);
    // A restore begins, or a backup that needs it, while somebody looks at the report.
    let name = BackupName::new("b").expect("it is good");
    let objects: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&ground.objects);
    let backups = Backups::new(objects, ground.layout.clone(), CLUSTER);
    let path = ground.layout.backup(&name, tidelog_blob::BackupPart::Begin);
    let taken = backups
        .take(
            &ground.world.store.memory,
            &ground.env,
            &name,
            TakeOptions::default(),
        )
        .await;
    taken.expect("the store answers");
    let begun = ground.objects.get(&path).await.expect("it is there");
    let begun = begun.bytes().await.expect("memory");
    assert!(backups.delete(&name).await.expect("memory"));
    ground
        .objects
        .put(&path, begun.into())
        .await
        .expect("memory");
    assert_eq!(mend(&ground, &report).await, 0, "a backup has begun");
    assert!(backups.delete(&name).await.expect("memory"));
    let row = restore_row();
    ground.write_row(KEYS.restore(), Some(row.encode())).await;
    let refused = mend_orphans(&orphans_of(&ground), &report.differences).await;
    assert!(matches!(refused, Err(MendError::Restored)), "{refused:?}");
    ground.write_row(KEYS.restore(), None).await;
    is_mended(&ground, &report).await;
}

fn restore_row() -> tidelog_metadata::keyspace::RestoreRow {
    tidelog_metadata::keyspace::RestoreRow {
        state: tidelog_metadata::keyspace::RestoreState::Pending,
        nonce: [1; 16],
        step: 1,
        generation: tidelog_types::ClusterGeneration::new(2),
        first_incarnation: MERGER,
        begun_at: Timestamp::from_millis(1),
        backup: "b".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_tail_has_of_a_topic_that_is_gone_counts_nothing() {
    // Nothing is merged, and no checkpoint is written.
    let ground = Ground::new(u32::MAX).await;
    ground.fill(1..=6).await;
    ground.world.clock.jump_wall(1 << 42);
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(report.differences, BTreeSet::new());
    // As a purge leaves it: no rows of the topic, and no live bytes.
    for kind in [KeyKind::Topic, KeyKind::Partition, KeyKind::Page] {
        for (key, _) in ground.world.store.rows(kind) {
            ground.write_row(key, None).await;
        }
    }
    for (key, _) in ground.world.store.rows(KeyKind::LiveBytes) {
        let row = LiveBytesRow::committed(0);
        ground.write_row(key, Some(row.encode())).await;
    }
    for sequence in 1..=6 {
        let key = KEYS.dying(written(sequence));
        let row = DyingRow::default().encode();
        ground.write_row(key, Some(row)).await;
    }
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(report.differences, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn while_a_restore_waits_nothing_is_an_orphan() {
    let ground = some_of_all().await;
    let lost = merged(1 << 30);
    ground.put(lost, vec![Bytes::from_static(b"abc")]).await;
    let row = restore_row();
    ground.write_row(KEYS.restore(), Some(row.encode())).await;
    let report = ground.audit(Verify::Indexes).await;
    assert_eq!((kinds(&report).len(), report.kept), (0, 1));
    assert_eq!(report.restored.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn live_bytes_are_those_that_extents_name_or_become_so() {
    let ground = some_of_all().await;
    for (name, row) in [
        (written(8), Some(LiveBytesRow::committed(5))),
        (written(8), None),
        (written(12), Some(LiveBytesRow::committed(1 << 40))),
        (merged(1), Some(LiveBytesRow::committed(0))),
        (merged(1), None),
        // Nothing of it is named any more.
        (written(2), Some(LiveBytesRow::committed(5))),
    ] {
        let key = KEYS.live_bytes(name, SHARD);
        ground.write_row(key, row.map(|row| row.encode())).await;
        let report = ground.audit(Verify::Indexes).await;
        let found = report.differences.iter().collect::<Vec<_>>();
        let [
            Difference::LiveBytes {
                segment, stored, ..
            },
        ] = found[..]
        else {
            panic!("{found:?}");
        };
        assert_eq!((*segment, *stored), (name, row.map(|row| row.bytes)));
        is_mended(&ground, &report).await;
    }
    // A shard that has nothing of it.
    let key = KEYS.live_bytes(written(8), ShardId::new(5));
    let row = LiveBytesRow::committed(7);
    ground.write_row(key, Some(row.encode())).await;
    let report = ground.audit(Verify::Indexes).await;
    assert_eq!(kinds(&report), ["live-bytes"]);
    is_mended(&ground, &report).await;
}

#[tokio::test(start_paused = true)]
async fn rows_that_have_changed_since_are_left_alone() {
    let ground = some_of_all().await;
    let key = KEYS.live_bytes(written(8), SHARD);
    let row = |bytes| Some(LiveBytesRow::committed(bytes).encode());
    ground.write_row(key.clone(), row(5)).await;
    let report = ground.audit(Verify::Indexes).await;
    ground.write_row(key, row(6)).await;
    let mended = mend_rows(&ground.world.store, &ground.env, &report.differences).await;
    let mended = mended.expect("memory");
    assert_eq!((mended.mended.len(), mended.changed.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_segment_that_nobody_looks_at_is_found() {
    let ground = some_of_all().await;
    let key = KEYS.dying(written(3));
    ground.write_row(key.clone(), None).await;
    let report = ground.audit(Verify::Indexes).await;
    let forgotten = Difference::Forgotten {
        segment: written(3),
    };
    assert_eq!(report.differences, BTreeSet::from([forgotten]));
    is_mended(&ground, &report).await;
    let rows = ground.world.store.rows(KeyKind::Dying);
    let row = rows.iter().find(|(at, _)| *at == key).expect("it is back");
    assert_eq!(row.1, DyingRow::default().encode());
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_gone_is_a_hole() {
    let ground = some_of_all().await;
    let pages = ground.world.store.rows(KeyKind::Page);
    for (key, value) in pages {
        let base = Keyspace::page_base(&key).expect("a good key");
        let page = PageRow::decode(base, value.clone()).expect("a good row");
        ground.write_row(key.clone(), None).await;
        let report = ground.audit(Verify::Indexes).await;
        let holes: Vec<&Difference> = report
            .differences
            .iter()
            .filter(|found| found.kind() == "hole")
            .collect();
        let offsets = page.offsets().expect("it has extents");
        let partition = Keyspace::partition_of(&key).expect("a good key");
        let [hole] = holes[..] else {
            panic!("{holes:?}")
        };
        assert_eq!(hole.lost(), [Part { partition, offsets }]);
        ground
            .write_row(key.clone(), Some(Bytes::from_static(b"\x02")))
            .await;
        let report = ground.audit(Verify::Indexes).await;
        assert!(kinds(&report).contains(&"row"), "{report:?}");
        ground.write_row(key, Some(value)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_part_of_the_cluster_has_put_is_told() {
    let ground = some_of_all().await;
    let root = ground.layout.root().clone();
    let segments = ground.layout.segments_root(MAIN);
    for path in [
        root.clone().join("stranger"),
        root.clone().join("folder").join("stranger"),
        segments.clone().join("stranger"),
        segments.join("00").join("x").join("y"),
    ] {
        let payload = Bytes::from_static(b"abc").into();
        ground.objects.put(&path, payload).await.expect("memory");
        let report = ground.audit(Verify::Indexes).await;
        let expected = Difference::Unknown {
            path: path.to_string(),
            bytes: 3,
        };
        assert_eq!(report.differences, BTreeSet::from([expected]));
        ground.objects.delete(&path).await.expect("memory");
    }
}

#[tokio::test(start_paused = true)]
async fn with_little_memory_the_same_is_found_in_parts() {
    let ground = some_of_all().await;
    ground.delete(written(8)).await;
    ground.delete(merged(1)).await;
    let orphan = tidelog_types::SegmentName::new(
        tidelog_types::Incarnation::new(900),
        tidelog_types::SegmentSequence::new(1),
    );
    ground.put(orphan, vec![Bytes::from_static(b"abc")]).await;
    let all = ground.audit(Verify::Bytes).await;
    let options = AuditOptions {
        entries_max: 10,
        verify: Verify::Bytes,
        grace: std::time::Duration::ZERO,
        ..AuditOptions::default()
    };
    let parts = ground.audit_of(&ground.world.store.memory, options).await;
    assert_eq!(parts.differences, all.differences);
    assert_eq!(all.differences.len(), 3);
    assert_eq!((parts.objects, parts.segments), (all.objects, all.segments));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_mended_by_a_picture_with_holes() {
    let ground = some_of_all().await;
    // Whatever the damaged page names seems to be named by nothing.
    let pages = ground.world.store.rows(KeyKind::Page);
    let (key, _) = pages.first().expect("there are pages");
    ground
        .write_row(key.clone(), Some(Bytes::from_static(&[255])))
        .await;
    let report = ground.audit(Verify::Indexes).await;
    let found = kinds(&report);
    assert!(
        found.contains(&"row") && found.contains(&"live-bytes"),
        "{found:?}"
    );
    let mut differences = report.differences.clone();
    differences.insert(Difference::Orphan {
        segment: merged(99),
        bytes: 1,
        modified: Timestamp::from_millis(0),
        pinned: false,
    });
    let rows = mend_rows(&ground.world.store, &ground.env, &differences).await;
    assert!(matches!(rows, Err(MendError::Incomplete)), "{rows:?}");
    let orphans = mend_orphans(&orphans_of(&ground), &differences).await;
    assert!(matches!(orphans, Err(MendError::Incomplete)), "{orphans:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_of_another_cluster_or_without_any_makes_no_orphans() {
    for key in [KEYS.cluster(), KEYS.counter(Counter::Incarnation)] {
        let ground = some_of_all().await;
        ground.write_row(key, None).await;
        let audited = ground
            .try_audit(&ground.world.store.memory, AuditOptions::default())
            .await;
        assert!(matches!(audited, Err(AuditError::Foreign)), "{audited:?}");
    }
}
