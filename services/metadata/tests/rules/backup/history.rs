//! Random histories that go on while a backup is taken page by page, against what they said.
//!
//! A seed names a history; a failure prints it.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use tidelog_env::{Rng as _, SeededRng};
use tidelog_metadata::backup::TakeOptions;
use tidelog_metadata_api::{Catalogue as _, Log as _, NewTopic, TopicSelector};
use tidelog_store::memory::MemoryStore;
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};
use tidelog_types::{Incarnation, Offset, ShardId, TopicName};
use tokio::sync::Mutex;

use super::Bucket;
use super::judge::{Said, Truth};
use crate::manifests::{plain, segment, sent, token};
use crate::world::{PARTITIONS, Process, World, partition, settings};

/// Histories in one run; each has its own seed.
const HISTORIES: u64 = 50;
/// Steps before the backup begins.
const STEPS: usize = 30;
/// Names that topics come and go under.
const NAMES: [&str; 2] = ["red", "blue"];

/// A cluster at work.
#[derive(Debug)]
struct History {
    rng: SeededRng,
    world: World,
    process: Process,
    shards: Vec<ShardId>,
    writer: Incarnation,
    sequence: u64,
    /// The next sequence of each producer in each partition.
    producers: HashMap<(u32, i64), i32>,
    truth: Truth,
}

impl History {
    async fn new(seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        let pick = |of: &[usize]| of[usize::try_from(rng.below(of.len() as u64)).unwrap_or(0)];
        let mut world = World::seeded(seed * 1_000 + 1);
        world.shards = 2;
        world.settings = settings([1, 3, u32::MAX][pick(&[0, 1, 2])]);
        world.settings.producers_in_memory = pick(&[0, 100_000]);
        world.settings.partitions_in_memory = pick(&[0, 100_000]);
        world.settings.extent_bytes = pick(&[0, 2_000, 16 << 20]);
        world.settings.floor_step = pick(&[1, 1_000]) as u64;
        let process = world.open().await;
        let log = TopicSelector::Number(partition(0).topic);
        let log = process.topic(&log).await.expect("it was created");
        let shards = log.partitions.iter().map(|info| info.shard).collect();
        let writer = process.register_writer().await.expect("the store answers");
        Self {
            rng,
            world,
            process,
            shards,
            writer,
            sequence: 0,
            producers: HashMap::new(),
            truth: Truth::default(),
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    async fn step(&mut self) {
        match self.below(20) {
            0..13 => self.commit().await,
            13 => self.retry().await,
            14 => self.delete_records().await,
            15 => {
                let set = self.some_partition();
                let set = self
                    .process
                    .set_fencing_token(partition(set), None, token("t"));
                set.await.expect("the owner");
            }
            16 => {
                // The time of a checkpoint comes, and with it what goes by and by.
                tokio::time::advance(Duration::from_secs(11)).await;
                self.commit().await;
            }
            17 => self.restart().await,
            _ => self.change_topics().await,
        }
    }

    fn some_partition(&self) -> u32 {
        u32::try_from(self.below(u64::from(PARTITIONS))).unwrap_or(0)
    }

    async fn commit(&mut self) {
        let shard = self.shards[self.some_partition() as usize];
        self.sequence += 1;
        let mut draft = segment(self.sequence).writer(self.writer).shard(shard);
        let mut producers = Vec::new();
        for index in 0..PARTITIONS {
            if self.shards[index as usize] != shard {
                continue;
            }
            let mut batches = Vec::new();
            for _ in 0..=self.below(3) {
                if self.below(2) == 0 {
                    batches.push(plain(1 + u32::try_from(self.below(3)).unwrap_or(0)));
                    continue;
                }
                let producer = 1 + self.below(3).cast_signed();
                let next = self.producers.entry((index, producer)).or_default();
                batches.push(sent(producer, *next, 1));
                producers.push((index, producer, *next, batches.len() - 1));
                *next += 1;
            }
            draft = draft.slice(partition(index), &batches);
        }
        if self.below(3) == 0 {
            // Each commit waits for its answer, so that all before this one have theirs.
            draft = draft.done_below(self.sequence);
        }
        let commit = draft.done();
        let answer = self.process.send_until_answered(&commit).await;
        self.truth.said.push(Said {
            commit,
            outcomes: answer.outcomes,
        });
    }

    async fn retry(&self) {
        let count = self.truth.said.len() as u64;
        if count > 0 {
            let at = usize::try_from(self.below(count)).unwrap_or(0);
            // Refused if its receipt has gone.
            let _ = self.process.send(self.truth.said[at].commit.clone()).await;
        }
    }

    async fn delete_records(&mut self) {
        self.look().await;
        let index = partition(self.some_partition());
        let end = self.process.high_watermark(index).await;
        let before = Offset::new(self.below(end + 1));
        let deleted = self.process.delete_records(index, before).await;
        deleted.expect("the owner");
    }

    async fn restart(&mut self) {
        self.process = self.world.open().await;
        self.writer = self.process.register_writer().await.expect("it answers");
        self.sequence = 0;
    }

    async fn change_topics(&self) {
        let text = NAMES[usize::try_from(self.below(2)).unwrap_or(0)];
        let topic = TopicName::new(text).expect("a good name");
        let selector = TopicSelector::Name(topic.clone());
        let partitions = 1 + u32::try_from(self.below(4)).unwrap_or(0);
        // Whichever is possible is done; the other is refused.
        if self.below(2) == 0 {
            let new = NewTopic {
                name: topic,
                partitions,
                config: [].into(),
                validate_only: false,
            };
            let _ = self.process.create_topic(new).await;
        } else if self.below(3) == 0 {
            let _ = self.process.undelete_topic(&selector).await;
        } else {
            let _ = self.process.delete_topic(&selector).await;
        }
    }

    /// Takes note of all logs as they are.
    async fn look(&mut self) {
        for index in 0..PARTITIONS {
            let log = self.process.log_of(partition(index)).await;
            self.truth.look(partition(index), log);
        }
    }
}

/// The rows of a store that is at work between any two pages.
#[derive(Debug)]
struct AtWork {
    store: MemoryStore,
    history: Mutex<History>,
    pages: std::sync::atomic::AtomicU64,
}

#[async_trait]
impl RowSource for AtWork {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let mut history = self.history.lock().await;
        for _ in 0..history.below(3) {
            history.step().await;
        }
        self.pages
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.store.page(range, options).await
    }
}

async fn run(seed: u64) -> u64 {
    let mut history = History::new(seed).await;
    for _ in 0..STEPS {
        history.step().await;
    }
    history.truth.begin();
    let store = history.world.store.memory.clone();
    let bucket = Bucket::new();
    let options = TakeOptions {
        page_rows: 1 + usize::try_from(history.below(40)).unwrap_or(0),
        page_bytes: 1 << 20,
        part_bytes: 200 + usize::try_from(history.below(20_000)).unwrap_or(0),
    };
    let at_work = AtWork {
        store: store.clone(),
        history: Mutex::new(history),
        pages: std::sync::atomic::AtomicU64::new(0),
    };
    let taken = bucket.try_take(&at_work, "b", options).await;
    taken.expect("the store answers");
    let mut history = at_work.history.into_inner();
    let receipts_gone = store.dump();
    for _ in 0..3 {
        history.step().await;
    }
    history.look().await;
    let (restored, _) = bucket.restored("b").await;
    super::judge::check_catalogue(&store);
    super::judge::check_catalogue(&restored);
    super::judge::check_segments(&restored, &bucket.backups.pins().await.expect("it answers"));
    let mut world = World::on(restored);
    world.settings = history.world.settings;
    history.truth.judge(&world, &receipts_gone).await;
    at_work.pages.into_inner()
}

#[test]
fn a_backup_taken_at_work_restores_to_a_prefix_of_each_log() {
    let mut pages = 0;
    for seed in 0..HISTORIES {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        println!("seed {seed}");
        pages += runtime.block_on(run(seed));
    }
    assert!(pages > 20 * HISTORIES, "only {pages} pages were read");
}
