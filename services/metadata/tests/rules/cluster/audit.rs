//! Writers that commit all the time through whichever process answers, and the judge of what they were
//! told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::{CancellationToken, Rng as _, SeededRng};
use tidelog_format::manifest::Outcome;
use tidelog_metadata::MetadataService;
use tidelog_metadata_api::{CommitAnswer, ShardCommit};
use tidelog_types::{Incarnation, ShardId, TopicPartition};

use super::nodes::{Node, send_in_time};
use crate::manifests::{plain, segment};

/// The processes that writers may ask, also such that are stopped.
pub(crate) type Asked = Arc<Mutex<Vec<MetadataService>>>;

/// What writers were told: every commit, and its answer.
pub(crate) type Told = Vec<(ShardCommit, CommitAnswer)>;

/// Writers under way.
#[derive(Debug)]
pub(crate) struct Load {
    stop: CancellationToken,
    writers: Vec<tokio::task::JoinHandle<Told>>,
    pub(crate) asked: Asked,
}

impl Load {
    /// Starts writers on these partitions.
    pub(crate) fn start(
        seed: u64,
        writers: u64,
        nodes: &[&Node],
        partitions: &BTreeMap<ShardId, TopicPartition>,
    ) -> Self {
        let services = nodes.iter().map(|node| node.process.service.clone());
        let asked: Asked = Arc::new(Mutex::new(services.collect()));
        let stop = CancellationToken::new();
        let partitions: Vec<_> = partitions.iter().map(|(shard, at)| (*shard, *at)).collect();
        let start = |number: u64| {
            let writer = Writer {
                rng: SeededRng::new(seed * 100 + number),
                incarnation: Incarnation::new(100 + number),
                asked: Arc::clone(&asked),
                partitions: partitions.clone(),
            };
            tokio::spawn(writer.run(stop.clone()))
        };
        let writers = (0..writers).map(start).collect();
        Self {
            stop,
            writers,
            asked,
        }
    }

    /// Lets each writer finish what it is at, and returns what they were told.
    pub(crate) async fn stop(self) -> Told {
        self.stop.cancel();
        let mut told = Vec::new();
        for writer in self.writers {
            told.extend(writer.await.expect("it does not panic"));
        }
        told
    }
}

struct Writer {
    rng: SeededRng,
    incarnation: Incarnation,
    asked: Asked,
    partitions: Vec<(ShardId, TopicPartition)>,
}

impl Writer {
    async fn run(self, stop: CancellationToken) -> Told {
        let mut told = Vec::new();
        let mut sequence = 0;
        while !stop.is_cancelled() {
            sequence += 1;
            let below = u64::try_from(self.partitions.len()).expect("few");
            let (shard, partition) = self.partitions[self.draw(below)];
            let records = u32::try_from(1 + self.rng.below(4)).expect("small");
            let commit = segment(sequence).writer(self.incarnation).shard(shard);
            let commit = commit.slice(partition, &[plain(records)]).done();
            let answer = self.ask(&commit).await;
            told.push((commit, answer));
            let pause = Duration::from_millis(1 + self.rng.below(40));
            tokio::time::sleep(pause).await;
        }
        told
    }

    fn draw(&self, below: u64) -> usize {
        usize::try_from(self.rng.below(below)).expect("small")
    }

    /// Asks one process after the other until there is an answer.
    async fn ask(&self, commit: &ShardCommit) -> CommitAnswer {
        for _ in 0..10_000 {
            let services = self.asked.lock().clone();
            let count = u64::try_from(services.len()).expect("few");
            let service = &services[self.draw(count)];
            match send_in_time(service, commit).await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.may_ask_again(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nobody answers {:?}", commit.manifest.segment);
    }
}

/// What was told is one history: every commit has its offsets, no offset is there twice or missing, and
/// every answer is given again when it is asked for.
///
/// All shards are asked of the node that owns them, so that these must be all owners.
pub(crate) async fn judge(told: &Told, owners: &[&Node]) {
    let mut runs: BTreeMap<TopicPartition, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for (commit, answer) in told {
        let slice = &commit.manifest.slices[0];
        let [Outcome::Accepted { base_offset }] = answer.outcomes[..] else {
            panic!("{commit:?} was answered {answer:?}");
        };
        let next = base_offset.get() + u64::from(slice.batches[0].record_count);
        let sequence = commit.manifest.segment.sequence.get();
        let runs = runs.entry(slice.partition).or_default();
        runs.push((base_offset.get(), next, sequence));
        let owner = owner_of(owners, commit.manifest.shard).await;
        let again = owner.send_until_answered(commit).await;
        assert_eq!(again.outcomes, answer.outcomes, "{commit:?}");
    }
    for (partition, mut runs) in runs {
        runs.sort_unstable();
        let mut at = 0;
        for (base, next, _) in &runs {
            assert_eq!(*base, at, "{partition} has a hole or an offset twice");
            at = *next;
        }
        let shard = told.iter().find_map(|(commit, _)| {
            let is_it = commit.manifest.slices[0].partition == partition;
            is_it.then_some(commit.manifest.shard)
        });
        let owner = owner_of(owners, shard.expect("it was written to")).await;
        let log = owner.process.log_of(partition).await;
        let log: Vec<_> = log
            .iter()
            .map(|run| (run.base, run.next, run.sequence))
            .collect();
        assert_eq!(log, runs, "{partition}");
    }
}

/// The owner of a shard. A shard that was asked for a moment ago may still be on its way back.
async fn owner_of<'a>(owners: &[&'a Node], shard: ShardId) -> &'a Node {
    for _ in 0..100 {
        let owner = owners
            .iter()
            .find(|node| node.own_shards().contains(&shard));
        if let Some(owner) = owner {
            return owner;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody owns {shard}")
}
