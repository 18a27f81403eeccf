//! Puts objects that must be new, gets ones of bounded size, and says which went wrong.

use bytes::Bytes;
use futures::TryStreamExt as _;
use thiserror::Error;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{
    self, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tidelog_blob::{ErrorKind, classify};

use super::format::FormatError;

/// Why an object of a backup cannot be put, had or deleted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The bucket failed.
    #[error("the object `{path}` cannot be {what}")]
    Bucket {
        /// The object.
        path: Path,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: object_store::Error,
    },
    /// The name belongs to another object.
    #[error("the object `{0}` is there already")]
    Taken(Path),
    /// It is not there.
    #[error("the object `{0}` is not there")]
    Missing(Path),
    /// It is larger than any of its kind.
    #[error("the object `{path}` has `{bytes}` bytes, more than any of its kind")]
    TooLarge {
        /// The object.
        path: Path,
        /// Its bytes.
        bytes: u64,
    },
    /// It is damaged, or another one than its name says.
    #[error("the object `{path}` is not what it should be: {source}")]
    Format {
        /// The object.
        path: Path,
        /// Why not.
        source: FormatError,
    },
}

impl ObjectError {
    /// An error of the bucket.
    pub(super) fn bucket(
        path: &Path,
        what: &'static str,
    ) -> impl FnOnce(object_store::Error) -> Self {
        let path = path.clone();
        move |source| Self::Bucket { path, what, source }
    }

    /// An error in the bytes of an object.
    pub(super) fn format(path: &Path) -> impl Fn(FormatError) -> Self {
        let path = path.clone();
        move |source| Self::Format {
            path: path.clone(),
            source,
        }
    }
}

/// Puts an object if its name is free. One that is there with the same bytes is ours: the answer to an
/// earlier attempt was lost.
pub(super) async fn put_new(
    objects: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
) -> Result<(), ObjectError> {
    let payload = PutPayload::from_bytes(bytes.clone());
    let options = PutOptions::from(PutMode::Create);
    match objects.put_opts(path, payload, options).await {
        Ok(_) => Ok(()),
        Err(error) if classify(&error) == ErrorKind::AlreadyExists => {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            match get(objects, path, length).await {
                Ok(there) if there == bytes => Ok(()),
                Ok(_) | Err(ObjectError::TooLarge { .. }) => Err(ObjectError::Taken(path.clone())),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(ObjectError::bucket(path, "put")(error)),
    }
}

/// The bytes of an object of at most `bytes_max`.
pub(super) async fn get(
    objects: &dyn ObjectStore,
    path: &Path,
    bytes_max: u64,
) -> Result<Bytes, ObjectError> {
    let found = match objects.get_opts(path, GetOptions::new()).await {
        Ok(found) => found,
        Err(error) if classify(&error) == ErrorKind::NotFound => {
            return Err(ObjectError::Missing(path.clone()));
        }
        Err(error) => return Err(ObjectError::bucket(path, "read")(error)),
    };
    let bytes = found.meta.size;
    if bytes > bytes_max {
        let path = path.clone();
        return Err(ObjectError::TooLarge { path, bytes });
    }
    found
        .bytes()
        .await
        .map_err(ObjectError::bucket(path, "read"))
}

/// Deletes an object. One that is not there is no error.
pub(super) async fn delete(objects: &dyn ObjectStore, path: &Path) -> Result<(), ObjectError> {
    match objects.delete(path).await {
        Err(error) if classify(&error) != ErrorKind::NotFound => {
            Err(ObjectError::bucket(path, "deleted")(error))
        }
        _ => Ok(()),
    }
}

/// The names of all objects below a folder.
pub(super) async fn names_below(
    objects: &dyn ObjectStore,
    root: &Path,
) -> Result<Vec<Path>, ObjectError> {
    let listed = objects.list(Some(root)).map_ok(|object| object.location);
    listed
        .try_collect()
        .await
        .map_err(ObjectError::bucket(root, "listed"))
}
