//! What the metadata service offers to brokers, readers and the janitor: words and traits.
//!
//! In one process the service itself implements [`Catalogue`], [`Log`], [`Cluster`], [`Groups`],
//! [`Transactions`] and [`JanitorWork`]; between processes a gRPC client does. Whoever holds a handle cannot tell which.
//!
//! ```text
//!  broker engine -- commit(manifest) --> sequencer of the shard --> store
//!               <-- accepted at base / duplicate / refused --
//!               -- lookup(partition, offset) --> extents --> bytes in the bucket
//!               <-- notices: (partition, high watermark, extent) --
//! ```

mod catalogue;
mod cluster;
mod commit;
mod compaction;
mod error;
mod groups;
mod janitor;
mod log;
mod merge;
mod notice;
mod orders;
mod place;
mod producer;
mod token;
mod topic;
mod topic_config;
mod transactions;

pub use catalogue::{Catalogue, NewTopic, TopicPage, TopicSelector};
pub use cluster::{
    Cluster, ClusterError, ClusterView, KAFKA_ADDRESSES_MAX, KafkaAddress, Member, MemberState,
    Membership, ShardOwner,
};
pub use commit::{
    BatchCondition, BatchPosition, CommitAnswer, FencingToken, FencingTokenError, OrderKey,
    ShardCommit,
};
pub use compaction::{Compacted, CompactionTask, Compactions, REPLACED_EXTENTS_MAX};
pub use error::{CatalogueError, CommitError, LogError};
pub use groups::{
    ClassicDescription, ClassicMember, CommitOffsets, CommittedOffset, CommittingMember,
    ConsumerDescription, ConsumerHeartbeat, ConsumerHeartbeatAnswer, ConsumerMember, DeleteOffsets,
    EPOCH_JOIN, EPOCH_LEAVE, EPOCH_LEAVE_FOR_A_WHILE, EndGroupTransaction, FetchOffsets,
    FetchedOffset, FetchedOffsets, GROUP_NAME_BYTES_MAX, GroupClient, GroupDescription,
    GroupFilter, GroupHeartbeat, GroupKind, GroupListing, GroupName, GroupNameError, GroupOffset,
    GroupPage, GroupProtocol, GroupState, Groups, GroupsError, JoinGroup, JoinedGroup,
    JoinedMember, LeaveGroup, LeavingMember, MEMBER_ID_BYTES_MAX, MEMBER_TEXT_BYTES_MAX, NoGroups,
    OFFSET_METADATA_BYTES_MAX, OpenTransaction, SyncGroup, SyncedGroup,
};
pub use janitor::{DELETIONS_MAX, DeadSegment, Deletions, JanitorWork, OrphanSearch};
pub use log::{
    Extent, Log, LookupAnswer, LookupRequest, OffsetAnswer, OffsetQuery, PartitionBounds,
};
pub use merge::{
    DESCRIBED_SLICES_MAX, IndexedSlice, MERGE_KEEP_EVERY, MergeError, MergeId, MergeRun, MergeTask,
    MergedRun, Merges, SWAP_RUNS_MAX, SwapOutcome,
};
pub use notice::{CommitNotice, Notice, NoticeStream, PartitionAdvance};
pub use orders::{BrokenKey, BrokenOrders, BrokenReason};
pub use place::{
    GroupPlace, ShardName, ShardPlace, TransactionPlace, UnknownPlace, group_shard,
    transaction_shard,
};
pub use producer::{
    AbortedTransaction, ActiveProducer, Decision, MARKERS_MAX, PRODUCERS_SHOWN_MAX,
    ProducerIdentity, TransactionMarker, TransactionNumber,
};
pub use token::{ReadToken, ReadTokenError};
pub use topic::{PartitionCount, PartitionInfo, TopicInfo, TopicState};
pub use topic_config::{
    CleanupPolicy, ConfigError, ConfigKey, KeyClass, STORAGE_CLASS, TimestampType, TopicConfig,
};
pub use transactions::{
    EndTransaction, InitTransactions, NoTransactions, Participant, TransactionDescription,
    TransactionError, TransactionFilter, TransactionListing, TransactionPage, TransactionState,
    TransactionVersion, TransactionWork, TransactionalId, TransactionalIdError, Transactions,
    TransactionsError, Verified,
};
