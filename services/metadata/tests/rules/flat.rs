//! Objects and rows stay flat while a log is written for days: a bucket of which only names and sizes are known, a stand-in
//! for the janitor, and everything else as it is.
#![expect(clippy::cast_precision_loss, reason = "rates for people to read")]

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_format::location::Location;
use tidelog_format::manifest::BatchEntry;
use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{KeyKind, PageRow};
use tidelog_metadata_api::{
    Catalogue as _, Extent, JanitorWork as _, Log as _, MergeRun, MergeTask, MergedRun,
    Merges as _, NewTopic,
};
use tidelog_types::limits::MERGED_EXTENT_BYTES;
use tidelog_types::{
    Incarnation, Offset, OffsetRange, PartitionIndex, SegmentName, SegmentSequence, TopicName,
    TopicNumber, TopicPartition,
};

use crate::manifests::{name, plain, segment};
use crate::merge::now;
use crate::world::{Process, World, settings};

const GIB: f64 = (1 << 30) as f64;
const JANITOR: Incarnation = Incarnation::new(77);

/// What is written, and for how long it is kept.
struct Load {
    bytes: u64,
    segment: u64,
    partitions: u32,
    hours: u64,
    kept: Duration,
}

/// Names and sizes.
#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<SegmentName, u64>,
    bytes: u64,
    /// Bytes of merged segments that were put.
    merged: u64,
    next: u64,
}

impl Bucket {
    fn put(&mut self, name: SegmentName, bytes: u64) {
        assert_eq!(self.objects.insert(name, bytes), None, "{name:?} is there");
        self.bytes += bytes;
    }

    fn delete(&mut self, name: SegmentName) {
        let bytes = self.objects.remove(&name);
        self.bytes -= bytes.expect("what is deleted was there");
    }

    /// Merges without a byte, as a janitor cuts extents.
    async fn merge(&mut self, process: &Process, task: MergeTask) {
        self.next += 1;
        let segment = SegmentName::new(JANITOR, SegmentSequence::new(self.next));
        let mut position = 40;
        let runs: Vec<MergedRun> = task
            .runs
            .iter()
            .map(|run| self.run(segment, run, &mut position))
            .collect();
        self.put(segment, u64::from(position));
        self.merged += u64::from(position);
        for some in runs.chunks(64) {
            let swapped = process.swap(task.id, segment, some.to_vec()).await;
            swapped.expect("nothing fails");
        }
        process.finish(task.id).await.expect("nothing fails");
        let done = SegmentSequence::new(self.next + 1);
        let raised = process.raise_floor(JANITOR, done).await;
        raised.expect("nothing fails");
    }

    fn run(&self, segment: SegmentName, run: &MergeRun, position: &mut u32) -> MergedRun {
        let mut extents: Vec<Extent> = Vec::new();
        for old in &run.extents {
            let Location::Segment {
                bucket,
                segment: from,
                length: bytes,
                ..
            } = old.location
            else {
                panic!("{old:?} has no bytes");
            };
            assert!(self.objects.contains_key(&from), "{from:?} is not there");
            match extents.last_mut() {
                Some(Extent {
                    offsets,
                    location: Location::Segment { length, .. },
                    max_timestamp,
                    ..
                }) if *length + bytes <= MERGED_EXTENT_BYTES => {
                    *length += bytes;
                    offsets.next = old.offsets.next;
                    *max_timestamp = old.max_timestamp.max(*max_timestamp);
                }
                _ => extents.push(Extent {
                    offsets: OffsetRange { ..old.offsets },
                    location: Location::Segment {
                        bucket,
                        segment,
                        position: *position,
                        length: bytes,
                    },
                    crc32c: Some(1),
                    max_timestamp: old.max_timestamp,
                }),
            }
            *position += bytes;
        }
        MergedRun {
            partition: run.partition,
            extents,
        }
    }
}

/// What there is at a time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    hours: u64,
    objects: usize,
    rows: usize,
    row_bytes: usize,
    extents: usize,
    /// Bytes in the bucket, and of them those that logs have.
    stored: u64,
    kept: u64,
    copied: f64,
}

impl Sample {
    fn print(&self) {
        let per_gib = |count: usize| count as f64 / (self.kept as f64 / GIB).max(0.001);
        println!(
            "{:>4} h: kept {:>6.2} GiB, stored {:>6.2} GiB; a GiB: {:>7.1} objects, {:>8.1} rows, {:>8.1} KiB of rows, {:>8.0} extents; \
             each byte merged {:.2} times",
            self.hours,
            self.kept as f64 / GIB,
            self.stored as f64 / GIB,
            per_gib(self.objects),
            per_gib(self.rows),
            per_gib(self.row_bytes) / 1_024.0,
            per_gib(self.extents),
            self.copied,
        );
    }
}

struct Simulation {
    world: World,
    process: Process,
    bucket: Bucket,
    load: Load,
    written: u64,
    topic: TopicNumber,
}

impl Simulation {
    async fn new(load: Load, growth: u64) -> Self {
        let mut settings = SequencerSettings {
            checkpoint_manifests: 2_000,
            ..settings(u32::MAX)
        };
        settings.merge.growth = growth;
        let world = World::with(settings);
        let process = world.open().await;
        let kept = load.kept.as_millis().to_string();
        let topic = NewTopic {
            name: TopicName::new("flat").expect("a good name"),
            partitions: load.partitions,
            config: BTreeMap::from([("retention.ms".to_owned(), kept)]),
            validate_only: false,
        };
        let topic = process.create_topic(topic).await.expect("it is new");
        Self {
            topic: topic.number,
            world,
            process,
            bucket: Bucket::default(),
            load,
            written: 0,
        }
    }

    fn partition(&self, index: u32) -> TopicPartition {
        TopicPartition::new(self.topic, PartitionIndex::new(index))
    }

    /// A segment that has something of each partition.
    async fn write(&mut self, sequence: u64) {
        let wall = tidelog_env::Clock::wall(&self.world.clock);
        let length = self.load.segment / u64::from(self.load.partitions);
        let batch = BatchEntry {
            length: u32::try_from(length).expect("small"),
            min_timestamp: wall,
            max_timestamp: wall,
            ..plain(10)
        };
        let mut draft = segment(sequence).done_below(sequence);
        for index in 0..self.load.partitions {
            draft = draft.slice(self.partition(index), &[batch]);
        }
        self.bucket.put(name(sequence), self.load.segment);
        self.written += length * u64::from(self.load.partitions);
        self.process.send_until_answered(&draft.done()).await;
    }

    async fn pass(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(15));
            left -= step;
            let millis = i64::try_from(step.as_millis()).expect("short");
            self.world.clock.jump_wall(millis);
            tokio::time::sleep(step).await;
        }
    }

    /// All that a janitor has to do now.
    async fn janitor(&mut self) {
        while let Some(task) = now(&self.process).await {
            self.bucket.merge(&self.process, task).await;
        }
        loop {
            let deletions = self.process.deletions().await.expect("nothing fails");
            if deletions.is_empty() {
                return;
            }
            for dead in &deletions.dead {
                self.bucket.delete(dead.segment);
            }
            let done = self.process.deleted(deletions, false).await;
            done.expect("nothing fails");
        }
    }

    async fn sample(&self, hours: u64) -> Sample {
        let rows = self.world.store.memory.dump();
        let pages = self.world.store.rows(KeyKind::Page);
        let extents = pages.into_iter().map(|(_, value)| {
            let page = PageRow::decode(Offset::ZERO, value).expect("a good row");
            page.extents.len()
        });
        let mut kept = 0;
        let length = self.load.segment / u64::from(self.load.partitions);
        for index in 0..self.load.partitions {
            let bounds = self.process.bounds_of(self.partition(index)).await;
            kept += (bounds.high_watermark.get() - bounds.log_start.get()) / 10 * length;
        }
        let sample = Sample {
            hours,
            objects: self.bucket.objects.len(),
            rows: rows.len(),
            row_bytes: rows
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum(),
            extents: extents.sum(),
            stored: self.bucket.bytes,
            kept,
            copied: self.bucket.merged as f64 / self.written as f64,
        };
        sample.print();
        sample
    }
}

/// Writes it all, with a sample every few hours.
fn simulate(load: Load, growth: u64, every: u64) -> Vec<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let segments = load.bytes / load.segment;
        let between = Duration::from_hours(load.hours) / u32::try_from(segments).expect("few");
        let mut simulation = Box::pin(Simulation::new(load, growth)).await;
        let mut samples = Vec::new();
        let mut time = Duration::ZERO;
        for sequence in 1..=segments {
            simulation.write(sequence).await;
            simulation.pass(between).await;
            time += between;
            simulation.janitor().await;
            let due = (samples.len() as u64 + 1) * every;
            if time >= Duration::from_hours(due) {
                samples.push(simulation.sample(due).await);
            }
        }
        samples
    })
}

/// A number of a sample.
type Number = fn(&Sample) -> f64;

/// Once the first records have gone, nothing grows any more.
fn assert_flat(samples: &[Sample], kept_hours: u64) {
    let full = samples
        .iter()
        .filter(|sample| sample.hours >= kept_hours * 3 / 2);
    let full: Vec<&Sample> = full.collect();
    assert!(full.len() >= 3, "there are samples");
    let numbers: [(&str, Number); 4] = [
        ("objects", |sample| sample.objects as f64),
        ("rows", |sample| sample.rows as f64),
        ("bytes of rows", |sample| sample.row_bytes as f64),
        ("stored bytes", |sample| sample.stored as f64),
    ];
    for (name, number) in numbers {
        let per_byte = |sample: &&Sample| number(sample) / sample.kept as f64;
        let (half, rest) = full.split_at(full.len() / 2);
        let most = |some: &[&Sample]| some.iter().map(per_byte).fold(0.0, f64::max);
        let (before, after) = (most(half), most(rest));
        assert!(
            after <= before * 1.15,
            "{name} a byte: {before}, then {after}"
        );
    }
    for sample in full {
        // What was merged stays for ten minutes, which are much of two hours.
        assert!(
            sample.stored as f64 <= 1.6 * sample.kept as f64,
            "what is stored beside the logs: {sample:?}"
        );
    }
}

/// Sizes that a test has time for; with `TIDELOG_FLAT=long` those of a day's retention of 100 GiB in four days, which
/// take minutes with optimization.
fn load() -> (Load, u64) {
    if std::env::var("TIDELOG_FLAT").is_ok_and(|size| size == "long") {
        let load = Load {
            bytes: 100 << 30,
            segment: 8 << 20,
            partitions: 1_000,
            hours: 96,
            kept: Duration::from_hours(24),
        };
        return (load, 4);
    }
    let load = Load {
        bytes: 512 << 20,
        segment: 256 << 10,
        partitions: 32,
        hours: 7,
        kept: Duration::from_hours(2),
    };
    (load, 1)
}

#[test]
fn objects_and_rows_stay_flat_while_records_come_and_go() {
    let (load, every) = load();
    let kept_hours = load.kept.as_secs() / 3_600;
    let samples = simulate(load, 8, every);
    assert_flat(&samples, kept_hours);
    let last = samples.last().expect("there are some");
    assert!(
        last.copied <= 4.0,
        "each byte was merged {} times",
        last.copied
    );
    // Merged once there are some 40,000 in a GiB.
    let most = last.kept / (64 << 10);
    assert!(last.extents as u64 <= most, "{last:?}");
}
