//! `UpdateFeatures`: features are those of the program, and always on.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::update_features_request::FeatureUpdateKey;
use tidelog_kafka_codec::messages::update_features_response::UpdatableFeatureResult;
use tidelog_kafka_codec::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use tidelog_runtime::access::{Operation, Resource};

use crate::apis::FEATURES;
use crate::call::Call;
use crate::errors::Refusal;

/// The first version that tells of all features at once.
const ONE_OUTCOME_FROM: i16 = 2;

/// Whether a feature is as the client wants it.
fn check(wanted: &FeatureUpdateKey) -> Result<(), Refusal> {
    let feature = &wanted.feature;
    let known = FEATURES.iter().find(|(name, _)| **name == **feature);
    let message = match known {
        Some((_, level)) if *level == wanted.max_version_level => return Ok(()),
        Some((_, level)) => {
            format!("the feature `{feature}` is at level `{level}`, which cannot be changed")
        }
        None => format!("there is no feature `{feature}`"),
    };
    Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message))
}

impl Call {
    pub(crate) fn update_features(
        &self,
        request: &UpdateFeaturesRequest,
    ) -> UpdateFeaturesResponse {
        // Either all features are as they are wanted, or nothing is said of any.
        let mut wanted = request.feature_updates.iter();
        let allowed = self.may(Operation::Alter, Resource::Cluster);
        let refusal = allowed.and_then(|()| wanted.try_for_each(check)).err();
        let (error_code, error_message) = self.refused(refusal.as_ref());
        let mut response = UpdateFeaturesResponse {
            error_code,
            error_message,
            ..UpdateFeaturesResponse::default()
        };
        if self.version < ONE_OUTCOME_FROM && refusal.is_none() {
            let results = request.feature_updates.iter();
            let results = results.map(|wanted| UpdatableFeatureResult {
                feature: wanted.feature.clone(),
                ..UpdatableFeatureResult::default()
            });
            response.results = results.collect();
        }
        response
    }
}
