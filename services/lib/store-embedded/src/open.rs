//! Opening: taking the writer's role, replaying the log, starting the tasks.

use std::sync::Arc;

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
    let db = open_db(&objects, &root, &options, &clock, &env).await?;
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
    env: &Env,
) -> Result<Db, slatedb::Error> {
    let main: Arc<dyn ObjectStore> = Arc::<GuardedStore>::clone(objects);
    let cache = SplitCache::new()
        .with_block_cache(Some(cache(options.block_cache_bytes())))
        .with_meta_cache(Some(cache(options.meta_cache_bytes())))
        .build();
    let opening = Db::builder(root.clone(), main)
        .with_settings(options.settings())
        .with_db_cache(Arc::new(cache), 0)
        .with_system_clock(Arc::<StoreClock>::clone(clock))
        .with_seed(env.rng.next_u64())
        .build();
    Box::pin(opening).await
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
