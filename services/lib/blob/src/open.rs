//! Builds the store at a location.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use thiserror::Error;

use crate::Location;
use crate::local::LocalStore;
use crate::names::BucketLayout;
use crate::s3::{self, S3Access};
use crate::settings::BlobSettings;

/// A store without wrappers, and where our objects lie in it.
#[derive(Clone, Debug)]
pub struct OpenedStore {
    /// Where it is.
    pub location: Location,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The names in it.
    pub layout: BucketLayout,
    /// The folder, if the store is one; see [`crate::local::sweep`].
    pub folder: Option<PathBuf>,
    /// The bucket, if the store speaks S3; for what the seam does not do.
    pub s3: Option<S3Access>,
}

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder cannot be made or used.
    #[error("the folder `{}` cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The client cannot be built from these settings.
    #[error("the S3 settings do not fit together: {source}")]
    Client {
        /// Why not.
        source: object_store::Error,
    },
    /// The endpoint is no URL of HTTP.
    #[error("the endpoint `{0}` is no URL: write `https://host` or `http://host:port`")]
    Endpoint(String),
    /// The endpoint is plain HTTP and that was not allowed.
    #[error(
        "the endpoint `{0}` is plain HTTP: use https, or set `allow_http` if the network is yours"
    )]
    PlainHttp(String),
}

/// Opens the store at `location`; makes the folder if it is one. No request is sent: [`crate::preflight`]
/// does that. `environment` is what the process was started with; S3 takes credentials and region from it
/// where the settings give none.
///
/// One process opens one location once and shares it: the embedded store and the segments go through the
/// same instance.
pub fn open(
    location: &Location,
    settings: &BlobSettings,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<OpenedStore, OpenError> {
    let mut opened = OpenedStore {
        location: location.clone(),
        store: Arc::new(InMemory::new()),
        layout: BucketLayout::new(location.prefix()),
        folder: None,
        s3: None,
    };
    match location {
        Location::Memory => {}
        Location::S3 { bucket, prefix } => {
            let (client, access) = s3::build(bucket, prefix, &settings.s3, environment)?;
            opened.store = Arc::new(client);
            opened.s3 = Some(access);
        }
        Location::Folder(path) => {
            let local = LocalStore::open(path).map_err(|source| OpenError::Folder {
                path: path.clone(),
                source,
            })?;
            opened.folder = Some(local.root().to_owned());
            opened.store = Arc::new(local);
        }
    }
    Ok(opened)
}
