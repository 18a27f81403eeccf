//! What can be wrong with the bytes of a backup.

use thiserror::Error;
use tidelog_blob::BackupName;
use tidelog_format::UnknownFeatures;
use tidelog_types::ClusterId;

/// Why bytes are not an object of a backup, or not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// There are fewer bytes than there must be.
    #[error("it is cut short: {needed} bytes are needed and {left} are left")]
    Truncated {
        /// How many are needed.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// There are more bytes than there must be.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// It is something else.
    #[error("it is no part of a backup")]
    Magic,
    /// A newer program wrote it.
    #[error("it has version {0}, this version of tidelog reads up to {newest}: use a newer one", newest = super::VERSION)]
    Version(u16),
    /// It is another kind of object than its name says.
    #[error("it is of kind {found}, not {expected}")]
    Kind {
        /// What its name says.
        expected: u16,
        /// What it says.
        found: u16,
    },
    /// It needs what this program does not know.
    #[error(transparent)]
    Features(#[from] UnknownFeatures),
    /// It is damaged.
    #[error("its {part} is damaged: the CRC is `{computed:08x}`, not `{stored:08x}`")]
    Crc {
        /// Header or body.
        part: &'static str,
        /// What it says.
        stored: u32,
        /// What its bytes come to.
        computed: u32,
    },
    /// It is another cluster's.
    #[error("it belongs to cluster `{found}`, not `{expected}`")]
    Cluster {
        /// Whose it should be.
        expected: ClusterId,
        /// Whose it is.
        found: ClusterId,
    },
    /// It is of another backup under the same name.
    #[error("it is of another backup")]
    Nonce,
    /// It has another place in the backup than its name says.
    #[error("it is number {found}, not {expected}")]
    Number {
        /// What its name says.
        expected: u32,
        /// What it says.
        found: u32,
    },
    /// It is of a backup of another name.
    #[error("it is of backup `{found}`, not `{expected}`")]
    Name {
        /// What it should be.
        expected: BackupName,
        /// What it is.
        found: String,
    },
    /// A field has a value that it cannot have.
    #[error("its {0} makes no sense")]
    Range(&'static str),
    /// All objects are whole, and together they are not what the last one says.
    #[error("it should have {what} {expected} and has {found}")]
    Total {
        /// What was counted.
        what: &'static str,
        /// What the last object says.
        expected: u64,
        /// What there is.
        found: u64,
    },
}
