//! How much a reader of records may take.

/// The most bytes that the records of one batch may have once decompressed; a byte more is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecodeLimit(usize);

impl DecodeLimit {
    /// 64 MiB: what 1 MiB of text compresses from, with room to spare.
    pub const DEFAULT: Self = Self(64 * 1024 * 1024);

    /// A limit of so many decompressed bytes.
    pub const fn bytes(bytes: usize) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for DecodeLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}
