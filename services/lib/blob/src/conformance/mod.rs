//! What every store must do before segments are entrusted to it.
//!
//! [`run`] writes below a prefix of its own and deletes what it wrote. It runs on the memory store and a
//! local folder here, and on S3 servers in the end-to-end tests, each time through whatever wrappers the
//! caller put around them.

mod reads;
mod writes;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use thiserror::Error;

use crate::errors::{ErrorKind, classify};

/// A store does not do what it must.
#[derive(Debug, Error)]
#[error("`{check}`: {fault}")]
pub struct Violation {
    /// The rule that was broken.
    pub check: &'static str,
    /// How.
    #[source]
    pub fault: Fault,
}

/// How a rule was broken.
#[derive(Debug, Error)]
pub enum Fault {
    /// The store failed where it must not, or not in the way it must.
    #[error("the store failed: {0}")]
    Store(#[from] object_store::Error),
    /// The store did something else.
    #[error("{0}")]
    Wrong(String),
}

/// The checks' view of a store: a place of their own in it.
struct Place {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

type Checked = Result<(), Fault>;

impl Place {
    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.root))
    }

    async fn create(&self, path: &Path, payload: PutPayload) -> object_store::Result<()> {
        let options = PutOptions::from(PutMode::Create);
        self.store
            .put_opts(path, payload, options)
            .await
            .map(|_| ())
    }

    async fn read(&self, path: &Path) -> object_store::Result<Bytes> {
        self.store.get(path).await?.bytes().await
    }

    /// Names under a prefix, sorted.
    async fn names(&self, prefix: &Path) -> object_store::Result<Vec<String>> {
        let metas: Vec<_> = self.store.list(Some(prefix)).try_collect().await?;
        let mut names: Vec<_> = metas
            .into_iter()
            .map(|meta| meta.location.to_string())
            .collect();
        names.sort();
        Ok(names)
    }
}

fn ensure(condition: bool, message: impl FnOnce() -> String) -> Checked {
    if condition {
        Ok(())
    } else {
        Err(Fault::Wrong(message()))
    }
}

/// The request must have failed, and in this way.
fn ensure_kind<T>(result: object_store::Result<T>, kinds: &[ErrorKind]) -> Checked {
    match result {
        Ok(_) => Err(Fault::Wrong(format!(
            "succeeded where it must fail with {kinds:?}"
        ))),
        Err(error) if kinds.contains(&classify(&error)) => Ok(()),
        Err(error) => Err(Fault::Store(error)),
    }
}

/// Runs all checks below `root`, which must be empty and is empty afterwards, and gives the first violation.
pub async fn run(store: Arc<dyn ObjectStore>, root: Path) -> Result<(), Violation> {
    let place = Place { store, root };
    let named = |check| move |fault| Violation { check, fault };
    writes::create_is_refused_if_the_object_exists(&place)
        .await
        .map_err(named("create is refused if the object exists"))?;
    writes::of_many_creators_one_wins(&place)
        .await
        .map_err(named("of many creators at once exactly one wins"))?;
    writes::what_was_put_is_read_at_once(&place)
        .await
        .map_err(named(
            "what was put is read at once, of any size and in any pieces",
        ))?;
    writes::parts_make_one_object(&place)
        .await
        .map_err(named("parts make one object when they are completed"))?;
    reads::ranges_are_exact(&place)
        .await
        .map_err(named("ranges are exact"))?;
    reads::what_is_missing_is_not_found(&place)
        .await
        .map_err(named("what is missing is not found"))?;
    reads::listings_are_complete_and_keep_to_the_prefix(&place)
        .await
        .map_err(named("listings are complete and keep to the prefix"))?;
    writes::what_was_deleted_is_gone(&place)
        .await
        .map_err(named("what was deleted is gone and can be created again"))?;
    let left = place.names(&place.root).await.map_err(|error| Violation {
        check: "the place can be listed",
        fault: error.into(),
    })?;
    ensure(left.is_empty(), || format!("left behind: {left:?}"))
        .map_err(named("deletes leave nothing"))
}
