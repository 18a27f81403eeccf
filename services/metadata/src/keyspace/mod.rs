//! Every key and row of the store. `docs/format/keyspace.md` says who writes each and when it goes.

mod codec;
mod key;
mod log_rows;
mod topic_rows;

pub use codec::RowError;
pub use key::{Counter, KeyKind, Keyspace};
pub use log_rows::{
    CheckpointRow, FloorRow, LeaseRow, LiveBytesRow, PartitionRow, ProducerRow, ReceiptRow,
    SentBatch, TailCommand, TailRow,
};
pub use topic_rows::{ClusterRow, DeletedTopicRow, NumberRow, TopicRow};
