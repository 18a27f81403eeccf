//! What can be seen of a bucket that could surprise its owner.

use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus};

use crate::bucket::BucketAdmin;
use crate::error::{Action, AdminError};

const VERSIONING: Action = Action {
    words: "read the versioning of",
    permission: "s3:GetBucketVersioning",
};

/// Something that could be seen, or why not.
#[derive(Debug)]
pub enum Fact<T> {
    /// It is so.
    Known(T),
    /// It could not be seen; the log works without.
    Hidden(AdminError),
}

/// What the bucket does with objects that are deleted or overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// They are gone.
    Off,
    /// They stay as old versions and cost money until a rule removes them.
    On,
    /// They are gone, but those from earlier times may still be there.
    Suspended,
}

/// What can be seen of a bucket.
#[derive(Debug)]
pub struct BucketFacts {
    /// What it does with old objects.
    pub versioning: Fact<Versioning>,
    /// Whether some rule removes abandoned uploads everywhere or below our prefix.
    pub removes_abandoned_uploads: Fact<bool>,
}

impl BucketAdmin {
    /// Looks at the bucket and changes nothing. What the credentials may not see is [`Fact::Hidden`]; a
    /// bucket that is not there is an error.
    pub async fn facts(&self) -> Result<BucketFacts, AdminError> {
        let removes = self.lifecycle_rules().await.map(|rules| {
            rules.rules.iter().any(|rule| {
                let prefix = rule.filter().and_then(|filter| filter.prefix());
                let prefix = prefix.unwrap_or_default();
                rule.status() == &ExpirationStatus::Enabled
                    && rule.abort_incomplete_multipart_upload().is_some()
                    && format!("{}/", self.prefix).starts_with(prefix)
            })
        });
        Ok(BucketFacts {
            versioning: fact(self.versioning().await)?,
            removes_abandoned_uploads: fact(removes)?,
        })
    }

    async fn versioning(&self) -> Result<Versioning, AdminError> {
        let request = self.client.get_bucket_versioning();
        let output = request
            .bucket(&self.bucket)
            .send()
            .await
            .map_err(|error| AdminError::from_sdk(VERSIONING, &self.bucket, error))?;
        Ok(match output.status() {
            Some(BucketVersioningStatus::Enabled) => Versioning::On,
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            _ => Versioning::Off,
        })
    }
}

fn fact<T>(result: Result<T, AdminError>) -> Result<Fact<T>, AdminError> {
    match result {
        Ok(value) => Ok(Fact::Known(value)),
        Err(error @ (AdminError::Denied { .. } | AdminError::Unsupported { .. })) => {
            Ok(Fact::Hidden(error))
        }
        Err(error) => Err(error),
    }
}
