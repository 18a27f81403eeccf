//! Backups of the metadata store in its bucket, and restores from them.
//!
//! A backup is read page by page while the cluster works, without a long transaction; the order of reading
//! makes the rows fit together. `docs/format/backup.md` says which order, why it is enough, what is dropped,
//! and what the bytes are.
//!
//! ```text
//!   begin | live bytes | checkpoints | partitions + pages | producers | tails | receipts | ... | end
//!     ^                                                                                           ^
//!     pins every segment from here ......................................... what it names from here
//! ```

mod accept;
mod anew;
mod counting;
mod error;
mod format;
mod generation;
mod list;
mod objects;
mod part_reader;
mod part_writer;
mod pending;
mod restore;
mod restore_rows;
mod scan;
mod standing;
mod take;
mod take_some;
mod topics;
mod trim;

use std::sync::Arc;

use tidelog_blob::ClusterLayout;
use tidelog_blob::object_store::ObjectStore;
use tidelog_types::ClusterId;

pub use accept::Acceptance;
pub(crate) use anew::Remains;
pub use error::{AcceptError, PendingError, RestoreError, TakeError};
pub use format::FormatError;
pub(crate) use generation::generation_of;
pub use list::{BackupEntry, BackupState, BackupSummary, Pins};
pub use objects::ObjectError;
pub use pending::{accept_restore, may_delete, pending_restore};
pub use restore::{RestoreOptions, Restored};
pub(crate) use restore_rows::{Change, Steps};
pub(crate) use scan::{Pages, Rest};
pub(crate) use standing::Before;
pub use take::TakeOptions;

/// The backups of one cluster. Clones are handles on the same ones.
#[derive(Clone, Debug)]
pub struct Backups {
    objects: Arc<dyn ObjectStore>,
    layout: ClusterLayout,
    cluster: ClusterId,
}

impl Backups {
    /// The backups of the cluster whose objects lie where `layout` says.
    pub fn new(objects: Arc<dyn ObjectStore>, layout: ClusterLayout, cluster: ClusterId) -> Self {
        Self {
            objects,
            layout,
            cluster,
        }
    }
}
