//! What the read path hears of commits, and who waits for them.

use std::sync::Arc;

use futures::future::{Fuse, FusedFuture as _, FutureExt as _};
use futures::stream::{self, StreamExt as _};
use tidelog_env::CancellationToken;
use tidelog_metadata_api::{Log, Notice, NoticeStream, PartitionAdvance, PartitionBounds};
use tidelog_types::TopicPartition;

use super::{Extents, Fetcher, Isolation, Watermarks};

/// Partitions whose bounds are asked for at the same time. Of a shard that has no owner each may take
/// seconds, and those of the others shall not wait for them.
const ASKED_AT_ONCE: usize = 64;

/// What news change.
#[derive(Debug)]
struct Listener {
    log: Arc<dyn Log>,
    extents: Extents,
    watermarks: Watermarks,
}

impl Listener {
    /// Takes note of news until they end or the process does. What was missed is asked for meanwhile, so
    /// that a shard without an owner keeps nobody else's news.
    async fn listen(self, mut news: NoticeStream, ended: CancellationToken) {
        let mut catching_up = std::pin::pin!(Fuse::terminated());
        let mut has_missed_more = false;
        loop {
            let notice = tokio::select! {
                biased;
                () = catching_up.as_mut() => {
                    if std::mem::take(&mut has_missed_more) {
                        catching_up.set(self.catch_up().fuse());
                    }
                    continue;
                }
                notice = news.next() => notice,
                () = ended.cancelled() => None,
            };
            match notice {
                Some(Notice::Commit(commit)) => {
                    for advance in &commit.advances {
                        self.on_advance(advance);
                    }
                }
                Some(Notice::Missed | Notice::Shards) if catching_up.is_terminated() => {
                    catching_up.set(self.catch_up().fuse());
                }
                // What was asked for before may be older than what was missed now.
                Some(Notice::Missed | Notice::Shards) => has_missed_more = true,
                Some(Notice::Topic(_)) => {}
                None => return,
            }
        }
    }

    fn on_advance(&self, advance: &PartitionAdvance) {
        // Extents first: whoever the bounds wake shall find them.
        if self.watermarks.is_known(advance.partition) {
            for extent in &advance.extents {
                self.extents.insert(advance.partition, extent.clone());
            }
            self.watermarks
                .raise_known(advance.partition, advance.bounds);
        }
    }

    /// Some news was missed: asks for the bounds of what is read here.
    async fn catch_up(&self) {
        ask(self.log.as_ref(), &self.watermarks, self.watermarks.known()).await;
    }
}

/// Asks for the bounds of partitions and takes note of them as they come.
async fn ask(log: &dyn Log, watermarks: &Watermarks, partitions: Vec<TopicPartition>) {
    let asking =
        stream::iter(partitions).for_each_concurrent(ASKED_AT_ONCE, |partition| async move {
            if let Ok(bounds) = log.bounds(partition).await {
                watermarks.raise_known(partition, bounds);
            }
        });
    asking.await;
}

impl Fetcher {
    /// Takes note of news until the process ends.
    pub(super) async fn listen(self, news: NoticeStream) {
        let ended = self.env.supervisor.token();
        let listener = Listener {
            log: self.log,
            extents: self.extents,
            watermarks: self.watermarks,
        };
        listener.listen(news, ended).await;
    }

    /// Ends when in one of the partitions a reader sees more than within the bounds seen.
    pub(super) async fn news_beyond(
        &self,
        ends: Vec<(TopicPartition, PartitionBounds)>,
        isolation: Isolation,
    ) {
        if ends.is_empty() {
            std::future::pending::<()>().await;
        }
        let subscribe = |(partition, seen): (TopicPartition, PartitionBounds)| {
            (seen, self.watermarks.subscribe(partition, seen))
        };
        let waiters: Vec<_> = ends.iter().copied().map(subscribe).collect();
        let waits = waiters.into_iter().map(|(seen, mut bounds)| {
            Box::pin(async move {
                // The sender lives in the map as long as there is a receiver.
                let end = isolation.end(&seen);
                let grown = bounds.wait_for(|now| isolation.end(now) > end);
                if grown.await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        // News that came before may have passed unheard. What comes from here on will not, whether or not
        // all can be asked.
        let partitions = ends.into_iter().map(|(partition, _)| partition);
        let asked = ask(self.log.as_ref(), &self.watermarks, partitions.collect());
        let asked = asked.then(|()| std::future::pending::<()>());
        tokio::select! {
            biased;
            _ = futures::future::select_all(waits) => {}
            () = asked => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures::future::BoxFuture;
    use prometheus_client::registry::Registry;
    use tidelog_env::Env;
    use tidelog_metadata_api::{
        AbortedTransaction, ActiveProducer, CommitAnswer, CommitError, CommitNotice, FencingToken,
        LogError, LookupAnswer, LookupRequest, OffsetAnswer, OffsetQuery, ProducerIdentity,
        ReadToken, ShardCommit, TransactionMarker,
    };
    use tidelog_types::{
        ClusterGeneration, ClusterId, GroupNumber, Incarnation, Offset, OffsetRange,
        PartitionIndex, SegmentSequence, ShardId, TopicNumber,
    };
    use tokio::sync::broadcast;
    use tokio::time::{Duration, Instant, sleep, timeout};

    use super::*;
    use crate::metrics::FetchMetrics;

    /// How long bounds take of a shard without an owner.
    const SILENCE: Duration = Duration::from_secs(5);
    const PARTITIONS: u32 = 200;

    /// Knows bounds and nothing else.
    #[derive(Debug)]
    struct Slow {
        /// Partitions that nobody owns.
        ownerless: BTreeSet<u32>,
        asked: AtomicUsize,
        asked_at_once: AtomicUsize,
        asked_at_once_max: AtomicUsize,
        news: broadcast::Sender<Notice>,
    }

    fn partition(index: u32) -> TopicPartition {
        TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
    }

    fn upto(high_watermark: u64) -> PartitionBounds {
        PartitionBounds {
            high_watermark: Offset::new(high_watermark),
            aborted_below: Offset::ZERO,
            ..PartitionBounds::default()
        }
    }

    impl Slow {
        fn new(ownerless: impl IntoIterator<Item = u32>) -> Arc<Self> {
            Arc::new(Self {
                ownerless: ownerless.into_iter().collect(),
                asked: AtomicUsize::default(),
                asked_at_once: AtomicUsize::default(),
                asked_at_once_max: AtomicUsize::default(),
                news: broadcast::channel(64).0,
            })
        }

        fn tell(&self, notice: Notice) {
            self.news.send(notice).expect("somebody listens");
        }
    }

    #[async_trait]
    impl Log for Slow {
        async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let at_once = self.asked_at_once.fetch_add(1, Ordering::Relaxed) + 1;
            self.asked_at_once_max.fetch_max(at_once, Ordering::Relaxed);
            let is_ownerless = self.ownerless.contains(&partition.partition.get());
            if is_ownerless {
                sleep(SILENCE).await;
            }
            self.asked_at_once.fetch_sub(1, Ordering::Relaxed);
            if is_ownerless {
                Err(LogError::NotOwner)
            } else {
                Ok(upto(7))
            }
        }

        fn subscribe(&self) -> NoticeStream {
            NoticeStream::new(self.news.subscribe())
        }

        fn cluster(&self) -> (ClusterId, ClusterGeneration) {
            unreachable!()
        }

        async fn register_writer(&self) -> Result<Incarnation, LogError> {
            unreachable!()
        }

        fn commit(
            &self,
            _: Vec<ShardCommit>,
        ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
            unreachable!()
        }

        async fn set_fencing_token(
            &self,
            _: TopicPartition,
            _: Option<FencingToken>,
            _: FencingToken,
        ) -> Result<ReadToken, LogError> {
            unreachable!()
        }

        async fn locate(&self, _: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
            unreachable!()
        }

        async fn offset(
            &self,
            _: TopicPartition,
            _: OffsetQuery,
        ) -> Result<OffsetAnswer, LogError> {
            unreachable!()
        }

        async fn delete_records(
            &self,
            _: TopicPartition,
            _: Offset,
        ) -> Result<(PartitionBounds, ReadToken), LogError> {
            unreachable!()
        }

        async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
            unreachable!()
        }

        async fn end_transactions(&self, _: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
            unreachable!()
        }

        async fn aborted(
            &self,
            _: TopicPartition,
            _: OffsetRange,
        ) -> Result<Vec<AbortedTransaction>, LogError> {
            unreachable!()
        }

        async fn producers(&self, _: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
            unreachable!()
        }

        async fn inline_segment(
            &self,
            _: tidelog_types::SegmentName,
        ) -> Result<Option<bytes::Bytes>, LogError> {
            Ok(None)
        }

        async fn raise_floor(&self, _: Incarnation, _: SegmentSequence) -> Result<(), LogError> {
            unreachable!()
        }

        fn seen(&self) -> Vec<ReadToken> {
            unreachable!()
        }

        async fn reached(&self, _: ReadToken) -> Result<(), LogError> {
            unreachable!()
        }
    }

    /// A listener at work, to which all partitions are known.
    fn listening(log: &Arc<Slow>) -> (Watermarks, CancellationToken) {
        let (watermarks, ended) = (Watermarks::default(), CancellationToken::new());
        for index in 0..PARTITIONS {
            watermarks.raise(partition(index), upto(1));
        }
        let seam: Arc<dyn Log> = Arc::<Slow>::clone(log);
        let metrics = FetchMetrics::new(&mut Registry::default());
        let (asked, known) = (Arc::clone(&seam), watermarks.clone());
        let listener = Listener {
            extents: Extents::new(asked, 100, Env::seeded(1).clock, known, metrics),
            log: seam,
            watermarks: watermarks.clone(),
        };
        drop(tokio::spawn(
            listener.listen(log.subscribe(), ended.clone()),
        ));
        (watermarks, ended)
    }

    async fn until(watermarks: &Watermarks, index: u32, high_watermark: u64) -> Duration {
        let start = Instant::now();
        let mut bounds = watermarks.subscribe(partition(index), upto(1));
        let offset = Offset::new(high_watermark);
        let grown = bounds.wait_for(|bounds| bounds.high_watermark == offset);
        let grown = timeout(Duration::from_hours(1), grown).await;
        drop(grown.expect("it grows").expect("it is known"));
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_asked_for_many_at_a_time() {
        let log = Slow::new(0..PARTITIONS - 1);
        let (watermarks, _ended) = listening(&log);
        log.tell(Notice::Missed);
        let took = until(&watermarks, PARTITIONS - 1, 7).await;
        let rounds = PARTITIONS.div_ceil(64);
        assert!(took <= SILENCE * rounds, "{took:?}");
        sleep(SILENCE * rounds).await;
        assert_eq!(log.asked.load(Ordering::Relaxed), PARTITIONS as usize);
        let at_once = log.asked_at_once_max.load(Ordering::Relaxed);
        assert_eq!(at_once, ASKED_AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn news_are_heard_while_what_was_missed_is_asked_for() {
        let log = Slow::new(0..PARTITIONS);
        let (watermarks, _ended) = listening(&log);
        log.tell(Notice::Missed);
        log.tell(Notice::Commit(Arc::new(CommitNotice {
            shard: ShardId::new(0),
            group: GroupNumber::new(1),
            advances: vec![PartitionAdvance {
                partition: partition(3),
                bounds: upto(9),
                extents: Vec::new(),
            }],
        })));
        assert_eq!(until(&watermarks, 3, 9).await, Duration::ZERO);
    }

    /// What was asked for may have been answered before the news were missed.
    #[tokio::test(start_paused = true)]
    async fn news_missed_while_asking_are_asked_for_once_more() {
        let log = Slow::new([0]);
        let (_watermarks, ended) = listening(&log);
        for _ in 0..3 {
            log.tell(Notice::Missed);
        }
        sleep(SILENCE * 3).await;
        let asked = log.asked.load(Ordering::Relaxed);
        assert_eq!(asked, 2 * PARTITIONS as usize);
        ended.cancel();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(log.news.receiver_count(), 0);
    }
}
