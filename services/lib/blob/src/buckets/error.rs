//! Why the buckets of a cluster cannot be used.

use object_store::path::Path;
use thiserror::Error;
use tidelog_types::BucketId;

use super::register::BESIDE_MAX;
use crate::marker::MarkerError;

/// Why the buckets of a cluster cannot be used.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The main bucket failed.
    #[error("it is not known which buckets the cluster has (`{path}`): {source}")]
    Store {
        /// What was asked for.
        path: Path,
        /// Why not.
        source: object_store::Error,
    },
    /// An object does not say which bucket it is about.
    #[error("`{path}` does not say which bucket has this number: {reason}")]
    Malformed {
        /// The object.
        path: Path,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster has a bucket that nobody has said how to reach.
    #[error(
        "the cluster has data in bucket `{name}` (number `{number}`, `{location}`), and no setting says how to reach it: \
         set `storage.buckets.{name}.location`"
    )]
    Unnamed {
        /// What it is called.
        name: String,
        /// Its number.
        number: BucketId,
        /// Where it was.
        location: String,
    },
    /// The bucket is not where settings say.
    #[error(
        "`storage.buckets.{name}.location` is `{location}`, and the bucket is `{now}`: if all of it was moved there while no \
         process ran, say so with `tidelog bucket adopt {name}`"
    )]
    Moved {
        /// What it is called.
        name: String,
        /// Where it is said to be.
        location: String,
        /// Where it is.
        now: String,
    },
    /// There is another bucket, or another cluster.
    #[error(
        "`storage.buckets.{name}.location` is `{location}`, where {found} is: give each bucket a prefix of its own"
    )]
    Taken {
        /// What it is called.
        name: String,
        /// Where it is said to be.
        location: String,
        /// What is there.
        found: String,
    },
    /// Its marker has gone, or it is another place under the same name.
    #[error(
        "bucket `{name}` (number `{number}`) has no marker in `{location}`, where it had one: this is another place, its disk is \
         not mounted, or it was emptied (`docs/format/marker.md` shows the way out)"
    )]
    Lost {
        /// What it is called.
        name: String,
        /// Its number.
        number: BucketId,
        /// Where it is.
        location: String,
    },
    /// What is there came about on its own, under the same number.
    #[error(
        "`{location}` is not bucket `{name}` (number `{number}`) of this cluster, but one that another process took for it: \
         let all processes reach the same place"
    )]
    Other {
        /// What it is called.
        name: String,
        /// Its number.
        number: BucketId,
        /// Where it is said to be.
        location: String,
    },
    /// It belongs to a copy of the main bucket, or to what this one is a copy of.
    #[error(
        "bucket `{name}` in `{location}` belongs to the cluster in `{main}`, and this one is in `{here}`: a copy of a cluster must \
         not work on what its original has; if there is no other any more, say so with `tidelog bucket adopt {name}`"
    )]
    OtherMain {
        /// What it is called.
        name: String,
        /// Where it is.
        location: String,
        /// Where its main bucket is.
        main: String,
        /// Where the main bucket of this process is.
        here: String,
    },
    /// It is to go, and has segments.
    #[error("bucket `{name}` holds segments (`{path}`): it is needed")]
    Needed {
        /// What it is called.
        name: String,
        /// The first of them.
        path: Path,
    },
    /// What is there is another cluster's, or another bucket.
    #[error("`storage.buckets.{name}.location` is wrong: {source}")]
    Marker {
        /// What it is called.
        name: String,
        /// Why not.
        source: MarkerError,
    },
    /// Too many of them.
    #[error(
        "the cluster has `{BESIDE_MAX}` buckets beside its main one: `{0}` would be one too many"
    )]
    Full(String),
    /// Others took numbers all the time.
    #[error("no number was found for bucket `{0}`: start again")]
    Contended(String),
}

pub(super) fn failed(path: &Path) -> impl FnOnce(object_store::Error) -> RegisterError {
    let path = path.clone();
    move |source| RegisterError::Store { path, source }
}
