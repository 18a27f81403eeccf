//! The log as readers see it: extents, bounds, offsets by time.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tidelog_format::location::Location;
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, Offset, OffsetRange, SegmentName, SegmentSequence,
    Timestamp, TopicPartition,
};

use crate::{
    AbortedTransaction, ActiveProducer, CommitAnswer, CommitError, FencingToken, LogError,
    NoticeStream, ProducerIdentity, ReadToken, ShardCommit, TransactionMarker,
};

/// A run of accepted batches of one partition, and where their bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The offsets of the run.
    pub offsets: OffsetRange,
    /// Its bytes: whole batches, whose headers do not carry their offsets yet.
    pub location: Location,
    /// CRC32C of exactly these bytes, where the extent is a whole slice.
    pub crc32c: Option<u32>,
    /// The largest record timestamp in the run.
    pub max_timestamp: Timestamp,
}

impl Extent {
    /// How many bytes of the bucket it takes; none where the bytes lie in the store.
    pub const fn byte_count(&self) -> u32 {
        match self.location {
            Location::Segment { length, .. } => length,
            Location::Inline { .. } | Location::Marker(_) => 0,
        }
    }
}

/// The bounds of a partition's log.
///
/// ```text
///   log start          last stable      high watermark
///       v                   v                 v
///  -----#####################:::::::::::::::::|
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionBounds {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// Below it no transaction is open.
    pub last_stable: Offset,
    /// The offset after the last committed record.
    pub high_watermark: Offset,
    /// At or after this offset no transaction was aborted: the offset after the last marker that says so, 0 if
    /// there is none. Who reads from here on, up to the last stable offset, needs no list of aborted ones.
    pub aborted_below: Offset,
}

/// Asks where the bytes from an offset on are.
#[derive(Clone, Debug)]
pub struct LookupRequest {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset wanted.
    pub offset: Offset,
    /// Enough extents for about this many bytes; always at least one when there is one.
    pub bytes_max: u64,
    /// No more extents than this. 0 asks for the bounds alone, and then any offset will do.
    pub extents_max: usize,
}

/// Where the bytes are.
#[derive(Clone, Debug)]
pub struct LookupAnswer {
    /// The bounds at the time of the answer.
    pub bounds: PartitionBounds,
    /// Extents in order; the first contains the offset asked for. Empty at the high watermark.
    pub extents: Vec<Extent>,
}

/// Which offset of a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The log start offset.
    Earliest,
    /// The high watermark. The answer is linearizable (rule C9).
    Latest,
    /// The last stable offset. The answer is linearizable (rule C9).
    LastStable,
    /// The first record whose timestamp is this or later.
    AtTime(Timestamp),
    /// The record with the largest timestamp.
    MaxTimestamp,
}

/// The answer to an [`OffsetQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetAnswer {
    /// The offset itself.
    Offset(Offset),
    /// The record, if there is one, is in this extent, or after it: look inside. Timestamps of records
    /// are known to the service only per batch.
    Within(Extent),
    /// No record is that late.
    None,
}

/// Sequencers and the history they have written.
#[async_trait]
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// The cluster and which life of it this is.
    fn cluster(&self) -> (ClusterId, ClusterGeneration);

    /// Gives a writer process its incarnation, which no other process has or had. Durable.
    async fn register_writer(&self) -> Result<Incarnation, LogError>;

    /// Commits manifests, each to the owner of its shard. Calls take their places in each sequencer's
    /// queue in the order in which they are made, before the future is first polled.
    ///
    /// Each answer is given after it is durable, never before. Dropping the future does not withdraw
    /// the commits.
    fn commit(
        &self,
        commits: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>>;

    /// Sets the fencing token of a partition, in order with its commits. If `expected` is given and is
    /// not the token that holds, nothing changes.
    async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError>;

    /// Bounds and extents of many partitions at once, one answer for each request and in their order.
    ///
    /// What is recent is answered from memory and waits for nobody; what is older is read from the
    /// store. Bounds are as those of [`bounds`](Self::bounds), and an error of one partition is that
    /// one's only.
    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>>;

    /// Where the bytes from an offset on are: [`locate`](Self::locate) for one partition.
    async fn lookup(&self, request: LookupRequest) -> Result<LookupAnswer, LogError> {
        let answer = self.locate(&[request]).await.pop();
        answer.unwrap_or(Err(LogError::Behind))
    }

    /// The bounds of a partition as this process knows them: never newer than durable, never older than
    /// ones it has shown.
    async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError>;

    /// Resolves an offset.
    async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError>;

    /// Moves the log start offset up to `before`, at most to the high watermark. Durable when answered.
    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError>;

    /// Gives out a producer id that nobody has or had, at epoch 0.
    async fn init_producer(&self) -> Result<ProducerIdentity, LogError>;

    /// Ends transactions in partitions: a marker is appended to each, which takes one offset. One outcome for each,
    /// in order, durable when answered. Markers of one shard, up to [`MARKERS_MAX`](crate::MARKERS_MAX) of them, show
    /// at once.
    ///
    /// Asking again is safe: a marker that names a transaction which has ended in its partition is done already, and
    /// it is never refused for its epochs. One without a number ends what its producer has open, and is refused if
    /// that is nothing ([`LogError::NoTransaction`]), or if it names older epochs than the partition has seen
    /// ([`LogError::ProducerFenced`], [`LogError::CoordinatorFenced`]). A partition that there is not is an error
    /// ([`LogError::UnknownPartition`]); one of a topic that can still be brought back is there.
    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>>;

    /// The aborted transactions of a partition that have a record in a range, in the order of their markers. The range
    /// ends at the last stable offset or before: so the answer never changes.
    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError>;

    /// The producers that a partition remembers, by id. Linearizable (rule C9). Of more than
    /// [`PRODUCERS_SHOWN_MAX`](crate::PRODUCERS_SHOWN_MAX) those with open transactions and then those that were used
    /// last.
    async fn producers(&self, partition: TopicPartition) -> Result<Vec<ActiveProducer>, LogError>;

    /// Raises the floor of an incarnation: manifests of its segments below it are refused from then on
    /// (rule C6). Durable when answered; never lowers.
    ///
    /// Receipts below the floor are deleted by and by. A writer that lives does not raise its own: it says
    /// in its commits below which sequence it is done, and the floor follows, see
    /// [`ShardCommit::done_below`].
    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError>;

    /// A segment that lies in the store ([`BucketId::STORE`](tidelog_types::BucketId::STORE)), whole and proven; nothing
    /// if it is not there: it was moved into a bucket and deleted some minutes later, as objects are.
    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError>;

    /// What this process has seen of each shard that it knows of. Whoever was answered from it may carry
    /// these tokens elsewhere.
    fn seen(&self) -> Vec<ReadToken>;

    /// Ends when the state that `token` names has been reached by this process.
    async fn reached(&self, token: ReadToken) -> Result<(), LogError>;

    /// News of commits from now on.
    fn subscribe(&self) -> NoticeStream;
}
