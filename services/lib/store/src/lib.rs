//! The metadata seam: an ordered, transactional key-value store with `FoundationDB`'s model.
//!
//! Keys are ordered by their bytes. A [`Transaction`] reads one snapshot, buffers its writes, and is
//! checked for read conflicts when it commits. All writes are blind: writes never conflict with
//! writes. A transaction conflicts if, and only if, a key or range that it read serializably was
//! written (also blindly) by a commit after its read version; phantoms included.
//!
//! ```text
//!   begin ---- reads at version 7 ---- commit ----> version 9, or Conflict
//!                        |
//!         commit 8 writes a key that was read
//! ```
//!
//! The crate holds what implementations share: [`buffer`] (a transaction's own writes), [`occ`] (the
//! conflict window), [`memory`] (the store of tests and simulation) and, behind the feature
//! `conformance`, the suite that every implementation passes.

pub mod buffer;
mod buffered;
mod error;
pub mod memory;
pub mod occ;
mod range;
mod range_set;
mod source;
mod store;
mod transact;

#[cfg(feature = "conformance")]
#[expect(
    clippy::missing_panics_doc,
    reason = "cases fail by panic, as tests do"
)]
pub mod conformance;

pub use buffered::{BufferedTransaction, Snapshot};
pub use bytes::Bytes;
pub use error::{Cause, CloseReason, CommitError, LimitKind, Retry, StoreError, TooLarge};
pub use range::KeyRange;
pub use source::RowSource;
pub use store::{Direction, Limits, ReadMode, ScanOptions, ScanPage, Store, Transaction, Version};
pub use transact::{TransactError, transact};
