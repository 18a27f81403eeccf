//! Random histories, the loss of the store somewhere in them, and what comes of a rebuild.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelog_blob::BackupName;
use tidelog_env::{Rng as _, SeededRng};
use tidelog_format::batch::{BatchHeader, ProducerStamp};
use tidelog_metadata::backup::RestoreOptions;
use tidelog_metadata::rebuild::Gaps;
use tidelog_metadata_api::{Decision, Log as _, LookupRequest, Merges as _};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{Offset, ProducerEpoch, ProducerId, TopicPartition};

use super::{Contents, aborted, back_up, backups, contents, is_whole, open, rebuild_into};
use crate::audit::ground::{Ground, batch, merged};
use crate::transactions::end;
use crate::world::{PARTITIONS, partition};

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
    let appends = chance.below(2) == 0;
    let store = MemoryStore::new();
    let rebuilt = rebuild_into(&ground, &store, "b", Gaps::KeepOlder, appends).await;
    let rebuilt = rebuilt.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    is_whole(&ground, &store).await;
    let original = &ground.world.store.memory;
    let (_world, process) = open(&store).await;
    for index in 0..PARTITIONS {
        let at = partition(index);
        let told = rebuilt.partitions.iter().find(|told| told.partition == at);
        let markers = told.map_or(0, |told| told.aborted);
        let appended = told.map_or(0, |told| told.appended);
        let (_, before) = contents(&ground, &ground.process, at).await;
        let (next, mut after) = contents(&ground, &process, at).await;
        if appends {
            // Whatever was acknowledged outside of transactions is there, and once.
            assert_eq!(plain(&after), plain(&before), "seed {seed}: {index}");
        }
        let end = next - markers - appended;
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

/// The checksums of all batches that are of no transaction.
fn plain(contents: &Contents) -> Vec<u32> {
    let headers = contents
        .values()
        .map(|batch| BatchHeader::parse(batch).expect("a batch"));
    let plain = headers
        .filter(|header| !header.attributes.is_transactional() && !header.attributes.is_control());
    let mut plain: Vec<u32> = plain.map(|header| header.crc).collect();
    plain.sort_unstable();
    plain
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
