//! Domain words of Tidelog: ids, offsets, names, limits, secrets and error codes; no I/O.
//!
//! Every other crate speaks in these types. They are small, `Copy` where they can be, and checked where
//! they enter: a [`TopicName`] that exists is a valid one.

mod error_code;
mod ids;
pub mod limits;
mod names;
mod offset;
mod partitioner;
mod role;
mod secret;
mod segment_name;
mod storage_class;
mod time;

pub use error_code::ErrorCode;
pub use ids::{
    BucketId, ClusterGeneration, ClusterId, GroupNumber, Incarnation, MemberId, PartitionIndex,
    ProducerEpoch, ProducerId, ShardId, Tenant, TopicId, TopicNumber, TopicPartition,
};
pub use names::{TopicName, TopicNameError};
pub use offset::{Offset, OffsetRange};
pub use partitioner::{murmur2, partition_for_key};
pub use role::{Role, RoleSet, UnknownRole};
pub use secret::Secret;
pub use segment_name::{SegmentName, SegmentSequence};
pub use storage_class::is_storage_class_name;
pub use time::Timestamp;
