//! What can go wrong when a bucket is set up.

use std::error::Error as StdError;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use thiserror::Error;

/// Why a bucket could not be set up, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdminError {
    /// There are no credentials.
    #[error(
        "no credentials for bucket `{bucket}`: set `s3.access_key_id` and `s3.secret_access_key`, or `AWS_...` in the environment"
    )]
    NoCredentials {
        /// The bucket.
        bucket: String,
        /// Why not.
        source: tidelog_blob::object_store::Error,
    },
    /// Somebody else has a bucket of this name.
    #[error("the name `{0}` is taken by another account: choose another name")]
    NameTaken(String),
    /// There is no such bucket.
    #[error("bucket `{0}` does not exist: create it or run `tidelog bucket create`")]
    NoSuchBucket(String),
    /// The credentials may not do this.
    #[error("the credentials may not {action} bucket `{bucket}`: allow `{permission}`")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// What AWS calls it.
        permission: &'static str,
    },
    /// The credentials are not valid.
    #[error(
        "the store of bucket `{bucket}` does not take the credentials (`{code}`): check the access \
         key, its expiry and this machine's clock"
    )]
    Unauthenticated {
        /// The bucket.
        bucket: String,
        /// What the store calls it.
        code: String,
    },
    /// The store takes lifecycle rules, but not those that remove abandoned uploads.
    #[error(
        "the store of bucket `{bucket}` takes no rule for abandoned uploads: `MinIO` needs none, it \
         removes them after a day; elsewhere remove them from time to time"
    )]
    RuleRefused {
        /// The bucket.
        bucket: String,
        /// What the store said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The store does not do this.
    #[error("this store does not let us {action} bucket `{bucket}`")]
    Unsupported {
        /// What was tried.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// What the store said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The store cannot be reached.
    #[error("the store of bucket `{bucket}` cannot be reached: check the endpoint and the network")]
    Unreachable {
        /// The bucket.
        bucket: String,
        /// What was said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The request could not be made of what was given.
    #[error("could not {action} bucket `{bucket}`")]
    Other {
        /// What was tried.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// What was said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// How stores call credentials that are no good.
const INVALID_CREDENTIALS: [&str; 5] = [
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

/// What is tried, for the text of an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    /// In words that stand before "bucket".
    pub(crate) words: &'static str,
    /// The permission that AWS asks for.
    pub(crate) permission: &'static str,
}

impl AdminError {
    /// Makes an error of what the client says.
    pub(crate) fn from_sdk<E>(action: Action, bucket: &str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let bucket = bucket.to_owned();
        let code = error.code().unwrap_or_default().to_owned();
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        tracing::debug!(
            action = action.words,
            bucket,
            code,
            status,
            request_id = error.meta().request_id(),
            "a request to set up a bucket failed"
        );
        match (code.as_str(), status) {
            ("NoSuchBucket", _) => Self::NoSuchBucket(bucket),
            ("BucketAlreadyExists", _) => Self::NameTaken(bucket),
            ("NotImplemented" | "MethodNotAllowed", _) | (_, Some(405 | 501)) => {
                Self::Unsupported {
                    action: action.words,
                    bucket,
                    source: Box::new(error),
                }
            }
            (code, _) if INVALID_CREDENTIALS.contains(&code) => Self::Unauthenticated {
                bucket,
                code: code.to_owned(),
            },
            (_, Some(401 | 403)) => Self::Denied {
                action: action.words,
                bucket,
                permission: action.permission,
            },
            (_, None) if is_unreachable(&error) => Self::Unreachable {
                bucket,
                source: Box::new(error),
            },
            _ => Self::Other {
                action: action.words,
                bucket,
                source: Box::new(error),
            },
        }
    }
}

fn is_unreachable<E>(error: &SdkError<E>) -> bool {
    matches!(
        error,
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_)
    )
}
