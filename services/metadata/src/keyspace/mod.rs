//! Every key and row of the store. `docs/format/keyspace.md` says who writes each and when it goes.

mod codec;
mod key;
mod log_rows;
mod page_row;
mod topic_rows;

pub use codec::RowError;
pub use key::{Counter, KeyKind, Keyspace};
pub use log_rows::{
    CheckpointRow, EndedWriterRow, FloorRow, LeaseRow, LiveBytesRow, PartitionRow, ProducerRow,
    ReceiptRow, SentBatch, TailCommand, TailRow,
};
pub use page_row::PageRow;
pub(crate) use page_row::{PAGE_BYTES_MAX, PAGE_EXTENTS_MAX};
pub use topic_rows::{ClusterRow, DeletedTopicRow, NumberRow, TopicRow};
