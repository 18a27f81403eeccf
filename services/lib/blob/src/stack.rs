//! Puts the wrappers of one role around a store.

use std::sync::Arc;

use object_store::ObjectStore;
use tidelog_env::Env;

use crate::hedge::Hedged;
use crate::metered::Metered;
use crate::metrics::Meter;
use crate::retry::Retrying;
use crate::settings::BlobSettings;

/// `store` as one role uses it: metered, hedged if the settings say so and the store is remote, and tried
/// again. A local disk is not hedged: the second read would wait for the same disk.
pub fn stack(
    store: Arc<dyn ObjectStore>,
    is_local: bool,
    settings: &BlobSettings,
    meter: &Meter,
    env: &Env,
) -> Arc<dyn ObjectStore> {
    let clock = || Arc::clone(&env.clock);
    let mut store: Arc<dyn ObjectStore> = Arc::new(Metered::new(store, meter.clone(), clock()));
    if settings.hedge.enabled && !is_local {
        let hedge = settings.hedge.clone();
        store = Arc::new(Hedged::new(store, hedge, meter.clone(), clock()));
    }
    let rng = Arc::clone(&env.rng);
    Arc::new(Retrying::new(
        store,
        settings.retry.clone(),
        meter.clone(),
        clock(),
        rng,
    ))
}
