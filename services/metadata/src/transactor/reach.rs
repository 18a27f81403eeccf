//! Where the ends of transactions are told: partitions and groups of the whole cluster.

use std::fmt;
use std::sync::Arc;

use tidelog_metadata_api::{Groups, Log};
use tokio::sync::watch;

/// The seams of the whole cluster.
#[derive(Clone, Debug)]
pub(crate) struct Seams {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) groups: Arc<dyn Groups>,
}

/// Gives the seams, or nothing if whoever had them has gone.
type Source = Arc<dyn Fn() -> Option<Seams> + Send + Sync>;

/// How a process reaches partitions and groups of the whole cluster, its own among them. Clones share what they know.
///
/// A process learns of it after its metadata service has been opened. Until then, the ends of transactions wait: they
/// are decided and durable, and told as soon as somebody can be told.
#[derive(Clone)]
pub struct Reach(Arc<watch::Sender<Option<Source>>>);

impl Default for Reach {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_known = self.0.borrow().is_some();
        f.debug_struct("Reach")
            .field("is_known", &is_known)
            .finish()
    }
}

impl Reach {
    /// From now on the whole cluster is reached by these.
    pub fn set(&self, log: Arc<dyn Log>, groups: Arc<dyn Groups>) {
        let seams = Seams { log, groups };
        self.set_source(move || Some(seams.clone()));
    }

    /// The same by something that may go before this does: then nobody is reached.
    pub(crate) fn set_source(&self, source: impl Fn() -> Option<Seams> + Send + Sync + 'static) {
        self.0.send_replace(Some(Arc::new(source)));
    }

    /// The seams, once they are known. Cancel-safe.
    pub(crate) async fn seams(&self) -> Seams {
        let mut known = self.0.subscribe();
        loop {
            let source = known.borrow_and_update().clone();
            if let Some(seams) = source.and_then(|source| source()) {
                return seams;
            }
            if known.changed().await.is_err() {
                // It lives as long as this does.
                std::future::pending::<()>().await;
            }
        }
    }
}
