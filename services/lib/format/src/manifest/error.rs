//! Why bytes are not a manifest or a receipt.

use thiserror::Error;

use tidelog_types::BucketId;

use crate::{DecodeError, UnknownFeatures};

/// Why bytes, or a value made by hand, are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Another version wrote it.
    #[error("unknown manifest version `{0}`")]
    Version(u8),
    /// A newer version wrote it.
    #[error(transparent)]
    Features(#[from] UnknownFeatures),
    /// The bytes are damaged.
    #[error("the manifest's crc is `{stored:#010x}`, its bytes have `{computed:#010x}`")]
    Crc {
        /// The one in the bytes.
        stored: u32,
        /// The one of the bytes.
        computed: u32,
    },
    /// The layout is broken.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// That the segment lies in the store is said by the bucket and by a feature, or by neither.
    #[error("bucket `{0}` and the required features contradict each other")]
    Bucket(BucketId),
    /// No slice, or more than a segment may have.
    #[error("a manifest has 1 to 4096 slices, not `{0}`")]
    SliceCount(u64),
    /// A slice without a batch.
    #[error("slice `{slice}` has no batch")]
    EmptySlice {
        /// The slice, counted from 0.
        slice: u32,
    },
    /// A slice begins before the one before it ends, or ends past the largest position.
    #[error("slice `{slice}` at `{position}` overlaps the one before or ends past `2^32 - 1`")]
    SlicePosition {
        /// The slice, counted from 0.
        slice: u32,
        /// Its first byte.
        position: u64,
    },
    /// The length of a slice is not the sum of its batches.
    #[error("slice `{slice}` says `{length}` bytes, its batches have `{sum}`")]
    SliceLength {
        /// The slice, counted from 0.
        slice: u32,
        /// What it says.
        length: u64,
        /// What its batches have.
        sum: u64,
    },
    /// A flag that is not known, or one that contradicts another.
    #[error("a batch has flags `{0:#04x}`")]
    Flags(u8),
    /// A field of a batch contradicts the others.
    #[error("batch `{batch}` of slice `{slice}`: `{field}` is `{value}`")]
    Batch {
        /// The slice, counted from 0.
        slice: u32,
        /// The batch in the slice, counted from 0.
        batch: u32,
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
}

/// Why bytes are not a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// Another version wrote it.
    #[error("unknown receipt version `{0}`")]
    Version(u8),
    /// The bytes are damaged.
    #[error("the receipt's crc is `{stored:#010x}`, its bytes have `{computed:#010x}`")]
    Crc {
        /// The one in the bytes.
        stored: u32,
        /// The one of the bytes.
        computed: u32,
    },
    /// No such kind of outcome.
    #[error("unknown kind of outcome `{0}`")]
    Outcome(u8),
    /// No such error code.
    #[error("unknown error code `{0}`")]
    Code(u8),
    /// No such kind of detail.
    #[error("unknown kind of detail `{0}`")]
    Detail(u8),
    /// An offset that no record can have.
    #[error("offset `{0}` is out of range")]
    Offset(i64),
    /// The layout is broken.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}
