//! `DescribeClientQuotas` and `AlterClientQuotas`: no client has a quota of its own.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::alter_client_quotas_response::{
    EntityData, EntryData as Altered,
};
use tidelog_kafka_codec::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::errors::Refusal;

/// The ways in which an entity may match: by name, the default one, any that is named.
const MATCHES: std::ops::RangeInclusive<i8> = 0..=2;

impl Call {
    pub(crate) fn describe_client_quotas(
        &self,
        request: &DescribeClientQuotasRequest,
    ) -> DescribeClientQuotasResponse {
        let odd = request
            .components
            .iter()
            .find(|it| !MATCHES.contains(&it.match_type));
        let allowed = self.may(Operation::DescribeConfigs, Resource::Cluster);
        let refusal = allowed.err().or_else(|| {
            let message = format!("entities are not matched by `{}`", odd?.match_type);
            Some(Refusal::new(ErrorCode::InvalidRequest, message))
        });
        let (error_code, error_message) = self.refused(refusal.as_ref());
        DescribeClientQuotasResponse {
            error_code,
            error_message,
            entries: refusal.is_none().then(Vec::new),
            ..DescribeClientQuotasResponse::default()
        }
    }

    pub(crate) fn alter_client_quotas(
        &self,
        request: AlterClientQuotasRequest,
    ) -> AlterClientQuotasResponse {
        let why = "clients have no quotas of their own here";
        let refusal = self.never(Operation::AlterConfigs, ErrorCode::InvalidRequest, why);
        let entries = request.entries.into_iter().map(|entry| {
            let entity = entry.entity.into_iter().map(|it| EntityData {
                entity_type: it.entity_type,
                entity_name: it.entity_name,
            });
            let (error_code, error_message) = self.refused(Some(&refusal));
            Altered {
                error_code,
                error_message,
                entity: entity.collect(),
            }
        });
        AlterClientQuotasResponse {
            entries: entries.collect(),
            ..AlterClientQuotasResponse::default()
        }
    }
}
