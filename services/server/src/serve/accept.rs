//! Accepts a restore once an operator has, who says so in the bucket: `tidelog metadata accept-restore`.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Env, error_chain};
use tidelog_metadata::backup::{Acceptance, Backups};
use tidelog_store::Store;

/// How often the bucket is looked at while a restore waits.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Looks until no restore waits any more or the store is closed. Without a restore nothing is asked.
pub(super) async fn follow(backups: Backups, store: Arc<dyn Store>, env: Env) {
    let drained = env.supervisor.token();
    loop {
        match backups.accept_if_asked(store.as_ref(), &env).await {
            Ok(Acceptance::Nothing) => return,
            Ok(Acceptance::Accepted(row)) => {
                let (backup, generation) = (row.backup, row.generation.get());
                tracing::info!(backup, generation, "the restore is accepted");
                return;
            }
            Ok(Acceptance::Waits) => {}
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "it is not known whether the restore is accepted");
            }
        }
        tokio::select! {
            () = env.clock.sleep(LOOK_EVERY) => {}
            _ = store.closed() => return,
            () = drained.cancelled() => return,
        }
    }
}
