//! A store is lost, and made anew from a backup and the merged segments that are newer: what was merged is there at its
//! offsets, byte for byte, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_blob::BackupName;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_env::{Rng as _, SeededRng};
use tidelog_format::batch::{BatchView, ProducerStamp};
use tidelog_metadata::audit::{AuditOptions, Verify};
use tidelog_metadata::backup::{Backups, RestoreOptions, TakeOptions, accept_restore};
use tidelog_metadata::keyspace::{AbortedRow, KeyKind, Keyspace};
use tidelog_metadata::rebuild::{Gaps, RebuildError, RebuildOptions, Rebuilt};
use tidelog_metadata_api::{
    Catalogue as _, Decision, Log as _, LookupRequest, Merges as _, NewTopic, TopicSelector,
};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{
    Offset, ProducerEpoch, ProducerId, SegmentSequence, TopicName, TopicPartition,
};

use crate::audit::ground::{CLUSTER, Ground, batch, merged, written};
use crate::transactions::end;
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
    let options = RebuildOptions {
        env: &ground.env,
        store: Arc::new(store.clone()),
        objects: Arc::<InMemory>::clone(&ground.objects),
        layout: ground.layout.clone(),
        cluster: CLUSTER,
        name: &BackupName::new(name).expect("it is good"),
        wipe: false,
        watch: Duration::ZERO,
        gaps,
        reads_at_once: 3,
    };
    let rebuilt = backups(ground).rebuild(&options).await?;
    Ok((store, rebuilt))
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

/// What a random history knows of itself.
#[derive(Default)]
struct Clients {
    sequences: BTreeMap<(u32, i64), i32>,
    /// The transaction of each producer, and where it has left something.
    open: BTreeMap<i64, BTreeSet<u32>>,
    numbers: BTreeMap<i64, u64>,
    records: u64,
    segments: u64,
    merges: u64,
}

struct Chance(SeededRng);

impl Chance {
    fn below(&self, end: u64) -> u64 {
        let bytes = self.0.bytes_16();
        u64::from_be_bytes(bytes[..8].try_into().expect("it is good")) % end
    }
}

impl Clients {
    async fn append(&mut self, ground: &Ground, chance: &Chance) {
        self.segments += 1;
        let mut batches = Vec::new();
        for _ in 0..=chance.below(3) {
            let index = u32::try_from(chance.below(u64::from(PARTITIONS))).expect("it is good");
            let records = 1 + chance.below(3);
            // Half of them in transactions, some of producers without one.
            let producer = i64::try_from(chance.below(6)).expect("it is good");
            let first = self.records;
            self.records += records;
            if producer >= 4 {
                batches.push((index, batch(first, records, None), None));
                continue;
            }
            let transactional = producer < 3;
            let sequence = self.sequences.entry((index, producer)).or_default();
            let stamp = ProducerStamp {
                id: ProducerId::new(producer),
                epoch: ProducerEpoch::new(0),
                base_sequence: *sequence,
                transactional,
            };
            *sequence += i32::try_from(records).expect("it is good");
            let number = transactional.then(|| {
                let number = self.numbers.entry(producer).or_insert(1);
                self.open.entry(producer).or_default().insert(index);
                *number
            });
            batches.push((index, batch(first, records, Some(stamp)), number));
        }
        let commit = ground.put_numbered(self.segments, &batches).await;
        ground.process.send_until_answered(&commit).await;
    }

    async fn end(&mut self, ground: &Ground, chance: &Chance) {
        let Some((producer, partitions)) = self.open.pop_first() else {
            return;
        };
        let number = self.numbers.get_mut(&producer).expect("it is good");
        let decision = [Decision::Abort, Decision::Commit][usize::from(chance.below(2) == 1)];
        let markers = partitions.iter();
        let markers = markers.map(|index| end(partition(*index), producer, *number, decision));
        let ended = ground.process.service.end_transactions(markers.collect());
        assert!(ended.await.iter().all(Result::is_ok));
        *number += 1;
    }

    async fn merge(&mut self, ground: &Ground, chance: &Chance) {
        let Some(task) = ground.task().await else {
            return;
        };
        self.merges += 1;
        // Its swap is lost: what it was to be made of stays, and it is in the bucket, too.
        if chance.below(4) == 0 {
            ground.put_merged(self.merges, &task).await;
            let finished = ground.process.finish(task.id).await;
            finished.expect("nothing fails");
            return;
        }
        ground.make(self.merges, &task).await;
    }
}

/// A history, the loss of the store somewhere in it, and what comes of a rebuild.
async fn lost_and_rebuilt(seed: u64) {
    let chance = Chance(SeededRng::new(seed));
    let ground = Ground::new(1 + u32::try_from(chance.below(4)).expect("it is good")).await;
    let mut clients = Clients::default();
    let steps = 10 + chance.below(30);
    let backup = chance.below(steps);
    for step in 0..steps {
        if step == backup {
            back_up(&ground, "b").await;
        }
        match chance.below(10) {
            0..=5 => clients.append(&ground, &chance).await,
            6..=7 => clients.end(&ground, &chance).await,
            _ => clients.merge(&ground, &chance).await,
        }
    }
    let had = ends_in_backup(&ground).await;
    let (store, rebuilt) = match try_rebuild(&ground, "b", Gaps::KeepOlder).await {
        Ok(rebuilt) => rebuilt,
        Err(error) => panic!("seed {seed}: {error:?}"),
    };
    is_whole(&ground, &store).await;
    let original = &ground.world.store.memory;
    let (_world, process) = open(&store).await;
    for index in 0..PARTITIONS {
        let at = partition(index);
        let told = rebuilt.partitions.iter().find(|told| told.partition == at);
        let markers = told.map_or(0, |told| told.aborted);
        let (_, before) = contents(&ground, &ground.process, at).await;
        let (next, mut after) = contents(&ground, &process, at).await;
        let end = next - markers;
        assert!(
            end >= had[&index],
            "seed {seed}: {index} has lost what the backup had"
        );
        after.retain(|base, _| *base < end);
        let mut same = before.clone();
        same.retain(|base, _| *base < end);
        assert_eq!(after, same, "seed {seed}: {index} up to {end}");
        // What was aborted before is, and what nobody has ended is now.
        let mut known = aborted(original, at);
        known.retain(|marker, _| *marker < end);
        let mut found = aborted(&store, at);
        let new = found.split_off(&end);
        let short = |all: &BTreeMap<u64, (i64, u64, u64)>| -> Vec<_> {
            all.iter()
                .map(|(at, (producer, first, _))| (*at, *producer, *first))
                .collect()
        };
        assert_eq!(short(&found), short(&known), "seed {seed}: {index}");
        assert_eq!(new.len() as u64, markers, "seed {seed}: {index}");
        // All that was merged without a gap is there.
        let frontier = merged_up_to(&ground, at, had[&index]).await;
        assert!(
            end >= frontier,
            "seed {seed}: {index} ends at {end}, not at {frontier}"
        );
    }
}

/// Where each partition ends in the backup.
async fn ends_in_backup(ground: &Ground) -> BTreeMap<u32, u64> {
    let store = MemoryStore::new();
    let options = RestoreOptions {
        env: &ground.env,
        store: &store,
        name: &BackupName::new("b").expect("it is good"),
        wipe: false,
        watch: Duration::ZERO,
    };
    // It takes a generation of its own, which nobody uses.
    backups(ground)
        .restore(&options)
        .await
        .expect("it is whole");
    let (_world, process) = open(&store).await;
    let mut ends = BTreeMap::new();
    for index in 0..PARTITIONS {
        ends.insert(index, process.high_watermark(partition(index)).await);
    }
    ends
}

/// Up to where a partition is merged from an offset on, as its pages have it.
async fn merged_up_to(ground: &Ground, of: TopicPartition, from: u64) -> u64 {
    let bounds = ground.process.bounds_of(of).await;
    let mut at = from.max(bounds.log_start.get());
    while at < bounds.high_watermark.get() {
        let request = LookupRequest {
            partition: of,
            offset: Offset::new(at),
            bytes_max: 1,
            extents_max: 1,
        };
        let answer = ground.process.lookup(request).await.expect("in bounds");
        let extent = answer.extents.first().expect("one");
        let is_merged = matches!(extent.location, tidelog_format::location::Location::Segment { segment, .. } if segment.incarnation == merged(1).incarnation);
        if !is_merged {
            break;
        }
        at = extent.offsets.next.get();
    }
    at
}

#[tokio::test(start_paused = true)]
async fn whatever_has_happened_what_was_merged_is_there() {
    for seed in 0..60 {
        Box::pin(lost_and_rebuilt(seed)).await;
    }
}
