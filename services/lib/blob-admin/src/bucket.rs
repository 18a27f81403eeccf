//! The bucket itself.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation,
};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use tidelog_blob::S3Access;

use crate::error::{Action, AdminError};

/// The one region that must not be named when a bucket is made.
const REGION_UNNAMED: &str = "us-east-1";
/// A person waits for these requests.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of a request with its repeats.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is sent at most.
const ATTEMPTS_MAX: u32 = 3;

const CREATE: Action = Action {
    words: "create",
    permission: "s3:CreateBucket",
};

/// Sets up one bucket.
#[derive(Clone)]
pub struct BucketAdmin {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    region: String,
}

impl fmt::Debug for BucketAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketAdmin")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Whether a bucket had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made now.
    Now,
    /// It was there already, and is the caller's own.
    Before,
}

impl BucketAdmin {
    /// A client of the bucket, with the credentials of the moment: it is for short work.
    pub async fn connect(access: &S3Access) -> Result<Self, AdminError> {
        let credential = access
            .credentials
            .get_credential()
            .await
            .map_err(|source| AdminError::NoCredentials {
                bucket: access.bucket.clone(),
                source,
            })?;
        let credentials = Credentials::new(
            credential.key_id.clone(),
            credential.secret_key.clone(),
            credential.token.clone(),
            None,
            "tidelog",
        );
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT)
            .build();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(access.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(access.path_style)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts)
            // Stores other than AWS need not know the newer checksums.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        if let Some(endpoint) = &access.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Self {
            client: Client::from_conf(config.build()),
            bucket: access.bucket.clone(),
            prefix: access.prefix.to_string(),
            region: access.region.clone(),
        })
    }

    /// Makes the bucket in its region unless it is there and the caller's.
    pub async fn create(&self) -> Result<Created, AdminError> {
        let place = (self.region != REGION_UNNAMED).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region.as_str()))
                .build()
        });
        let request = self.client.create_bucket().bucket(&self.bucket);
        match request.set_create_bucket_configuration(place).send().await {
            Ok(_) => Ok(Created::Now),
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(Created::Before),
            Err(error) => Err(AdminError::from_sdk(CREATE, &self.bucket, error)),
        }
    }
}
