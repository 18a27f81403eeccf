//! The handle.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use tidelog_env::Env;
use tidelog_store::{BufferedTransaction, CloseReason, Limits, Store, StoreError, Transaction};

use crate::engine::{Engine, close_reason, is_fenced, read_error};
use crate::metrics::{Metrics, Stats};
use crate::open::{self, OpenError};
use crate::options::EmbeddedOptions;
use crate::queue::CommitQueue;
use crate::snapshot::EmbeddedSnapshot;

/// The embedded store. Clones share it.
///
/// The writer's role ends with [`close`](Store::close), with a failure, or with the drop of the last
/// handle and transaction; it never comes back to this value.
#[derive(Clone)]
pub struct EmbeddedStore {
    engine: Arc<Engine>,
    queue: CommitQueue,
}

impl EmbeddedStore {
    /// Takes the writer's role, which fences the process that had it, and replays what was committed.
    pub async fn open(
        objects: Arc<dyn ObjectStore>,
        options: EmbeddedOptions,
        env: Env,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        Box::pin(open::open(objects, options, env, metrics)).await
    }

    pub(crate) fn new(engine: Arc<Engine>, queue: CommitQueue) -> Self {
        Self { engine, queue }
    }

    /// The epoch of this writer: larger than that of every writer before it. It is the lease on all
    /// that the store holds.
    pub fn epoch(&self) -> u64 {
        self.engine.epoch()
    }

    /// What this store has done so far.
    pub fn stats(&self) -> Stats {
        self.engine.metrics.stats()
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        self.engine.lifecycle.check()?;
        let snapshot = EmbeddedSnapshot {
            engine: Arc::clone(&self.engine),
            queue: self.queue.clone(),
            snapshot: self.engine.snapshot(),
            too_old_at: self.engine.env.clock.now() + self.engine.options.transaction_age_max,
        };
        Ok(Box::new(BufferedTransaction::new(snapshot, self.limits())))
    }

    async fn closed(&self) -> CloseReason {
        self.engine.lifecycle.closed().await
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        self.engine.lifecycle.check()?;
        let Err(error) = self.engine.db.refresh_manifest().await else {
            return self.engine.lifecycle.check();
        };
        if is_fenced(&error) {
            let error = read_error(error);
            let cause: tidelog_store::Cause = Arc::new(error.clone());
            self.engine.lifecycle.close(close_reason(&cause, true));
            return Err(error);
        }
        Err(read_error(error))
    }

    async fn close(&self) -> Result<(), StoreError> {
        if self.engine.lifecycle.is_closed() {
            return Ok(());
        }
        self.queue.close().await
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }
}
