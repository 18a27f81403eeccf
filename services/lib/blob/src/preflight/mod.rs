//! Proves at start that the store keeps the promises that the log stands on, and says what is missing.
//!
//! It writes one small object under a scratch name that nobody else uses, and deletes it again. It is given
//! the store without wrappers that hide answers; a store that is only briefly away is worth the caller's
//! retry, and [`PreflightError::is_retriable`] says so.

use object_store::path::Path;
use object_store::{
    Attribute, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload,
};
use thiserror::Error;
use tidelog_env::Rng;

use crate::errors::{ErrorKind, classify};
use crate::location::Location;
use crate::names::BucketLayout;

use futures::TryStreamExt as _;

/// Length of the scratch object.
const SCRATCH_BYTES: usize = 64;

/// What the store must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Create an object.
    Write,
    /// Refuse to create an object that exists.
    CreateOnce,
    /// Read a part of an object.
    Read,
    /// List names under a prefix.
    List,
    /// Delete an object.
    Delete,
}

impl Ability {
    const fn verb(self) -> &'static str {
        match self {
            Self::Write | Self::CreateOnce => "write",
            Self::Read => "read",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// What is missing, and what to do about it.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// There is no such bucket.
    #[error("bucket `{0}` does not exist: create it or run `tidelog bucket create`")]
    NoSuchBucket(Location),
    /// The credentials may not do something.
    #[error("the credentials may not {} objects under `{path}` in `{location}`: allow it", ability.verb())]
    Denied {
        /// What.
        ability: Ability,
        /// Where.
        path: Path,
        /// In which bucket.
        location: Location,
    },
    /// The credentials are not valid.
    #[error(
        "`{location}` does not take the credentials: check the access key, its expiry and this \
         machine's clock"
    )]
    Unauthenticated {
        /// Which bucket.
        location: Location,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store cannot be reached.
    #[error("`{location}` cannot be reached: check the endpoint and the network")]
    Unreachable {
        /// Which bucket.
        location: Location,
        /// What was said.
        source: object_store::Error,
    },
    /// The store overwrites where it was told to create.
    #[error(
        "`{0}` ignores `If-None-Match`: two writers could overwrite each other; use a store with \
         conditional writes, such as S3, MinIO or a local folder"
    )]
    OverwritesExisting(Location),
    /// The store does not know conditional writes.
    #[error(
        "`{location}` refuses `If-None-Match`: use a store with conditional writes, such as S3, \
         MinIO or a local folder"
    )]
    NoConditionalPut {
        /// Which bucket.
        location: Location,
        /// What the store said.
        source: object_store::Error,
    },
    /// What was read is not what was written.
    #[error("`{location}` answers a {what} with the wrong bytes: the store cannot be trusted")]
    WrongBytes {
        /// Which request.
        what: &'static str,
        /// Which bucket.
        location: Location,
    },
    /// A listing lacks an object that was written before it.
    #[error("`{0}` does not list an object that was just written: its listings come late")]
    StaleList(Location),
    /// A deleted object is still there.
    #[error("`{0}` still has an object that it said was deleted")]
    DeleteLies(Location),
    /// The disk is full.
    #[error("no space is left on `{0}`")]
    StorageFull(Location),
    /// The place cannot be written.
    #[error("`{0}` is read-only")]
    ReadOnly(Location),
    /// Anything else.
    #[error("`{location}` could not {}", ability.verb())]
    Other {
        /// What failed.
        ability: Ability,
        /// Which bucket.
        location: Location,
        /// What was said.
        source: object_store::Error,
    },
}

impl PreflightError {
    /// Whether it may well pass if it is run again.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Other { source, .. } => classify(source).is_retriable(),
            _ => false,
        }
    }
}

/// Runs the checks. On success nothing is left behind; after a failure, the scratch object may be.
pub async fn preflight(
    store: &dyn ObjectStore,
    location: &Location,
    layout: &BucketLayout,
    rng: &dyn Rng,
) -> Result<(), PreflightError> {
    preflight_as(store, location, layout, rng, None).await
}

/// The same with objects of a storage class of S3: a class that there is not is refused, and so is one that has to be
/// restored before it is read.
pub async fn preflight_as(
    store: &dyn ObjectStore,
    location: &Location,
    layout: &BucketLayout,
    rng: &dyn Rng,
    storage_class: Option<&str>,
) -> Result<(), PreflightError> {
    let check = Check {
        store,
        storage_class,
        location,
        path: layout.scratch(rng.next_u64()),
        root: layout.scratch_root(),
    };
    check.creates_once().await?;
    let facts = async {
        check.reads_ranges().await?;
        check.lists().await
    };
    let facts = facts.await;
    // Also after a failure the scratch object should go; then the first failure is what is told.
    let deletes = check.deletes().await;
    facts.and(deletes)
}

struct Check<'a> {
    store: &'a dyn ObjectStore,
    storage_class: Option<&'a str>,
    location: &'a Location,
    path: Path,
    root: Path,
}

impl Check<'_> {
    fn failed(&self, ability: Ability, source: object_store::Error) -> PreflightError {
        let location = self.location.clone();
        match classify(&source) {
            ErrorKind::NoSuchBucket => PreflightError::NoSuchBucket(location),
            // A write finds no object missing, so it is the bucket.
            ErrorKind::NotFound if ability == Ability::Write => {
                PreflightError::NoSuchBucket(location)
            }
            ErrorKind::Denied => PreflightError::Denied {
                ability,
                path: self.root.clone(),
                location,
            },
            ErrorKind::Unauthenticated => PreflightError::Unauthenticated { location, source },
            ErrorKind::Unreachable => PreflightError::Unreachable { location, source },
            ErrorKind::Unsupported if ability == Ability::CreateOnce => {
                PreflightError::NoConditionalPut { location, source }
            }
            ErrorKind::StorageFull => PreflightError::StorageFull(location),
            ErrorKind::ReadOnly => PreflightError::ReadOnly(location),
            _ => PreflightError::Other {
                ability,
                location,
                source,
            },
        }
    }

    fn body() -> Vec<u8> {
        (0_u8..).take(SCRATCH_BYTES).collect()
    }

    async fn create(&self, body: Vec<u8>) -> object_store::Result<()> {
        let mut options = PutOptions::from(PutMode::Create);
        if let Some(class) = self.storage_class {
            let class = class.to_owned().into();
            options.attributes.insert(Attribute::StorageClass, class);
        }
        let payload = PutPayload::from(body);
        self.store
            .put_opts(&self.path, payload, options)
            .await
            .map(|_| ())
    }

    async fn creates_once(&self) -> Result<(), PreflightError> {
        if let Err(error) = self.create(Self::body()).await {
            let ability = match classify(&error) {
                ErrorKind::Unsupported => Ability::CreateOnce,
                _ => Ability::Write,
            };
            return Err(self.failed(ability, error));
        }
        match self.create(vec![0xff; SCRATCH_BYTES]).await {
            Err(error) if classify(&error) == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.failed(Ability::CreateOnce, error)),
            Ok(()) => {
                // Best effort: the scratch object is of no use to anybody.
                let _ = self.store.delete(&self.path).await;
                Err(PreflightError::OverwritesExisting(self.location.clone()))
            }
        }
    }

    async fn reads_ranges(&self) -> Result<(), PreflightError> {
        let body = Self::body();
        for (what, range, expected) in [
            ("ranged read", GetRange::Bounded(16..32), &body[16..32]),
            (
                "read of the end",
                GetRange::Suffix(8),
                &body[SCRATCH_BYTES - 8..],
            ),
            ("read", GetRange::Offset(0), &body[..]),
        ] {
            let options = GetOptions::new().with_range(Some(range));
            let read = async {
                let result = self.store.get_opts(&self.path, options).await?;
                result.bytes().await
            };
            let bytes = read
                .await
                .map_err(|error| self.failed(Ability::Read, error))?;
            if bytes != expected {
                let location = self.location.clone();
                return Err(PreflightError::WrongBytes { what, location });
            }
        }
        Ok(())
    }

    async fn lists(&self) -> Result<(), PreflightError> {
        let mut names = self.store.list(Some(&self.root));
        loop {
            match names.try_next().await {
                Ok(Some(meta)) if meta.location == self.path => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => return Err(PreflightError::StaleList(self.location.clone())),
                Err(error) => return Err(self.failed(Ability::List, error)),
            }
        }
    }

    async fn deletes(&self) -> Result<(), PreflightError> {
        let deleted = self.store.delete(&self.path).await;
        deleted.map_err(|error| self.failed(Ability::Delete, error))?;
        match self.store.head(&self.path).await {
            Err(error) if classify(&error) == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed(Ability::Read, error)),
            Ok(_) => Err(PreflightError::DeleteLies(self.location.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
