//! A store is lost, and made anew from a backup and the merged segments that are newer: what was merged is there at its
//! offsets, byte for byte, and nothing else is.

mod alone;
mod compacted;
mod cut;
mod going_on;
mod histories;
mod newer;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::{BackupName, MAIN};
use tidelog_env::Clock as _;
use tidelog_format::batch::BatchView;
use tidelog_format::segment::{MergedWriter, NewSlice};
use tidelog_metadata::OpenError;
use tidelog_metadata::audit::{AuditOptions, Verify};
use tidelog_metadata::backup::{Backups, TakeOptions, accept_restore};
use tidelog_metadata::keyspace::{AbortedRow, KeyKind, Keyspace};
use tidelog_metadata::rebuild::{Gaps, RebuildError, RebuildOptions, Rebuilt};
use tidelog_metadata_api::{Catalogue as _, Log as _, LookupRequest, NewTopic, TopicSelector};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{Offset, OffsetRange, SegmentSequence, TopicName, TopicPartition};

use crate::audit::ground::{CLUSTER, Ground, batch, identity, merged, written};
use crate::world::{PARTITIONS, Process, World, partition};

/// The batches of a partition as readers get them, by offset.
type Contents = BTreeMap<u64, Bytes>;

fn backups(ground: &Ground) -> Backups {
    let objects: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&ground.objects);
    Backups::new(objects, ground.layout.clone(), CLUSTER)
}

async fn back_up(ground: &Ground, name: &str) {
    let name = BackupName::new(name).expect("it is good");
    let (source, options) = (&ground.world.store.memory, TakeOptions::default());
    let taken = backups(ground)
        .take(source, &ground.env, &name, options)
        .await;
    taken.expect("the store answers");
}

/// Loses the store, and makes another one.
async fn try_rebuild(
    ground: &Ground,
    name: &str,
    gaps: Gaps,
) -> Result<(MemoryStore, Rebuilt), RebuildError> {
    let store = MemoryStore::new();
    let rebuilt = rebuild_into(ground, &store, name, gaps, false).await?;
    Ok((store, rebuilt))
}

/// The same with what was not merged behind it.
async fn append_newer(ground: &Ground) -> (MemoryStore, Rebuilt) {
    let store = MemoryStore::new();
    let rebuilt = rebuild_into(ground, &store, "b", Gaps::KeepOlder, true).await;
    (store, rebuilt.expect("it is whole"))
}

async fn rebuild_into(
    ground: &Ground,
    store: &MemoryStore,
    name: &str,
    gaps: Gaps,
    append_newer: bool,
) -> Result<Rebuilt, RebuildError> {
    // None has no name.
    let name = BackupName::new(name).ok();
    let options = RebuildOptions {
        env: &ground.env,
        store: Arc::new(store.clone()),
        objects: Arc::<InMemory>::clone(&ground.objects),
        layout: ground.layout.clone(),
        cluster: CLUSTER,
        name: name.as_ref(),
        shards: 1,
        wipe: false,
        watch: Duration::ZERO,
        gaps,
        append_newer,
        reads_at_once: 3,
    };
    backups(ground).rebuild(&options).await
}

/// Puts a merged segment that has this part of a partition, of batches that `made` leaves of those that there are.
async fn put_part(
    ground: &Ground,
    sequence: u64,
    of: TopicPartition,
    offsets: std::ops::Range<u64>,
    made: impl Fn(Bytes) -> Bytes,
) {
    let topic = ground.topic().await;
    let info = &topic.partitions[of.partition.get() as usize];
    let (_, contents) = contents(ground, &ground.process, of).await;
    let batches = contents.range(offsets.clone());
    let batches: Vec<Bytes> = batches.map(|(_, batch)| made(batch.clone())).collect();
    let mut writer = MergedWriter::new(info.shard, ground.world.clock.wall());
    let slice = NewSlice {
        topic_id: topic.id,
        topic_name: topic.name.clone(),
        partition_count: PARTITIONS,
        partition: of,
        offsets: OffsetRange {
            base: Offset::new(offsets.start),
            next: Offset::new(offsets.end),
        },
    };
    writer.push(slice, &batches).expect("it fits");
    let name = merged(sequence);
    let sealed = writer.seal(&identity(MAIN, name)).expect("it has a slice");
    ground.put(name, sealed.chunks).await;
}

/// The bytes that readers get of a partition.
async fn contents(ground: &Ground, process: &Process, of: TopicPartition) -> (u64, Contents) {
    let bounds = process.bounds_of(of).await;
    let mut contents = Contents::new();
    let mut offset = bounds.log_start;
    while offset < bounds.high_watermark {
        let request = LookupRequest {
            partition: of,
            offset,
            bytes_max: u64::MAX,
            extents_max: 100,
        };
        let answer = process.lookup(request).await.expect("in bounds");
        assert!(!answer.extents.is_empty(), "there is a hole at {offset}");
        for extent in answer.extents {
            assert!(extent.offsets.base <= offset, "there is a hole at {offset}");
            offset = extent.offsets.next;
            for view in BatchView::all(ground.bytes_of(&extent).await) {
                let view = view.expect("a batch");
                let base = u64::try_from(view.header().base_offset).expect("an offset");
                let (head, body) = view.at_offset(Offset::new(base));
                contents.insert(base, [head, body].concat().into());
            }
        }
    }
    (bounds.high_watermark.get(), contents)
}

/// What was aborted in a partition, by the offsets of markers.
fn aborted(store: &MemoryStore, of: TopicPartition) -> BTreeMap<u64, (i64, u64, u64)> {
    let rows = store.dump().into_iter();
    let rows = rows.filter(|(key, _)| key.get(4) == Some(&(KeyKind::Aborted as u8)));
    let rows = rows.filter(|(key, _)| Keyspace::partition_of(key) == Some(of));
    let rows = rows.map(|(key, value)| {
        let row = AbortedRow::decode(value).expect("a good row");
        let at = Keyspace::aborted_marker(&key).expect("a good key").get();
        (
            at,
            (row.producer.get(), row.first.get(), row.last_stable.get()),
        )
    });
    rows.collect()
}

async fn open(store: &MemoryStore) -> (World, Process) {
    let world = World::on(store.clone());
    let process = world.open().await;
    (world, process)
}

/// Bucket and metadata agree.
async fn is_whole(ground: &Ground, store: &MemoryStore) {
    let options = AuditOptions {
        verify: Verify::Bytes,
        grace: Duration::ZERO,
        ..AuditOptions::default()
    };
    let report = ground.audit_of(store, options).await;
    assert_eq!(report.differences, BTreeSet::new());
    assert!(report.restored.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_merged_after_the_backup_is_there_at_its_offsets() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    back_up(&ground, "b").await;
    ground.fill(4..=6).await;
    // Of what the backup has and of what it has not.
    ground.merge(1).await;
    ground.fill(7..=9).await;
    ground.merge(2).await;
    let (end, before) = contents(&ground, &ground.process, partition(1)).await;
    ground.fill(10..=11).await;
    let (store, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    assert_eq!((rebuilt.merged, rebuilt.unreadable.len()), (2, 0));
    let told: Vec<_> = rebuilt
        .partitions
        .iter()
        .map(|told| (told.partition, told.next.base.get(), told.next.next.get()))
        .collect();
    assert_eq!(told, [(partition(0), 9, end), (partition(1), 9, end)]);
    // Those that were merged meanwhile are still there, too.
    let unmerged = rebuilt.unmerged.segments;
    assert_eq!(unmerged, (4..=11).map(written).collect::<Vec<_>>());
    is_whole(&ground, &store).await;
    let (world, process) = open(&store).await;
    for index in 0..2 {
        let (next, after) = contents(&ground, &process, partition(index)).await;
        assert_eq!(next, end);
        if index == 1 {
            assert_eq!(after, before);
        }
    }
    // It goes on, and old writers have ended.
    let late = ground.put_written(12, &[(0, batch(0, 1, None))]).await;
    assert!(process.send(late).await.is_err(), "its writer is of before");
    let accepted = accept_restore(&world.store, &ground.env).await;
    accepted.expect("it is pending");
}

#[tokio::test(start_paused = true)]
async fn topics_and_partitions_that_are_newer_than_the_backup_come_back() {
    let ground = Ground::new(1).await;
    back_up(&ground, "b").await;
    let new = NewTopic {
        name: TopicName::new("new").expect("it is good"),
        partitions: 2,
        config: BTreeMap::new(),
        validate_only: false,
    };
    ground.process.create_topic(new).await.expect("a new name");
    let name = TopicSelector::Name(TopicName::new("new").expect("it is good"));
    let topic = ground.process.topic(&name).await.expect("it is there");
    let at = TopicPartition::new(topic.number, tidelog_types::PartitionIndex::new(1));
    let mut writer = tidelog_format::segment::SegmentWriter::new();
    let shard = topic.partitions[1].shard;
    writer
        .push(topic.id, at, shard, batch(0, 5, None))
        .expect("it is good");
    ground.commit(1, &writer).await;
    ground.fill(2..=2).await;
    ground.merge(1).await;
    let (end, before) = contents(&ground, &ground.process, at).await;
    assert_eq!(end, 5);
    let (store, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    assert_eq!(rebuilt.topics, [TopicName::new("new").expect("it is good")]);
    is_whole(&ground, &store).await;
    let (_world, process) = open(&store).await;
    assert_eq!(contents(&ground, &process, at).await, (5, before));
    assert_eq!(process.high_watermark(partition(0)).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_and_filled_by_nobody() {
    let ground = Ground::new(1).await;
    ground.fill(1..=2).await;
    back_up(&ground, "b").await;
    ground.fill(3..=4).await;
    ground.merge(1).await;
    ground.fill(5..=6).await;
    ground.merge(2).await;
    ground.delete(merged(1)).await;
    let refused = try_rebuild(&ground, "b", Gaps::Refuse).await;
    assert!(
        matches!(refused, Err(RebuildError::Gap { .. })),
        "{refused:?}"
    );
    nobody_opens_what_is_rebuilt_by_half(&ground).await;
    for (gaps, start, next) in [(Gaps::KeepOlder, 0, 6), (Gaps::KeepNewer, 12, 18)] {
        let (store, rebuilt) = try_rebuild(&ground, "b", gaps).await.expect("it is said");
        let has_left = rebuilt.partitions.iter().all(|told| !told.left.is_empty());
        assert_eq!(has_left, gaps == Gaps::KeepOlder);
        is_whole(&ground, &store).await;
        let (_world, process) = open(&store).await;
        let bounds = process.bounds_of(partition(0)).await;
        let found = (bounds.log_start.get(), bounds.high_watermark.get());
        assert_eq!(found, (start, next), "{gaps:?}");
        contents(&ground, &process, partition(0)).await;
    }
}

/// Until it has ended well, also if it has failed and nobody has come back to it yet.
async fn nobody_opens_what_is_rebuilt_by_half(ground: &Ground) {
    let store = MemoryStore::new();
    let refused = rebuild_into(ground, &store, "b", Gaps::Refuse, false).await;
    assert!(refused.is_err());
    let world = World::on(store.clone());
    let opened = world.try_open_on(&world.store).await;
    assert!(
        matches!(opened, Err(OpenError::HalfRestored { .. })),
        "{opened:?}"
    );
    // It goes on from there, without a word that rows may go.
    let rebuilt = rebuild_into(ground, &store, "b", Gaps::KeepOlder, false).await;
    rebuilt.expect("it was interrupted");
    open(&store).await;
}

#[tokio::test(start_paused = true)]
async fn damage_and_other_generations_are_refused() {
    let ground = Ground::new(1).await;
    ground.fill(1..=2).await;
    back_up(&ground, "b").await;
    ground.fill(3..=4).await;
    ground.merge(1).await;
    let whole = ground.get(merged(1)).await;
    let mut damaged = whole.to_vec();
    damaged[60] ^= 1;
    ground.put(merged(1), vec![damaged.into()]).await;
    let refused = try_rebuild(&ground, "b", Gaps::Refuse).await;
    assert!(
        matches!(refused, Err(RebuildError::Damaged { .. })),
        "{refused:?}"
    );
    // Its index cannot be read: then it is as if it was not there, and told.
    let cut = whole.slice(..whole.len() - 1);
    ground.put(merged(1), vec![cut]).await;
    let (_, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is told");
    assert_eq!(rebuilt.unreadable.len(), 1);
    ground.put(merged(1), vec![whole]).await;
    let later = tidelog_types::SegmentName::new(
        tidelog_types::Incarnation::new((1 << 32) + 7),
        SegmentSequence::new(1),
    );
    ground.put(later, vec![Bytes::from_static(b"abc")]).await;
    let refused = try_rebuild(&ground, "b", Gaps::Refuse).await;
    assert!(
        matches!(refused, Err(RebuildError::Generation { .. })),
        "{refused:?}"
    );
}
