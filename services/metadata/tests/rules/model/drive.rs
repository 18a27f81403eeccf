//! Makes random steps on a real service and on the judge, and compares the two.

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;
use tidelog_env::{Rng as _, SeededRng};
use tidelog_format::location::Location;
use tidelog_metadata::RewriteSettings;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    Catalogue as _, CommitError, Log as _, LogError, LookupRequest, ShardCommit, TopicSelector,
    TransactionMarker,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{Offset, SegmentSequence, ShardId, TopicPartition};

use super::judge::Judge;
use super::merges::{Made, followed};
use crate::manifests::{WRITER, plain, segment, token};
use crate::store::TestStore;
use crate::transactions::{abort, with_epoch};
use crate::world::{PARTITIONS, Process, World, partition, settings};

pub(super) const FAULTS: [CommitFault; 8] = [
    CommitFault::Conflict,
    CommitFault::TooOld,
    CommitFault::Unavailable,
    CommitFault::Unknown(Landing::Now),
    CommitFault::Unknown(Landing::Never),
    CommitFault::Unknown(Landing::Later { after_commits: 0 }),
    CommitFault::Unknown(Landing::Later { after_commits: 1 }),
    CommitFault::Unknown(Landing::Later { after_commits: 5 }),
];
const FAULTY: [KeyKind; 8] = [
    KeyKind::Tail,
    KeyKind::Tail,
    KeyKind::Lease,
    KeyKind::Partition,
    KeyKind::Checkpoint,
    KeyKind::Page,
    KeyKind::LiveBytes,
    KeyKind::Merged,
];
pub(super) const TOKENS: [&str; 3] = ["", "red", "blue"];

/// What a burst asks for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Commit(ShardCommit),
    SetToken(TopicPartition, &'static str),
    DeleteRecords(TopicPartition, u64),
    End(Vec<TransactionMarker>),
}

/// What became of it; `None` if it is to be asked again.
#[derive(Debug)]
enum Reply {
    Outcomes(Vec<tidelog_format::manifest::Outcome>),
    BelowFloor,
    Done,
}

pub(crate) struct Driver {
    pub(super) seed: u64,
    pub(super) rng: SeededRng,
    pub(super) world: World,
    pub(super) store: TestStore,
    pub(super) process: Process,
    pub(super) shards: Vec<ShardId>,
    pub(super) judge: Judge,
    /// The highest last stable offset of each partition that was seen.
    pub(super) stable: [u64; PARTITIONS as usize],
    pub(super) sent: Vec<ShardCommit>,
    /// Every segment that was committed, and its shard.
    pub(super) committed: BTreeSet<(u64, ShardId)>,
    pub(super) sequence: u64,
    pub(super) burst: u64,
    /// What was sent before the burst under way has its answer.
    pub(super) done_below: u64,
    /// Merges that were begun, and runs that were swapped.
    pub(super) merges: u64,
    pub(super) swapped: usize,
    /// Runs of merged extents that were merged again.
    pub(super) again: usize,
    /// Sparse segments that were told of, and runs of them that were written anew.
    pub(super) sparse: BTreeSet<u64>,
    pub(super) rewritten: usize,
    pub(super) made: RefCell<Made>,
}

impl Driver {
    pub(crate) async fn new(seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        let mut world = World::seeded(seed * 1_000 + 1);
        world.shards = 2;
        world.settings = settings([1, 3, u32::MAX][pick(&rng, 3)]);
        world.settings.producers_in_memory = [0, 100_000][pick(&rng, 2)];
        world.settings.partitions_in_memory = [0, 100_000][pick(&rng, 2)];
        world.settings.floor_step = [1, 1_000][pick(&rng, 2)];
        world.settings.extent_bytes = [0, 2_000, 16 << 20][pick(&rng, 3)];
        world.settings.merge.bytes = [600, 2_000, 64 << 20][pick(&rng, 3)];
        world.settings.merge.age = Duration::from_secs([0, 60][pick(&rng, 2)]);
        world.settings.merge.growth = [0, 2, 8][pick(&rng, 3)];
        world.settings.merge.again_age = Duration::from_secs([0, 60][pick(&rng, 2)]);
        world.settings.merge.rewrite = RewriteSettings {
            live_percent: [0, 60, 100][pick(&rng, 3)],
            age: Duration::from_secs([0, 10][pick(&rng, 2)]),
            freed_min: 1,
        };
        world.settings.floor_age = Duration::from_secs([5, 600][pick(&rng, 2)]);
        world.settings.merge.lent_for = Duration::from_secs(5);
        world.settings.tail_kept = Duration::from_secs([0, 30][pick(&rng, 2)]);
        let store = world.store.clone();
        let process = world.open().await;
        let topic = TopicSelector::Number(partition(0).topic);
        let topic = process.topic(&topic).await.expect("it was created");
        let shards = topic.partitions.iter().map(|info| info.shard).collect();
        Self {
            seed,
            rng,
            world,
            store,
            process,
            shards,
            judge: Judge::default(),
            stable: [0; PARTITIONS as usize],
            sent: Vec::new(),
            committed: BTreeSet::new(),
            sequence: 0,
            burst: 0,
            done_below: 0,
            merges: 0,
            swapped: 0,
            again: 0,
            sparse: BTreeSet::new(),
            rewritten: 0,
            made: RefCell::default(),
        }
    }

    /// How many runs were merged, how many again, and how many written anew.
    pub(crate) const fn swapped(&self) -> (usize, usize, usize) {
        (self.swapped, self.again, self.rewritten)
    }

    pub(crate) fn rows(&self) -> Vec<(Bytes, Bytes)> {
        self.store.memory.dump()
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        pick(&self.rng, bound)
    }

    pub(super) fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) async fn step(&mut self) {
        match self.below(24) {
            0..=11 => self.burst().await,
            12 | 13 => self.resend().await,
            14 => self.takeover().await,
            15 => self.restart().await,
            16 => self.raise_floor().await,
            17 => tokio::time::sleep(Duration::from_secs(11)).await,
            18 => drop(self.store.memory.land_delayed()),
            19..=22 => self.merge().await,
            _ => self.check().await,
        }
    }

    /// Lands what is late, which must change nothing, and compares with a process that reads all anew.
    pub(crate) async fn end(mut self) {
        self.check().await;
        self.process.stop().await;
        let before = self.world.store.memory.dump();
        for landed in self.world.store.memory.land_delayed() {
            assert!(landed.is_err(), "seed {}", self.seed);
        }
        assert_eq!(self.world.store.memory.dump(), before, "seed {}", self.seed);
        self.process = self.world.open_on(&self.world.store.sibling()).await;
        self.check().await;
        for commit in std::mem::take(&mut self.sent) {
            self.settle(vec![Ask::Commit(commit)]).await;
        }
        self.check().await;
        self.settle(vec![Ask::End(self.all_ends())]).await;
        self.check().await;
        self.check_all_is_reclaimed().await;
        for index in 0..PARTITIONS {
            let bounds = self.process.bounds_of(partition(index)).await;
            let seed = self.seed;
            assert_eq!(
                bounds.last_stable, bounds.high_watermark,
                "seed {seed}: hangs"
            );
        }
        self.purge().await;
    }

    /// What its coordinator says of each transaction that is open.
    fn all_ends(&self) -> Vec<TransactionMarker> {
        let partitions = self.judge.partitions.iter();
        let open = partitions.flat_map(|(at, known)| {
            let producers = known.producers.iter();
            producers.filter_map(|(id, known)| Some((*at, *id, known.epoch, known.open?.1)))
        });
        let ends = open.map(|(at, id, epoch, number)| with_epoch(abort(at, id, number), epoch));
        ends.collect()
    }

    // ----- steps ----------------------------------------------------------------------------------

    /// Several requests at once, perhaps into faults, perhaps overtaken by another process.
    async fn burst(&mut self) {
        self.burst += 1;
        self.done_below = self.sequence + 1;
        for _ in 0..self.below(3) {
            self.fail_some();
        }
        let mut asks: Vec<_> = (0..=self.below(4)).map(|_| self.ask()).collect();
        if !self.chance(15) {
            return self.settle(asks).await;
        }
        // A command has no receipt: asked again, it must still come last to mean the same.
        let last = asks.pop();
        asks.retain(|ask| matches!(ask, Ask::Commit(_) | Ask::End(_)));
        asks.extend(last);
        let hold = self.store.hold(FAULTY[self.below(FAULTY.len())]);
        let new = self.store.sibling();
        let (process, replies) = {
            let mut pending = Box::pin(join_all(asks.iter().map(|ask| put(&self.process, ask))));
            let early = futures::poll!(&mut pending);
            tokio::time::advance(Duration::from_millis(5)).await;
            let process = self.world.open_on(&new).await;
            drop(hold);
            match early {
                std::task::Poll::Ready(replies) => (process, replies),
                std::task::Poll::Pending => (process, pending.await),
            }
        };
        (self.store, self.process) = (new, process);
        self.warm().await;
        for (ask, reply) in asks.into_iter().zip(replies) {
            match (&ask, reply) {
                (Ask::SetToken(..) | Ask::DeleteRecords(..), Some(reply)) => {
                    self.compare(&ask, &reply);
                }
                // Asked again in order, as a broker does, also if it was answered: what was pipelined
                // behind a failure fails with the new owner too.
                _ => self.settle(vec![ask]).await,
            }
        }
    }

    /// Asks until everything is answered, and compares.
    async fn settle(&mut self, asks: Vec<Ask>) {
        let replies = join_all(asks.iter().map(|ask| put(&self.process, ask))).await;
        for (ask, reply) in asks.iter().zip(replies) {
            let seed = self.seed;
            let reply = reply.unwrap_or_else(|| panic!("seed {seed}: {ask:?} has no answer"));
            self.compare(ask, &reply);
        }
    }

    fn compare(&mut self, ask: &Ask, reply: &Reply) {
        let seed = self.seed;
        match (ask, reply) {
            (Ask::Commit(commit), Reply::Outcomes(got)) => {
                let expected = self.judge.commit(commit);
                assert_eq!(Some(got), expected.as_ref(), "seed {seed}: {commit:?}");
                self.sent.push(commit.clone());
                let manifest = &commit.manifest;
                let sequence = manifest.segment.sequence.get();
                self.committed.insert((sequence, manifest.shard));
            }
            (Ask::Commit(commit), Reply::BelowFloor) => {
                // The receipt may have gone, but only below the floor (rule C5).
                let sequence = commit.manifest.segment.sequence.get();
                let is_below = sequence < self.judge.floor.max(self.done_below);
                assert!(is_below, "seed {seed}: {commit:?}");
            }
            (Ask::SetToken(partition, text), Reply::Done) => {
                self.judge.set_token(*partition, token(text));
            }
            (Ask::DeleteRecords(partition, before), Reply::Done) => {
                self.judge.delete_records(*partition, *before);
            }
            (Ask::End(markers), Reply::Done) => {
                for marker in markers {
                    self.judge.end(marker);
                }
            }
            _ => panic!("seed {seed}: {reply:?} to {ask:?}"),
        }
    }

    pub(super) fn fail_some(&self) {
        let (kind, fault) = (self.below(FAULTY.len()), self.below(FAULTS.len()));
        self.store.fail(FAULTY[kind], FAULTS[fault]);
    }

    async fn resend(&mut self) {
        let some: Vec<_> = (0..3)
            .filter_map(|_| {
                let at = self.below(self.sent.len().max(1));
                self.sent.get(at).cloned().map(Ask::Commit)
            })
            .collect();
        self.settle(some).await;
    }

    async fn takeover(&mut self) {
        let new = self.store.sibling();
        let process = self.world.open_on(&new).await;
        let late = segment(u64::MAX).slice(self.some_partition(), &[plain(1)]);
        let late = self.sharded(late).done();
        let error = self.process.send(late).await.expect_err("it was overtaken");
        assert_eq!(error, CommitError::NotOwner, "seed {}", self.seed);
        (self.store, self.process) = (new, process);
        self.warm().await;
    }

    async fn restart(&mut self) {
        let store = self.store.sibling();
        if self.chance(50) {
            // In good order; else the process dies with its handles.
            let process = self.world.open_on(&store).await;
            let old = std::mem::replace(&mut self.process, process);
            old.stop().await;
        }
        self.process = self.world.open_on(&store).await;
        self.store = store;
        self.warm().await;
    }

    async fn raise_floor(&mut self) {
        let floor = self.sequence.saturating_sub(self.below(4) as u64);
        let raised = self
            .process
            .raise_floor(WRITER, SegmentSequence::new(floor));
        raised.await.expect("no fault hits a floor");
        self.judge.floor = self.judge.floor.max(floor);
    }

    /// Asked once, a partition's shard is known, so that commands enter the mailbox when first polled.
    async fn warm(&self) {
        for index in 0..PARTITIONS {
            self.process.bounds_of(partition(index)).await;
        }
    }

    /// Everything that can be asked is as the judge says.
    async fn check(&mut self) {
        self.check_books();
        for index in 0..PARTITIONS {
            let seed = self.seed;
            let expected = self.judge.partitions.entry(partition(index)).or_default();
            let bounds = self.process.bounds_of(partition(index)).await;
            assert_eq!(bounds.high_watermark.get(), expected.next, "seed {seed}");
            assert_eq!(bounds.log_start.get(), expected.log_start, "seed {seed}");
            let mut runs = expected.runs.clone();
            runs.retain(|run| run.next > expected.log_start);
            let log = self.process.log_of(partition(index)).await;
            let mut log = followed(&self.made.borrow(), partition(index), &log);
            log.retain(|run| run.next > expected.log_start);
            assert_eq!(log, runs, "seed {seed}");
            let latest = self.process.latest(partition(index)).await;
            assert_eq!(latest, Ok(expected.next), "seed {seed}");
            self.check_stable(index).await;
            self.check_inline(index).await;
        }
    }

    /// What readers are told to lie in the store is there, with the bytes that were committed.
    async fn check_inline(&self, index: u32) {
        let bounds = self.process.bounds_of(partition(index)).await;
        let request = LookupRequest {
            partition: partition(index),
            offset: bounds.log_start,
            bytes_max: u64::MAX,
            extents_max: usize::MAX,
        };
        let found = self.process.lookup(request).await.expect("in bounds");
        for extent in found.extents {
            let Location::Segment {
                bucket,
                segment,
                position,
                length,
            } = extent.location
            else {
                continue;
            };
            if !bucket.is_store() {
                continue;
            }
            let read = self.process.inline_segment(segment).await;
            let read = read.expect("the store answers").expect("it is there");
            let bytes = &read[position as usize..(position + length) as usize];
            let crc32c = extent.crc32c.unwrap_or(tidelog_crc32c::crc32c(bytes));
            assert_eq!(tidelog_crc32c::crc32c(bytes), crc32c, "seed {}", self.seed);
        }
    }

    /// What readers are told of transactions is the truth, and what was stable stays so.
    async fn check_stable(&mut self, index: u32) {
        let seed = self.seed;
        let expected = self.judge.partitions.entry(partition(index)).or_default();
        let (log_start, stable, _, aborted_below) = self.process.all_bounds(index).await;
        assert_eq!(stable, expected.last_stable(), "seed {seed}");
        assert_eq!(aborted_below, expected.aborted_below(), "seed {seed}");
        let before = &mut self.stable[index as usize];
        assert!(
            stable >= *before,
            "seed {seed}: `{before}` was stable, now `{stable}`"
        );
        *before = stable;
        for (base, next) in [
            (log_start, stable),
            (log_start, stable - (stable - log_start) / 2),
            (stable - (stable - log_start) / 2, stable),
        ] {
            let has =
                |(_, first, last): &&(i64, u64, u64)| base < next && *first < next && *last >= base;
            let truth: Vec<_> = expected.aborted.iter().filter(has).copied().collect();
            let aborted = self.process.aborted_in(index, base, next).await;
            assert_eq!(aborted, truth, "seed {seed}: {base}..{next}");
        }
    }
}

/// Puts a request to the process when first polled.
fn put<'a>(process: &'a Process, ask: &'a Ask) -> BoxFuture<'a, Option<Reply>> {
    async move {
        match ask {
            Ask::Commit(commit) => match process.send(commit.clone()).await {
                Ok(answer) => Some(Reply::Outcomes(answer.outcomes)),
                Err(CommitError::BelowFloor { .. }) => Some(Reply::BelowFloor),
                Err(error) => {
                    assert!(error.may_ask_again(), "{error:?} to {ask:?}");
                    None
                }
            },
            Ask::End(markers) => {
                let outcomes = process.end_transactions(markers.clone()).await;
                for outcome in outcomes {
                    match outcome {
                        Ok(()) => {}
                        Err(LogError::NotOwner | LogError::Unavailable { .. }) => return None,
                        Err(error) => panic!("{error:?} to {ask:?}"),
                    }
                }
                Some(Reply::Done)
            }
            Ask::SetToken(partition, text) => {
                let set = process.set_fencing_token(*partition, None, token(text));
                set.await.ok().map(|_| Reply::Done)
            }
            Ask::DeleteRecords(partition, before) => {
                let deleted = process.delete_records(*partition, Offset::new(*before));
                deleted.await.ok().map(|_| Reply::Done)
            }
        }
    }
    .boxed()
}

fn pick(rng: &SeededRng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below the bound")
}
