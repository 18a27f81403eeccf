//! Opening: the files are looked at first, since the client's own errors name none.

use std::io;
use std::path::{Path, PathBuf};

use foundationdb::Database;
use thiserror::Error;
use tidelog_env::Env;
use tidelog_store::{Store as _, StoreError};
use tokio::fs;

use crate::errors::FdbFailure;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::options::{FdbOptions, OptionsError};
use crate::store::FdbStore;

/// Why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The options make no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The cluster file cannot be read.
    #[error("cannot read the cluster file `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cluster file is none.
    #[error("`{}` is no cluster file: {why}", path.display())]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The client does not take the cluster file, or cannot work with what it names.
    #[error("client of FoundationDB cannot open the database of `{}`", path.display())]
    Client {
        /// The cluster file.
        path: PathBuf,
        /// What the client said.
        #[source]
        source: FdbFailure,
    },
    /// The cluster does not answer. The caller may try again.
    #[error("no answer from the cluster of `{}`: is it up, and is this its cluster file?", path.display())]
    Unreachable {
        /// The cluster file.
        path: PathBuf,
        /// What the first transaction said.
        #[source]
        source: StoreError,
    },
}

pub(crate) async fn open(
    network: &Network,
    options: FdbOptions,
    env: Env,
    metrics: Metrics,
) -> Result<FdbStore, OpenError> {
    options.check()?;
    let path = options.cluster_file.clone();
    let name = check_cluster_file(&path).await?;
    let database = Database::from_path(&name).map_err(|error| OpenError::Client {
        path: path.clone(),
        source: error.into(),
    })?;
    let store = FdbStore::new(database, network.clone(), &options, env, metrics);
    match store.confirm().await {
        Ok(()) => Ok(store),
        Err(source) => Err(explain(path, source)),
    }
}

/// Why the first transaction failed: the client tells only then what it thinks of the cluster file.
fn explain(path: PathBuf, source: StoreError) -> OpenError {
    let cause = match &source {
        StoreError::Unavailable(cause) => cause.downcast_ref::<FdbFailure>(),
        _ => None,
    };
    match cause {
        Some(failure) if failure.lasts() => OpenError::Client {
            path,
            source: failure.clone(),
        },
        _ => OpenError::Unreachable { path, source },
    }
}

/// The path as the client takes it, if there is a cluster file.
async fn check_cluster_file(path: &Path) -> Result<String, OpenError> {
    let text = fs::read(path).await.map_err(|source| OpenError::File {
        path: path.to_owned(),
        source,
    })?;
    let bad = |why: &str| OpenError::ClusterFile {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    if !names_coordinators(&String::from_utf8_lossy(&text)) {
        return Err(bad("it has no line `description:id@address:port,...`"));
    }
    match path.to_str() {
        Some(name) if !name.contains('\0') => Ok(name.to_owned()),
        _ => Err(bad("the client takes no name that is not UTF-8")),
    }
}

/// Whether some line that is no comment looks like a connection string; the rest is the client's to judge.
fn names_coordinators(text: &str) -> bool {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('@'))
        .any(|(who, addresses)| {
            let named = who
                .split_once(':')
                .is_some_and(|(name, id)| !name.is_empty() && !id.is_empty());
            named && addresses.contains(':')
        })
}
