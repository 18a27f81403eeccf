//! Producer ids, which nobody else has or had.

use std::ops::Range;
use std::sync::Arc;

use tidelog_env::Env;
use tidelog_metadata_api::LogError;
use tidelog_store::Store;
use tidelog_types::ProducerId;
use tokio::sync::Mutex;

use crate::generation::Generation;
use crate::keyspace::Counter;
use crate::numbers::take_numbers;

/// Ids that are taken from the store at once.
const TAKEN_AT_ONCE: u64 = 1_000;

/// The ids that a process has to give out. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ProducerIds {
    store: Arc<dyn Store>,
    env: Env,
    generation: Generation,
    free: Arc<Mutex<Range<u64>>>,
}

impl ProducerIds {
    pub(crate) fn new(store: Arc<dyn Store>, env: Env, generation: Generation) -> Self {
        Self {
            store,
            env,
            generation,
            free: Arc::new(Mutex::new(0..0)),
        }
    }

    /// Gives out one.
    pub(crate) async fn take(&self) -> Result<ProducerId, LogError> {
        let mut free = self.free.lock().await;
        // What is left of another generation is nobody else's: a restore skips it. It just may be of no use.
        if free.is_empty() || self.generation.has_ended() {
            let (store, counter) = (self.store.as_ref(), Counter::ProducerId);
            let first = take_numbers(store, &self.env, &self.generation, counter, TAKEN_AT_ONCE);
            let first = first.await?;
            *free = first..first.saturating_add(TAKEN_AT_ONCE);
        }
        let id = free.next().and_then(|id| i64::try_from(id).ok());
        let id = id.ok_or_else(|| LogError::Corrupt {
            reason: "producer ids are used up".to_owned(),
        })?;
        Ok(ProducerId::new(id))
    }
}
