//! The bucket behind the server's back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tidelog_blob::settings::{S3Settings, Secret};
use tidelog_blob::{BlobSettings, Location, MAIN, OpenedStore};
use tidelog_blob_admin::{BucketAdmin, StoredAs};
use tidelog_types::SegmentName;

/// The credentials of every S3 server that tests start.
pub(crate) const ACCESS_KEY: &str = "tidelog-test";
pub(crate) const SECRET_KEY: &str = "tidelog-test-secret";

/// Where a server keeps its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket of an S3 server at an address.
    S3 {
        /// The server, or a proxy before it.
        address: SocketAddr,
        /// The bucket's name.
        bucket: String,
    },
}

impl Place {
    /// A folder.
    pub fn folder(path: impl AsRef<Path>) -> Self {
        Self::Folder(path.as_ref().to_owned())
    }

    /// The same bucket, reached through another address.
    #[must_use]
    pub fn through(&self, address: SocketAddr) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(path.clone()),
            Self::S3 { bucket, .. } => Self::S3 {
                address,
                bucket: bucket.clone(),
            },
        }
    }

    /// It as flags of a command that works on the bucket itself.
    pub fn flags(&self) -> Vec<String> {
        let settings = self.settings().into_iter();
        settings
            .flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")])
            .collect()
    }

    /// What the command line of the server says of it, as options and values.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let pairs: Vec<(&str, String)> = match self {
            Self::Folder(path) => vec![("data", path.display().to_string())],
            Self::S3 { address, bucket } => vec![
                ("bucket", format!("s3://{bucket}")),
                ("s3.endpoint", format!("http://{address}")),
                ("s3.allow_http", "true".to_owned()),
                ("s3.region", "us-east-1".to_owned()),
                ("s3.access_key_id", ACCESS_KEY.to_owned()),
                ("s3.secret_access_key", SECRET_KEY.to_owned()),
            ],
        };
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

/// A look into a bucket, and a hand.
#[derive(Debug)]
pub struct Bucket {
    opened: OpenedStore,
}

impl Bucket {
    /// Opens the bucket at `place`.
    pub fn open(place: &Place) -> Result<Self> {
        let (location, settings) = match place {
            Place::Folder(path) => (Location::Folder(path.clone()), BlobSettings::default()),
            Place::S3 { address, bucket } => {
                let s3 = S3Settings {
                    endpoint: Some(format!("http://{address}")),
                    access_key_id: Some(Secret::new(ACCESS_KEY.to_owned())),
                    secret_access_key: Some(Secret::new(SECRET_KEY.to_owned())),
                    allow_http: true,
                    ..S3Settings::default()
                };
                let settings = BlobSettings {
                    s3,
                    ..BlobSettings::default()
                };
                (format!("s3://{bucket}").parse()?, settings)
            }
        };
        let opened = tidelog_blob::open(&location, &settings, [])?;
        Ok(Self { opened })
    }

    /// The store itself, without wrappers: a request is what is sent.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.opened.store)
    }

    /// Makes the bucket.
    pub async fn create(&self) -> Result<()> {
        if let Some(access) = &self.opened.s3 {
            BucketAdmin::connect(access).await?.create().await?;
        }
        Ok(())
    }

    /// How the S3 server keeps an object.
    pub async fn stored_as(&self, key: &str) -> Result<StoredAs> {
        let access = self.opened.s3.as_ref().context("a bucket of S3")?;
        Ok(BucketAdmin::connect(access).await?.stored_as(key).await?)
    }

    /// All keys that contain `part`, in order.
    pub async fn keys(&self, part: &str) -> Result<Vec<String>> {
        let objects: Vec<_> = self.opened.store.list(None).try_collect().await?;
        let mut keys: Vec<String> = objects
            .into_iter()
            .map(|object| object.location.to_string())
            .filter(|key| key.contains(part))
            .collect();
        keys.sort();
        Ok(keys)
    }

    /// All segments, in order.
    pub async fn segments(&self) -> Result<Vec<String>> {
        self.keys("/seg/").await
    }

    /// The bytes of all segments together.
    pub async fn segment_bytes(&self) -> Result<u64> {
        let objects: Vec<_> = self.opened.store.list(None).try_collect().await?;
        let all = objects.into_iter();
        let segments = all.filter(|object| object.location.as_ref().contains("/seg/"));
        Ok(segments.map(|object| object.size).sum())
    }

    /// The key of a segment of the cluster that has the segment `other`.
    pub fn segment(&self, other: &str, name: SegmentName) -> Result<String> {
        let (root, _) = other.split_once("/seg/").context("the key of a segment")?;
        let cluster = root.rsplit('/').next().unwrap_or(root);
        let layout = self.opened.layout.cluster(cluster.parse()?);
        Ok(layout.segment(MAIN, name).to_string())
    }

    /// An object.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let object = self.opened.store.get(&Key::from(key)).await;
        let object = object.with_context(|| format!("cannot read `{key}`"))?;
        Ok(object.bytes().await?)
    }

    /// Puts an object in place of another.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes: Bytes = bytes.into();
        self.opened.store.put(&Key::from(key), bytes.into()).await?;
        Ok(())
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.opened.store.delete(&Key::from(key)).await?;
        Ok(())
    }

    /// Turns one bit of an object.
    pub async fn flip_bit(&self, key: &str, position: usize) -> Result<()> {
        let mut bytes = self.get(key).await?.to_vec();
        *bytes.get_mut(position).context("the object is shorter")? ^= 1;
        self.put(key, bytes).await
    }

    /// Cuts an object off.
    pub async fn truncate(&self, key: &str, length: usize) -> Result<()> {
        let bytes = self.get(key).await?;
        self.put(key, bytes.slice(..length.min(bytes.len()))).await
    }
}
