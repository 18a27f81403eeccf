//! `UpdateFeatures`: features are those of the program, and always on.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::update_features_request::FeatureUpdateKey;
use tidelog_kafka_codec::messages::update_features_response::UpdatableFeatureResult;
use tidelog_kafka_codec::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use tidelog_runtime::access::{Operation, Resource};

use crate::apis::FEATURES;
use crate::call::Call;
use crate::errors::Refusal;

/// The first version with one outcome for all features.
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
        let allowed = self.may(Operation::Alter, Resource::Cluster);
        let updates = request.feature_updates.iter();
        let outcomes = updates.map(|wanted| allowed.clone().and_then(|()| check(wanted)));
        let outcomes: Vec<Result<(), Refusal>> = outcomes.collect();
        let of_all = match &allowed {
            Err(refusal) => Some(refusal),
            Ok(()) if self.version < ONE_OUTCOME_FROM => None,
            Ok(()) => outcomes.iter().find_map(|outcome| outcome.as_ref().err()),
        };
        let (error_code, error_message) = self.refused(of_all);
        let mut response = UpdateFeaturesResponse {
            error_code,
            error_message,
            ..UpdateFeaturesResponse::default()
        };
        if self.version < ONE_OUTCOME_FROM {
            let results = request.feature_updates.iter().zip(&outcomes);
            let results = results.map(|(wanted, outcome)| {
                let (error_code, error_message) = self.refused(outcome.as_ref().err());
                UpdatableFeatureResult {
                    feature: wanted.feature.clone(),
                    error_code,
                    error_message,
                }
            });
            response.results = results.collect();
        }
        response
    }
}
