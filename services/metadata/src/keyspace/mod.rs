//! Every key and row of the store. `docs/format/keyspace.md` says who writes each and when it goes.

mod codec;
mod group_keys;
mod group_member;
mod group_rows;
mod key;
mod member_row;
mod page_row;
mod partition_row;
mod producer_row;
mod restore_row;
mod segment_rows;
mod shard_rows;
mod tail_row;
mod topic_rows;

pub use codec::RowError;
pub use group_member::GroupMemberRow;
pub use group_rows::{GroupKindRow, GroupOffsetRow, GroupRow};
pub use key::{Counter, KeyKind, Keyspace};
pub(crate) use member_row::MEMBER_TEXT_BYTES_MAX;
pub use member_row::MemberRow;
pub use page_row::PageRow;
pub(crate) use page_row::{PAGE_BYTES_MAX, PAGE_EXTENTS_MAX};
pub use partition_row::PartitionRow;
pub use producer_row::{ProducerRow, SentBatch};
pub use restore_row::{RestoreRow, RestoreState};
pub use segment_rows::{EndedWriterRow, FloorRow, LiveBytesRow, ReceiptRow};
pub use shard_rows::{CheckpointRow, LeaseRow};
pub use tail_row::{TailCommand, TailRow};
pub use topic_rows::{ClusterRow, DeletedTopicRow, NumberRow, TopicRow};
