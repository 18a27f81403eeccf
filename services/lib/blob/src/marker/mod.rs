//! What the bucket says about itself: `tidelog.json`, specified in `docs/format/marker.md`.

mod change;

use std::collections::{BTreeMap, BTreeSet};

use object_store::{
    GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidelog_types::{BucketId, ClusterId};

use crate::errors::{ErrorKind, classify};
use crate::names::{BucketLayout, MAIN};

pub use change::{adopt, require};

/// What stands in the marker's first field. It must not change.
pub const MAGIC: &str = "tidelog-bucket";
/// The newest layout of the marker itself that this version reads, and the one it writes.
pub const FORMAT_VERSION: u32 = 1;
/// The feature that the markers of buckets beside the main one require, so that nobody takes one for a main bucket.
pub const BESIDE: &str = "beside";
/// The feature that the marker of a main bucket requires once the cluster has others, so that no version starts that does not
/// look for its data there.
pub const BUCKETS: &str = "buckets";
/// The feature that is required once segments may lie in the metadata store: who does not know of them would leave them out
/// of backups, and never delete them.
pub const EXPRESS: &str = "express";
/// A marker is small; a larger object is not one, and is not read.
pub const MARKER_BYTES_MAX: u64 = 64 * 1024;

/// The versions of what lies in the bucket. Each counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatVersions {
    /// Segments.
    pub segment: u32,
    /// Keys and values of the metadata store.
    pub keyspace: u32,
}

/// The marker of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    magic: String,
    format_version: u32,
    cluster_id: ClusterId,
    versions: FormatVersions,
    feature_level: u32,
    /// Names of features without which the bucket must not be used.
    #[serde(default)]
    required_features: BTreeSet<String>,
    /// Names of features that a version which does not know them may ignore.
    #[serde(default)]
    ignorable_features: BTreeSet<String>,
    /// Which bucket of the cluster it is.
    #[serde(default, skip_serializing_if = "is_main")]
    bucket: BucketId,
    /// Beside the main one: tells this place from another one that was given the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<PlaceId>,
    /// Beside the main one: where that one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    main: Option<String>,
    /// What a newer version has written and this one may ignore.
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

/// Given once to a place where the first marker of a bucket was put. A copy of the bucket has the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlaceId(String);

impl PlaceId {
    /// A new one.
    pub fn from_random_bytes(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "it is asked by what serde derives"
)]
fn is_main(bucket: &BucketId) -> bool {
    *bucket == MAIN
}

/// What this process can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supported {
    /// The newest versions that it reads.
    pub versions: FormatVersions,
    /// The highest feature level that it knows.
    pub feature_level: u32,
    /// The features that it knows.
    pub features: BTreeSet<String>,
}

/// Why a bucket cannot be used, in one line.
#[derive(Debug, Error)]
pub enum MarkerError {
    /// The store failed.
    #[error("the marker `{path}` cannot be used: {source}")]
    Store {
        /// Where it lies.
        path: String,
        /// Why not.
        source: object_store::Error,
    },
    /// What lies there is no marker.
    #[error(
        "`{path}` is not the marker of a Tidelog bucket ({reason}): use another bucket or prefix"
    )]
    NotAMarker {
        /// Where it lies.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The bucket is another cluster's.
    #[error(
        "the bucket belongs to cluster `{found}`, not `{expected}`: check the bucket's location"
    )]
    WrongCluster {
        /// Whose it should be.
        expected: ClusterId,
        /// Whose it is.
        found: ClusterId,
    },
    /// Something in the bucket is newer than this version can read.
    #[error(
        "the bucket has {what} version {found}, this version of tidelog reads up to {known}: \
         use a newer one"
    )]
    Newer {
        /// What is newer.
        what: &'static str,
        /// Its version.
        found: u32,
        /// What this version reads.
        known: u32,
    },
    /// A cluster was here, and the marker that says so is not.
    #[error(
        "`{path}` is missing, and there are objects of cluster `{found}` below `{root}`: put the marker back \
         (`docs/format/marker.md` shows it, with that id), or use another bucket or prefix for a new cluster"
    )]
    Missing {
        /// Where the marker should lie.
        path: String,
        /// Whose objects there are.
        found: ClusterId,
        /// Where they lie.
        root: String,
    },
    /// The bucket is another one of the cluster.
    #[error("it is {} of cluster `{cluster}`, not {}: check the bucket's location", which(*found), which(*expected))]
    WrongBucket {
        /// Which it should be.
        expected: BucketId,
        /// Which it is.
        found: BucketId,
        /// Whose it is.
        cluster: ClusterId,
    },
    /// The bucket needs a feature that this version does not know.
    #[error(
        "the bucket needs the feature `{0}`, which this version of tidelog does not know: use a newer one"
    )]
    UnknownFeature(String),
}

/// A bucket in words.
fn which(bucket: BucketId) -> String {
    if bucket == MAIN {
        "the main bucket".to_owned()
    } else {
        format!("bucket number `{bucket}`")
    }
}

impl Marker {
    /// The marker of a new bucket.
    pub fn new(cluster_id: ClusterId, supported: &Supported) -> Self {
        Self {
            magic: MAGIC.to_owned(),
            format_version: FORMAT_VERSION,
            cluster_id,
            versions: supported.versions,
            feature_level: supported.feature_level,
            required_features: BTreeSet::new(),
            ignorable_features: BTreeSet::new(),
            bucket: MAIN,
            place: None,
            main: None,
            others: BTreeMap::new(),
        }
    }

    /// The marker of a new bucket beside the main one, which is at `main`.
    pub fn beside(
        cluster_id: ClusterId,
        supported: &Supported,
        bucket: BucketId,
        (place, main): (PlaceId, &str),
    ) -> Self {
        Self {
            required_features: BTreeSet::from([BESIDE.to_owned()]),
            bucket,
            place: Some(place),
            main: Some(main.to_owned()),
            ..Self::new(cluster_id, supported)
        }
    }

    /// Which place it was put at first, if it is that of a bucket beside the main one.
    pub const fn place(&self) -> Option<&PlaceId> {
        self.place.as_ref()
    }

    /// Where the main bucket is, if it is that of one beside it.
    pub fn main(&self) -> Option<&str> {
        self.main.as_deref()
    }

    /// Which bucket of its cluster it is.
    pub const fn bucket(&self) -> BucketId {
        self.bucket
    }

    /// Refuses another bucket of the cluster than the one that was looked for.
    pub fn check_bucket(&self, expected: BucketId) -> Result<(), MarkerError> {
        if self.bucket == expected {
            return Ok(());
        }
        Err(MarkerError::WrongBucket {
            expected,
            found: self.bucket,
            cluster: self.cluster_id,
        })
    }

    /// Whose bucket it is.
    pub const fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The versions of what lies in it.
    pub const fn versions(&self) -> FormatVersions {
        self.versions
    }

    /// The feature level that its writers agreed on.
    pub const fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// Refuses a bucket that is another cluster's or too new. Without an expectation any cluster is right. One beside the
    /// main one is refused unless [`BESIDE`] is among the features.
    pub fn check(
        &self,
        expected: Option<ClusterId>,
        supported: &Supported,
    ) -> Result<(), MarkerError> {
        let known = &supported.versions;
        for (what, found, known) in [
            ("marker format", self.format_version, FORMAT_VERSION),
            ("segment format", self.versions.segment, known.segment),
            ("keyspace format", self.versions.keyspace, known.keyspace),
            ("feature level", self.feature_level, supported.feature_level),
        ] {
            if found > known {
                return Err(MarkerError::Newer { what, found, known });
            }
        }
        if !supported.features.contains(BESIDE) {
            self.check_bucket(MAIN)?;
        }
        let unknown = self
            .required_features
            .difference(&supported.features)
            .next();
        if let Some(feature) = unknown {
            return Err(MarkerError::UnknownFeature(feature.clone()));
        }
        match expected {
            Some(expected) if expected != self.cluster_id => Err(MarkerError::WrongCluster {
                expected,
                found: self.cluster_id,
            }),
            _ => Ok(()),
        }
    }
}

/// Only as much as must be understood before the rest is: a marker of a newer format may look otherwise.
#[derive(Deserialize)]
struct Header {
    magic: String,
    format_version: u32,
}

/// Reads the text of a marker. It does not judge whether this version may use the bucket, save that a
/// newer format of the marker is refused before the rest is looked at.
pub fn parse(path: &str, text: &[u8]) -> Result<Marker, MarkerError> {
    let not_a_marker = |reason: String| MarkerError::NotAMarker {
        path: path.to_owned(),
        reason,
    };
    let header: Header =
        serde_json::from_slice(text).map_err(|error| not_a_marker(error.to_string()))?;
    if header.magic != MAGIC {
        return Err(not_a_marker(format!("its magic is not `{MAGIC}`")));
    }
    if header.format_version > FORMAT_VERSION {
        return Err(MarkerError::Newer {
            what: "marker format",
            found: header.format_version,
            known: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(text).map_err(|error| not_a_marker(error.to_string()))
}

/// Reads the bucket's marker; `None` if it has none.
pub async fn read(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
) -> Result<Option<Marker>, MarkerError> {
    let found = read_version(store, layout).await?;
    Ok(found.map(|(marker, _)| marker))
}

/// The marker, and which version of the object it is.
async fn read_version(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
) -> Result<Option<(Marker, ObjectMeta)>, MarkerError> {
    let path = layout.marker();
    let failed = |source| MarkerError::Store {
        path: path.to_string(),
        source,
    };
    let result = match store.get_opts(&path, GetOptions::new()).await {
        Ok(result) => result,
        Err(error) if classify(&error) == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if result.meta.size > MARKER_BYTES_MAX {
        return Err(MarkerError::NotAMarker {
            path: path.to_string(),
            reason: format!("it has {} bytes", result.meta.size),
        });
    }
    let meta = result.meta.clone();
    let text = result.bytes().await.map_err(failed)?;
    let marker = parse(path.as_ref(), &text)?;
    Ok(Some((marker, meta)))
}

/// Reads the bucket's marker, or makes `proposed` the marker if the bucket has none; of several processes
/// that do so at once, one succeeds and all get its marker. The marker is checked either way.
///
/// Objects of a cluster without a marker are what is left of one whose marker was lost: no other cluster is
/// founded beside them, where nobody would look for them any more.
pub async fn open_or_create(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
    proposed: Marker,
    expected: Option<ClusterId>,
    supported: &Supported,
) -> Result<Marker, MarkerError> {
    let marker = match read(store, layout).await? {
        Some(marker) => marker,
        None => match abandoned(store, layout).await? {
            None => create(store, layout, proposed).await?,
            // Another process may have founded the cluster at this moment.
            Some(error) => read(store, layout).await?.ok_or(error)?,
        },
    };
    marker.check(expected, supported)?;
    Ok(marker)
}

/// The error that says whose objects lie in a bucket without a marker, if there are some.
pub(crate) async fn abandoned(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
) -> Result<Option<MarkerError>, MarkerError> {
    let path = layout.marker().to_string();
    let listed = store.list_with_delimiter(Some(layout.prefix())).await;
    let listed = listed.map_err(|source| MarkerError::Store {
        path: path.clone(),
        source,
    })?;
    let mut folders = listed.common_prefixes.into_iter();
    Ok(folders.find_map(|root| {
        let found: ClusterId = root.filename()?.parse().ok()?;
        Some(MarkerError::Missing {
            path: path.clone(),
            found,
            root: root.to_string(),
        })
    }))
}

/// Puts the marker unless another came first; gives the one that stands.
async fn create(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
    proposed: Marker,
) -> Result<Marker, MarkerError> {
    let path = layout.marker();
    let failed = |source| MarkerError::Store {
        path: path.to_string(),
        source,
    };
    let text = serde_json::to_vec_pretty(&proposed).map_err(|error| MarkerError::NotAMarker {
        path: path.to_string(),
        reason: error.to_string(),
    })?;
    let options = PutOptions::from(PutMode::Create);
    match store.put_opts(&path, PutPayload::from(text), options).await {
        Ok(_) => Ok(proposed),
        // Ours, if the answer of an earlier attempt was lost, or another's: what stands counts.
        Err(error) if classify(&error) == ErrorKind::AlreadyExists => {
            let standing = read(store, layout).await?;
            standing.ok_or_else(|| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Overwrites nothing and creates nothing: whether the bucket has a marker at all.
pub async fn exists(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
) -> Result<bool, object_store::Error> {
    match store.head(&layout.marker()).await {
        Ok(_) => Ok(true),
        Err(error) if classify(&error) == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
