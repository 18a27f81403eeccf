//! What the metadata service offers to brokers, readers and the janitor: words and traits.
//!
//! In one process the service itself implements [`Catalogue`], [`Log`] and [`Cluster`]; between processes
//! a gRPC client does. Whoever holds a handle cannot tell which.
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
mod error;
mod log;
mod notice;
mod orders;
mod token;
mod topic;
mod topic_config;

pub use catalogue::{Catalogue, NewTopic, TopicPage, TopicSelector};
pub use cluster::{
    Cluster, ClusterError, ClusterView, Member, MemberState, Membership, ShardOwner,
};
pub use commit::{
    BatchCondition, BatchPosition, CommitAnswer, FencingToken, FencingTokenError, OrderKey,
    ShardCommit,
};
pub use error::{CatalogueError, CommitError, LogError};
pub use log::{
    Extent, Log, LookupAnswer, LookupRequest, OffsetAnswer, OffsetQuery, PartitionBounds,
    ProducerIdentity,
};
pub use notice::{CommitNotice, Notice, NoticeStream, PartitionAdvance};
pub use orders::{BrokenKey, BrokenOrders, BrokenReason};
pub use token::{ReadToken, ReadTokenError};
pub use topic::{PartitionCount, PartitionInfo, TopicInfo, TopicState};
pub use topic_config::{
    CleanupPolicy, ConfigError, ConfigKey, KeyClass, TimestampType, TopicConfig,
};
