//! `DescribeClientQuotas` and `AlterClientQuotas`: no client has a quota of its own.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::alter_client_quotas_response::{
    EntityData, EntryData as Altered,
};
use tidelog_kafka_codec::messages::describe_client_quotas_request::ComponentData;
use tidelog_kafka_codec::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::errors::Refusal;

/// Ways in which an entity may match; the numbers are Kafka's.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// The kinds of entities: an address has quotas of its own, the others may be asked for together.
const ADDRESS: &str = "ip";
const KINDS: &[&str] = &["user", "client-id", ADDRESS];

/// Whether a filter is one that could find something.
fn check(components: &[ComponentData]) -> Result<(), Refusal> {
    let refused = |code, message: String| Err(Refusal::new(code, message));
    for (at, it) in components.iter().enumerate() {
        let kind = &it.entity_type;
        let before = components.iter().take(at);
        if kind.is_empty() || before.into_iter().any(|other| other.entity_type == *kind) {
            let message = format!("`{kind}` is nothing to filter by, or stands there twice");
            return refused(ErrorCode::InvalidRequest, message);
        }
        if !KINDS.contains(&&**kind) {
            let message = format!("there are no entities of the type `{kind}`");
            return refused(ErrorCode::UnsupportedVersion, message);
        }
        if !matches!(
            (it.match_type, &it.match_),
            (EXACT, Some(_)) | (DEFAULT | ANY, None)
        ) {
            let message = format!("entities are not matched by `{}`", it.match_type);
            return refused(ErrorCode::InvalidRequest, message);
        }
    }
    let any_address = components.iter().any(|it| &*it.entity_type == ADDRESS);
    if any_address && components.len() > 1 {
        let message = "an address is not asked for together with users and clients";
        return refused(ErrorCode::InvalidRequest, message.to_owned());
    }
    Ok(())
}

impl Call {
    pub(crate) fn describe_client_quotas(
        &self,
        request: &DescribeClientQuotasRequest,
    ) -> DescribeClientQuotasResponse {
        let allowed = self.may(Operation::DescribeConfigs, Resource::Cluster);
        let refusal = allowed.and_then(|()| check(&request.components)).err();
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
