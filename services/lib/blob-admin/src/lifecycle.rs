//! The rule that removes abandoned multipart uploads.
//!
//! A process that dies amid an upload of many parts leaves the parts, which cost money and which no listing
//! of objects shows. The store itself can remove them after some days, if a lifecycle rule says so. A
//! bucket's rules are written all at once, so the rules of others are read first and written back as they
//! are.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule,
    LifecycleRuleFilter, TransitionDefaultMinimumObjectSize,
};

use crate::bucket::BucketAdmin;
use crate::error::{Action, AdminError};

/// The id of our rule; by it we find it again. A prefix in the bucket is part of it, since several clusters
/// can share a bucket.
pub const ABANDONED_UPLOADS_RULE: &str = "tidelog-abandoned-uploads";

const READ: Action = Action {
    words: "read the lifecycle rules of",
    permission: "s3:GetLifecycleConfiguration",
};
const WRITE: Action = Action {
    words: "write the lifecycle rules of",
    permission: "s3:PutLifecycleConfiguration",
};

/// What became of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleChange {
    /// It stands as it should; nothing was written.
    Unchanged,
    /// It was not there.
    Added,
    /// It said something else.
    Replaced,
}

/// A bucket's rules as they are written back.
pub(crate) struct Rules {
    pub(crate) rules: Vec<LifecycleRule>,
    transition_size: Option<TransitionDefaultMinimumObjectSize>,
}

impl BucketAdmin {
    /// Makes sure that uploads below our prefix are removed `days` after they began and were not completed.
    /// Rules of others stay as they are. Between reading and writing nobody else should change them: S3 has
    /// no conditional write for rules.
    pub async fn ensure_abandoned_uploads_rule(
        &self,
        days: u16,
    ) -> Result<LifecycleChange, AdminError> {
        let mut current = self.lifecycle_rules().await?;
        let wanted = rule(&self.prefix, days).map_err(|error| self.other(Box::new(error)))?;
        let change = merge(&mut current.rules, wanted);
        if change == LifecycleChange::Unchanged {
            return Ok(change);
        }
        let configuration = BucketLifecycleConfiguration::builder()
            .set_rules(Some(current.rules))
            .build()
            .map_err(|error| self.other(Box::new(error)))?;
        let request = self.client.put_bucket_lifecycle_configuration();
        let written = request
            .bucket(&self.bucket)
            .lifecycle_configuration(configuration)
            .set_transition_default_minimum_object_size(current.transition_size)
            .send()
            .await;
        match written {
            Ok(_) => Ok(change),
            // What we send is well-formed, so it is the kind of rule that the store does not know.
            Err(error) if matches!(error.code(), Some("InvalidArgument" | "MalformedXML")) => {
                Err(AdminError::RuleRefused {
                    bucket: self.bucket.clone(),
                    source: Box::new(error),
                })
            }
            Err(error) => Err(AdminError::from_sdk(WRITE, &self.bucket, error)),
        }
    }

    /// The rules that stand; none if the bucket has none.
    pub(crate) async fn lifecycle_rules(&self) -> Result<Rules, AdminError> {
        let request = self.client.get_bucket_lifecycle_configuration();
        match request.bucket(&self.bucket).send().await {
            Ok(output) => Ok(Rules {
                transition_size: output.transition_default_minimum_object_size,
                rules: output.rules.unwrap_or_default(),
            }),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Rules {
                rules: Vec::new(),
                transition_size: None,
            }),
            Err(error) => Err(AdminError::from_sdk(READ, &self.bucket, error)),
        }
    }

    fn other(&self, source: Box<dyn std::error::Error + Send + Sync>) -> AdminError {
        AdminError::Other {
            action: WRITE.words,
            bucket: self.bucket.clone(),
            source,
        }
    }
}

/// The id of the rule for a prefix.
pub(crate) fn rule_id(prefix: &str) -> String {
    if prefix.is_empty() {
        ABANDONED_UPLOADS_RULE.to_owned()
    } else {
        format!("{ABANDONED_UPLOADS_RULE}-{prefix}")
    }
}

fn rule(prefix: &str, days: u16) -> Result<LifecycleRule, aws_sdk_s3::error::BuildError> {
    let below = if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}/")
    };
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(i32::from(days));
    LifecycleRule::builder()
        .id(rule_id(prefix))
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(below).build())
        .abort_incomplete_multipart_upload(abort.build())
        .build()
}

/// Puts `wanted` in the place of the rule with its id, or behind the others.
fn merge(rules: &mut Vec<LifecycleRule>, wanted: LifecycleRule) -> LifecycleChange {
    match rules.iter_mut().find(|rule| rule.id() == wanted.id()) {
        Some(rule) if is_same(rule, &wanted) => LifecycleChange::Unchanged,
        Some(rule) => {
            *rule = wanted;
            LifecycleChange::Replaced
        }
        None => {
            rules.push(wanted);
            LifecycleChange::Added
        }
    }
}

/// Whether a rule does what `wanted` does. A store may write an empty filter in several ways.
fn is_same(rule: &LifecycleRule, wanted: &LifecycleRule) -> bool {
    let prefix = |rule: &LifecycleRule| {
        let filtered = rule.filter().and_then(|filter| filter.prefix());
        filtered.unwrap_or_default().to_owned()
    };
    rule.status() == wanted.status()
        && prefix(rule) == prefix(wanted)
        && rule.abort_incomplete_multipart_upload() == wanted.abort_incomplete_multipart_upload()
        && rule.expiration().is_none()
        && rule.transitions().is_empty()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::LifecycleExpiration;

    use super::*;

    fn others() -> LifecycleRule {
        LifecycleRule::builder()
            .id("keep-out")
            .status(ExpirationStatus::Enabled)
            .expiration(LifecycleExpiration::builder().days(30).build())
            .build()
            .unwrap()
    }

    #[test]
    fn the_rules_of_others_stay_as_they_are() {
        let mut rules = vec![others()];
        assert_eq!(
            merge(&mut rules, rule("p", 3).unwrap()),
            LifecycleChange::Added
        );
        assert_eq!(
            merge(&mut rules, rule("p", 3).unwrap()),
            LifecycleChange::Unchanged
        );
        assert_eq!(
            merge(&mut rules, rule("p", 7).unwrap()),
            LifecycleChange::Replaced
        );
        assert_eq!(
            merge(&mut rules, rule("q", 7).unwrap()),
            LifecycleChange::Added
        );
        assert_eq!(
            rules,
            [others(), rule("p", 7).unwrap(), rule("q", 7).unwrap()]
        );
    }

    #[test]
    fn the_rule_keeps_to_our_prefix() {
        let ours = rule("a/b", 3).unwrap();
        assert_eq!(ours.filter().unwrap().prefix(), Some("a/b/"));
        assert_eq!(ours.id(), Some("tidelog-abandoned-uploads-a/b"));
        assert_eq!(rule("", 3).unwrap().filter().unwrap().prefix(), Some(""));
    }

    #[test]
    fn a_rule_of_our_name_that_does_more_is_replaced() {
        let mut edited = rule("p", 3).unwrap();
        edited.expiration = Some(LifecycleExpiration::builder().days(1).build());
        let mut rules = vec![edited];
        assert_eq!(
            merge(&mut rules, rule("p", 3).unwrap()),
            LifecycleChange::Replaced
        );
        let mut disabled = rule("p", 3).unwrap();
        disabled.status = ExpirationStatus::Disabled;
        let mut rules = vec![disabled];
        assert_eq!(
            merge(&mut rules, rule("p", 3).unwrap()),
            LifecycleChange::Replaced
        );
    }
}
