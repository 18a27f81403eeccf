//! The store: begins transactions, counts what becomes of them, and closes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foundationdb::options::TransactionOption;
use foundationdb::{Database, FdbError, Transaction as Client};
use tidelog_env::{CancellationToken, Clock, Env};
use tidelog_store::{
    BufferedTransaction, CloseReason, Limits, Store, StoreError, Transaction, Version,
};
use tokio::sync::RwLock;

use crate::errors::{FdbFailure, read_error};
use crate::keyspace::{CLIENT_BYTES_MAX, Keyspace};
use crate::metrics::{Metrics, Stats};
use crate::network::Network;
use crate::open::{self, OpenError};
use crate::options::{FdbOptions, TRANSACTION_AGE_MAX};
use crate::snapshot::FdbSnapshot;

/// The store on `FoundationDB`. Clones share it. Its contract is the crate's documentation.
#[derive(Clone, Debug)]
pub struct FdbStore {
    shared: Arc<Shared>,
}

/// What a store and its transactions share.
pub(crate) struct Shared {
    // Before the network, so that it is dropped first.
    database: Database,
    pub(crate) keyspace: Keyspace,
    timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    closed: CancellationToken,
    /// Each commit reads this while it runs, and `close` writes: so it waits for all of them.
    pub(crate) commits: RwLock<()>,
    _network: Network,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("keyspace", &self.keyspace)
            .field("closed", &self.closed.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Fails if the store is closed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.closed.is_cancelled() {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    /// What a failed `begin` or read means to the caller; it is counted.
    pub(crate) fn read_failed(&self, error: FdbError) -> StoreError {
        let error = read_error(FdbFailure::from(error));
        self.metrics.on_read_error(&error);
        error
    }

    /// How long a transaction may be open.
    pub(crate) fn age_max(&self) -> Duration {
        self.timeout.min(TRANSACTION_AGE_MAX)
    }

    /// The time limit of a transaction that is about to commit at this age. The client counts from the
    /// transaction's beginning.
    pub(crate) fn commit_limit(&self, age: Duration) -> TransactionOption {
        time_limit(age + self.timeout)
    }

    fn client(&self) -> Result<Client, FdbError> {
        let client = self.database.create_trx()?;
        // Reads see the snapshot; own writes are laid over it by us, in the same way for every store.
        client.set_option(TransactionOption::ReadYourWritesDisable)?;
        client.set_option(time_limit(self.timeout))?;
        client.set_option(TransactionOption::RetryLimit(0))?;
        let size = i32::try_from(CLIENT_BYTES_MAX).unwrap_or(i32::MAX);
        client.set_option(TransactionOption::SizeLimit(size))?;
        Ok(client)
    }
}

fn time_limit(limit: Duration) -> TransactionOption {
    TransactionOption::Timeout(i32::try_from(limit.as_millis()).unwrap_or(i32::MAX))
}

impl FdbStore {
    /// Opens the store on the client of this process, and waits until the cluster has answered once.
    pub async fn open(
        network: &Network,
        options: FdbOptions,
        env: Env,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        open::open(network, options, env, metrics).await
    }

    /// What the store has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.metrics.stats()
    }

    pub(crate) fn new(
        database: Database,
        network: Network,
        options: &FdbOptions,
        env: Env,
        metrics: Metrics,
    ) -> Self {
        let shared = Shared {
            database,
            keyspace: Keyspace::new(options.key_prefix.clone()),
            timeout: options.timeout,
            clock: env.clock,
            metrics,
            closed: CancellationToken::new(),
            commits: RwLock::new(()),
            _network: network,
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

#[async_trait]
impl Store for FdbStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let shared = &self.shared;
        shared.check()?;
        let began = shared.clock.now();
        let client = shared.client().map_err(|error| shared.read_failed(error))?;
        let version = client.get_read_version().await;
        let version = version.map_err(|error| shared.read_failed(error))?;
        let version = to_version(version).unwrap_or(Version::ZERO);
        shared.metrics.on_begin(shared.clock.now() - began);
        let snapshot = FdbSnapshot::new(client, version, began, Arc::clone(shared));
        Ok(Box::new(BufferedTransaction::new(snapshot, self.limits())))
    }

    fn begin_at(&self, version: Version) -> Result<Option<Box<dyn Transaction>>, StoreError> {
        let shared = &self.shared;
        shared.check()?;
        let Ok(read_version) = i64::try_from(version.get()) else {
            return Ok(None);
        };
        let began = shared.clock.now();
        let client = shared.client().map_err(|error| shared.read_failed(error))?;
        client.set_read_version(read_version);
        let snapshot = FdbSnapshot::new(client, version, began, Arc::clone(shared));
        let transaction = BufferedTransaction::new(snapshot, self.limits());
        Ok(Some(Box::new(transaction)))
    }

    async fn closed(&self) -> CloseReason {
        // Nobody can take a role from this process: owners are told apart by leases, not by the store.
        self.shared.closed.cancelled().await;
        CloseReason::Stopped
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.shared.closed.cancel();
        drop(self.shared.commits.write().await);
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }
}

/// A version of `FoundationDB`, which uses negative numbers for "none".
pub(crate) fn to_version(version: i64) -> Option<Version> {
    u64::try_from(version).ok().map(Version::new)
}
