//! Every key and row of the store. `docs/format/keyspace.md` says who writes each and when it goes.

mod aborted_row;
mod codec;
mod group_keys;
mod group_member;
mod group_rows;
mod key;
mod marker_row;
mod member_row;
mod page_row;
mod partition_row;
mod producer_row;
mod restore_row;
mod segment_rows;
mod shard_rows;
mod tail_row;
mod topic_rows;

pub use aborted_row::AbortedRow;
pub use codec::RowError;
pub use group_member::GroupMemberRow;
pub use group_rows::{GroupKindRow, GroupOffsetRow, GroupRow};
pub use key::{Counter, KeyKind, Keyspace};
pub use marker_row::{EndedTransaction, MarkerRow};
pub(crate) use member_row::MEMBER_TEXT_BYTES_MAX;
pub use member_row::MemberRow;
pub use page_row::PageRow;
pub(crate) use page_row::{PAGE_BYTES_MAX, PAGE_EXTENTS_MAX};
pub use partition_row::PartitionRow;
pub(crate) use partition_row::{OPEN_TRANSACTIONS_MAX, PARTITION_BYTES_MAX};
pub use producer_row::{OpenTransactionRow, ProducerRow, SentBatch};
pub use restore_row::{RestoreRow, RestoreState};
pub use segment_rows::{EndedWriterRow, FloorRow, LiveBytesRow, ReceiptRow};
pub use shard_rows::{CheckpointRow, LeaseRow};
pub(crate) use tail_row::BEGUN_BYTES_MAX;
pub use tail_row::{BegunTransaction, TailCommand, TailRow};
pub use topic_rows::{ClusterRow, DeletedTopicRow, NumberRow, TopicRow};
