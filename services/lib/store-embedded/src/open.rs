//! Opening: taking the writer's role, replaying the log, starting the tasks.

use std::sync::Arc;

use futures::StreamExt as _;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::RwLock;
use slatedb::db_cache::SplitCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::{Db, ErrorKind};
use thiserror::Error;
use tidelog_env::Env;

use crate::clock::StoreClock;
use crate::committer::Committer;
use crate::engine::{Engine, is_fenced};
use crate::guard::GuardedStore;
use crate::keys;
use crate::lifecycle::Lifecycle;
use crate::maintenance::MaintenanceHandle;
use crate::metrics::Metrics;
use crate::options::{EmbeddedOptions, OptionsError};
use crate::store::EmbeddedStore;

/// Why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The options make no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Another process opened the store at the same time and won.
    #[error("another process has opened the store")]
    Fenced,
    /// The bucket cannot be reached or does not do what the store needs.
    #[error("store cannot be opened: the bucket is unavailable")]
    Unavailable(#[source] slatedb::Error),
    /// What is in the bucket cannot be read.
    #[error("store cannot be opened: its objects are damaged or of another format")]
    Damaged(#[source] slatedb::Error),
}

impl From<slatedb::Error> for OpenError {
    fn from(error: slatedb::Error) -> Self {
        match error.kind() {
            _ if is_fenced(&error) => Self::Fenced,
            ErrorKind::Data | ErrorKind::Invalid => Self::Damaged(error),
            _ => Self::Unavailable(error),
        }
    }
}

pub(crate) async fn open(
    objects: Arc<dyn ObjectStore>,
    options: EmbeddedOptions,
    env: Env,
    metrics: Metrics,
) -> Result<EmbeddedStore, OpenError> {
    options.check()?;
    let root = Path::from(options.path.as_str());
    let objects = Arc::new(GuardedStore::new(objects, options.medium, &root));
    let clock = Arc::new(StoreClock::new(Arc::clone(&env.clock)));
    let seed = seed(&env, last_manifest(&objects, &root).await?);
    let db = open_db(&objects, &root, &options, &clock, seed).await?;
    raise_clock(&db, &clock).await?;
    let current = RwLock::new(db.snapshot()?);
    let engine = Arc::new(Engine {
        db,
        guard: objects,
        root,
        clock,
        env,
        options,
        metrics,
        lifecycle: Lifecycle::new(),
        current,
    });
    let maintenance = MaintenanceHandle::start(Arc::clone(&engine));
    let (committer, queue) = Committer::new(Arc::clone(&engine), maintenance);
    engine
        .env
        .supervisor
        .spawn("store committer", committer.run());
    Ok(EmbeddedStore::new(engine, queue))
}

async fn open_db(
    objects: &Arc<GuardedStore>,
    root: &Path,
    options: &EmbeddedOptions,
    clock: &Arc<StoreClock>,
    seed: u64,
) -> Result<Db, slatedb::Error> {
    let main: Arc<dyn ObjectStore> = Arc::<GuardedStore>::clone(objects);
    let opening = Db::builder(root.clone(), main)
        .with_settings(options.settings())
        .with_db_cache(Arc::new(split_cache(options)), 0)
        .with_system_clock(Arc::<StoreClock>::clone(clock))
        .with_seed(seed)
        .build();
    Box::pin(opening).await
}

/// The number of the newest manifest; every opening writes one.
pub(crate) async fn last_manifest(
    objects: &GuardedStore,
    root: &Path,
) -> Result<u64, slatedb::Error> {
    let mut listed = objects.list(Some(&root.clone().join("manifest")));
    let mut last = 0;
    while let Some(object) = listed.next().await {
        let object = object.map_err(|error| {
            let what = "manifests cannot be listed".to_owned();
            slatedb::Error::unavailable(what).with_source(Box::new(error))
        })?;
        let name = object.location.filename().unwrap_or_default();
        let number = name
            .split('.')
            .next()
            .and_then(|number| number.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

/// A seed for names of objects. Names come from time and this seed, and two that are equal would be one
/// object: so the seed differs at each opening even if randomness and time repeat, as in a simulation.
pub(crate) fn seed(env: &Env, last_manifest: u64) -> u64 {
    env.rng.next_u64() ^ last_manifest.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The caches of tables, each with its share of the memory.
pub(crate) fn split_cache(options: &EmbeddedOptions) -> SplitCache {
    SplitCache::new()
        .with_block_cache(Some(cache(options.block_cache_bytes())))
        .with_meta_cache(Some(cache(options.meta_cache_bytes())))
        .build()
}

fn cache(bytes: u64) -> Arc<dyn slatedb::db_cache::DbCache> {
    let options = MokaCacheOptions {
        max_capacity: bytes,
        ..MokaCacheOptions::default()
    };
    Arc::new(MokaCache::new_with_opts(options))
}

/// Puts the clock forward to the time of the last flush of an earlier run, if it is behind.
async fn raise_clock(db: &Db, clock: &StoreClock) -> Result<(), slatedb::Error> {
    if let Some(heartbeat) = db.get_key_value(keys::HEARTBEAT).await? {
        clock.raise_to(heartbeat.create_ts);
    }
    Ok(())
}
