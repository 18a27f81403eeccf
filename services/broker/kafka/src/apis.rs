//! What is served, and in which versions.

use tidelog_kafka_codec::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use tidelog_kafka_codec::messages::{ApiVersionsRequest, ApiVersionsResponse};
use tidelog_kafka_codec::{ApiKey, ByteString, ErrorCode, VersionRange};

use crate::call::Call;

/// Every API that is served, in the order of their numbers.
pub(crate) const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::WriteTxnMarkers,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::CreateDelegationToken,
    ApiKey::RenewDelegationToken,
    ApiKey::ExpireDelegationToken,
    ApiKey::DescribeDelegationToken,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::AlterUserScramCredentials,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::GetTelemetrySubscriptions,
    ApiKey::PushTelemetry,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// What clients use only if they are told of it, and at which level: members of groups whose assignment the broker
/// does, and another epoch for each transaction. They are on in every cluster and cannot be turned off.
///
/// Clients before 3.9 do not understand a feature that may be at level 0, so none may be.
pub(crate) const FEATURES: &[(&str, i16)] = &[("group.version", 1), ("transaction.version", 2)];

/// The lowest level of every feature.
const FEATURE_LEVEL_MIN: i16 = 1;

/// The versions in which an API is served.
pub(crate) fn served(key: ApiKey) -> Option<VersionRange> {
    SERVED.contains(&key).then(|| key.stable_versions())
}

/// An API as it is told to clients.
fn told(key: ApiKey) -> ApiVersion {
    let VersionRange { min, max } = key.stable_versions();
    let min_version = match key {
        // librdkafka before 2.x takes compression for impossible unless the oldest versions are there. Kafka 4
        // tells the same, and serves them as little.
        ApiKey::Produce => 0,
        _ => min,
    };
    ApiVersion {
        api_key: key.code(),
        min_version,
        max_version: max,
    }
}

/// The answer to a client that asked in a version that is not known here: it can read version 0.
pub(crate) fn unknown_version() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![told(ApiKey::ApiVersions)],
        ..ApiVersionsResponse::default()
    }
}

/// Letters and digits, and points and dashes between them, as Kafka wants names and versions of software.
fn is_plain(text: &str) -> bool {
    let within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let at_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(within) && at_end(text.chars().next()) && at_end(text.chars().next_back())
}

impl Call {
    pub(crate) fn api_versions(&self, request: ApiVersionsRequest) -> ApiVersionsResponse {
        let supported = FEATURES.iter().map(|(name, level)| SupportedFeatureKey {
            name: ByteString::from_static(name),
            min_version: FEATURE_LEVEL_MIN,
            max_version: *level,
        });
        let finalized = FEATURES.iter().map(|(name, level)| FinalizedFeatureKey {
            name: ByteString::from_static(name),
            max_version_level: *level,
            min_version_level: *level,
        });
        let mut response = ApiVersionsResponse {
            api_keys: SERVED.iter().map(|key| told(*key)).collect(),
            supported_features: supported.collect(),
            // They never change.
            finalized_features_epoch: 0,
            finalized_features: finalized.collect(),
            ..ApiVersionsResponse::default()
        };
        let is_named =
            is_plain(&request.client_software_name) && is_plain(&request.client_software_version);
        if self.version >= 3 && !is_named {
            response.error_code = self.code(ErrorCode::InvalidRequest);
            response.api_keys = Vec::new();
            return response;
        }
        // A client that was on its way to another cluster. Which broker it was on its way to has no meaning:
        // any will do, also one that has come to the address of another, or stands with it behind one address.
        let cluster = self.front.engine().cluster().to_string();
        let is_astray = request.cluster_id.is_some_and(|id| *id != *cluster);
        if self.version >= 5 && is_astray {
            response.error_code = self.code(ErrorCode::RebootstrapRequired);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_told_in_the_order_of_their_numbers_and_only_what_will_not_change() {
        assert!(SERVED.is_sorted_by_key(|key| key.code()));
        for key in SERVED {
            let (told, versions) = (told(*key), key.versions());
            assert!(told.max_version <= versions.max);
            assert!(told.min_version == versions.min || *key == ApiKey::Produce);
        }
        assert_eq!(told(ApiKey::Produce).min_version, 0);
        assert_eq!(served(ApiKey::DescribeQuorum), None);
    }

    #[test]
    fn names_of_software_are_plain() {
        assert!(is_plain("apache-kafka-java") && is_plain("4.1.0") && is_plain("a"));
        for wrong in ["", "-a", "a-", "a b", "a\n", "."] {
            assert!(!is_plain(wrong), "{wrong:?}");
        }
    }
}
