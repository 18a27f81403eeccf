//! Kafka's record batch of version 2, the one format of records: `docs/format/record-batch.md`.
//!
//! A [`BatchView`] is a batch whose frame is whole; a [`BatchBuf`] is one that has passed all checks,
//! its CRC among them. Both are cheap to clone and never copy the records. [`Records`] decodes them
//! within a limit, [`BatchBuilder`] makes a batch.

mod buf;
mod builder;
mod compress;
mod decompress;
mod error;
mod header;
mod keyless;
mod limits;
mod patch;
mod records;
mod retain;
mod rules;
#[cfg(test)]
mod tests;
mod varint;
mod view;

pub use buf::{BatchBuf, Batches};
pub use builder::{BatchBuilder, BuilderError, ProducerStamp, record_bytes_max};
pub use error::{BatchError, RecordError};
pub use header::{Attributes, BatchHeader, Compression, HEADER_BYTES, TimestampType};
pub use keyless::{KEYLESS_NAMED_MAX, Keyless};
pub use limits::DecodeLimit;
pub use patch::{patch_offsets, patched_head};
pub use records::{Record, RecordHeader, Records};
pub use retain::{GAP_OFFSETS_MAX, RetainError, Retained, gap_batch};
pub use rules::{BatchRules, Origin};
pub(crate) use view::check_crc;
pub use view::{BatchView, BatchViews};
