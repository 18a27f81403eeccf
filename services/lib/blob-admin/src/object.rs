//! How the store keeps one object.

use crate::bucket::BucketAdmin;
use crate::error::{Action, AdminError};

const HEAD: Action = Action {
    words: "look at an object of",
    permission: "s3:GetObject",
};

/// What the store says of how it keeps an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAs {
    /// How it is encrypted, as S3 calls it: `AES256`, `aws:kms`.
    pub encryption: Option<String>,
    /// The key of `aws:kms`.
    pub kms_key: Option<String>,
    /// The storage class, if it is not the usual one.
    pub storage_class: Option<String>,
}

impl BucketAdmin {
    /// How the store keeps the object under a key.
    pub async fn stored_as(&self, key: &str) -> Result<StoredAs, AdminError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        let found = request
            .send()
            .await
            .map_err(|error| AdminError::from_sdk(HEAD, &self.bucket, error))?;
        let text = |text: &str| text.to_owned();
        Ok(StoredAs {
            encryption: found
                .server_side_encryption()
                .map(|kind| text(kind.as_str())),
            kms_key: found.ssekms_key_id().map(text),
            storage_class: found.storage_class().map(|class| text(class.as_str())),
        })
    }
}
