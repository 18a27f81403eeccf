//! The bytes of a backup, as `docs/format/backup.md` lays them out. Nothing here does I/O.

mod bodies;
mod error;
mod header;
mod rows;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use bodies::{Begin, End};
pub use error::FormatError;
pub(crate) use header::{ObjectKind, Origin, VERSION, seal, unseal};
pub(crate) use rows::{Rows, put_row, row_bytes};
