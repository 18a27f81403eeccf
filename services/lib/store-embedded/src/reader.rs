//! A view of the rows without the writer's role, for what only looks: the process that has the store open
//! keeps it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;
use slatedb::config::DbReaderOptions;
use slatedb::{DbReader, DbReaderMode, IterationOrder};
use tidelog_env::Env;
use tidelog_store::{Direction, KeyRange, RowSource, ScanOptions, ScanPage, StoreError};

use crate::clock::StoreClock;
use crate::engine::read_error;
use crate::guard::GuardedStore;
use crate::keys;
use crate::open::{OpenError, last_manifest, seed, split_cache};
use crate::options::EmbeddedOptions;
use crate::snapshot::{collect, scan_options};

/// How long what the reader sees is kept for it, should it end without a word.
const PINNED_FOR: Duration = Duration::from_mins(10);

/// Reads the rows of an embedded store that this or another process may have open, and fences nobody.
///
/// It sees durable state only: all that was committed before it was opened, and by and by what comes
/// after. While it is open it keeps the objects that it reads from being collected, by a row in the store's
/// manifest, which [`close`](Self::close) removes. A reader that dies without it holds them for ten minutes
/// longer.
pub struct EmbeddedReader {
    db: DbReader,
    root: Path,
}

impl EmbeddedReader {
    /// How often it looks for what was committed since.
    pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

    /// Opens the rows for reading. `None` if there is no store under the path.
    pub async fn open(
        objects: Arc<dyn ObjectStore>,
        options: &EmbeddedOptions,
        env: &Env,
    ) -> Result<Option<Self>, OpenError> {
        options.check()?;
        let root = Path::from(options.path.as_str());
        let objects = Arc::new(GuardedStore::new(objects, options.medium, &root));
        let last = last_manifest(&objects, &root).await?;
        if last == 0 {
            return Ok(None);
        }
        let main: Arc<dyn ObjectStore> = objects;
        let opening = DbReader::builder(root.clone(), main)
            .with_reader_mode(DbReaderMode::ManagedCheckpoint)
            .with_options(DbReaderOptions {
                manifest_poll_interval: Self::POLL_INTERVAL,
                checkpoint_lifetime: PINNED_FOR,
                max_memtable_bytes: options.reader_table_bytes(),
                object_store_max_retries: Some(options.request_retries_max),
                ..DbReaderOptions::default()
            })
            .with_db_cache(Arc::new(split_cache(options)), 0)
            .with_system_clock(Arc::new(StoreClock::new(Arc::clone(&env.clock))))
            .with_seed(seed(env, last))
            .build();
        let db = Box::pin(opening).await?;
        Ok(Some(Self { db, root }))
    }

    /// Ends the reader and gives free what it has kept.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.db.close().await.map_err(read_error)
    }
}

impl fmt::Debug for EmbeddedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedReader")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl RowSource for EmbeddedReader {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        if options.limit == 0 || range.is_empty() {
            return Ok(ScanPage::default());
        }
        let order = match options.direction {
            Direction::Forward => IterationOrder::Ascending,
            Direction::Backward => IterationOrder::Descending,
        };
        let scan = scan_options().with_order(order);
        let rows = self.db.scan_with_options(keys::encode_range(&range), &scan);
        let rows = rows.await.map_err(read_error)?;
        collect(rows, options).await
    }
}
