//! What the parts of one open store share.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::RwLock;
use slatedb::{Db, DbSnapshot, ErrorKind};
use slatedb_common::clock::SystemClock;
use tidelog_env::Env;
use tidelog_store::{Cause, CloseReason, StoreError, Version};

use crate::clock::StoreClock;
use crate::guard::GuardedStore;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::options::EmbeddedOptions;

pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) guard: Arc<GuardedStore>,
    pub(crate) root: Path,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) env: Env,
    pub(crate) options: EmbeddedOptions,
    pub(crate) metrics: Metrics,
    pub(crate) lifecycle: Lifecycle,
    /// The newest durable state. It is replaced only between flushes, so all it shows is durable.
    pub(crate) current: RwLock<Arc<DbSnapshot>>,
}

impl Engine {
    /// The newest durable state.
    pub(crate) fn snapshot(&self) -> Arc<DbSnapshot> {
        Arc::clone(&self.current.read())
    }

    /// Makes what has just been flushed visible. To be called only while no flush is under way.
    pub(crate) fn publish(&self) -> Result<(), slatedb::Error> {
        let snapshot = self.db.snapshot()?;
        *self.current.write() = snapshot;
        Ok(())
    }

    /// The objects, as parts of `SlateDB` take them.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::<GuardedStore>::clone(&self.guard)
    }

    /// The clock, as parts of `SlateDB` take it.
    pub(crate) fn clock(&self) -> Arc<dyn SystemClock> {
        Arc::<StoreClock>::clone(&self.clock)
    }

    /// The epoch of this writer.
    pub(crate) fn epoch(&self) -> u64 {
        self.db.manifest().writer_epoch()
    }

    /// A seed for names of objects; differs between writers even if randomness repeats.
    pub(crate) fn seed(&self) -> u64 {
        self.env.rng.next_u64() ^ self.epoch().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// How many tables wait in the first level, as last heard.
    pub(crate) fn tables(&self) -> usize {
        self.db.subscribe().borrow().current_manifest.l0().len()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("root", &self.root)
            .field("version", &version_of(&self.snapshot()))
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}

/// The version of a snapshot: the sequence number of the last batch in it.
pub(crate) fn version_of(snapshot: &DbSnapshot) -> Version {
    Version::new(snapshot.seq())
}

pub(crate) fn is_fenced(error: &slatedb::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Closed(slatedb::CloseReason::Fenced)
    )
}

/// An error of a read, as callers see it.
pub(crate) fn read_error(error: slatedb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Closed(slatedb::CloseReason::Fenced) => StoreError::Fenced,
        ErrorKind::Closed(_) => StoreError::Closed,
        ErrorKind::Unavailable => StoreError::Unavailable(Arc::new(error)),
        _ => StoreError::Damaged(Arc::new(error)),
    }
}

/// Why the store ends after this error.
pub(crate) fn close_reason(error: &Cause, fenced: bool) -> CloseReason {
    if fenced {
        CloseReason::Fenced
    } else {
        CloseReason::Failed(Arc::clone(error))
    }
}
