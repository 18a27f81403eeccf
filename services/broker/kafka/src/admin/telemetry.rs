//! `GetTelemetrySubscriptions` and `PushTelemetry` (KIP-714): nobody wants metrics of clients, and they are told so.

use std::time::Duration;

use tidelog_kafka_codec::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
    PushTelemetryResponse,
};
use tidelog_kafka_codec::{ErrorCode, Uuid};

use crate::call::Call;

/// The subscription to nothing.
const SUBSCRIPTION: i32 = 0;
/// When a client asks again whether somebody wants something: as late as Kafka allows.
const ASK_AGAIN: Duration = Duration::from_hours(1);
/// The most that a client pushes at once; Kafka's number.
const METRICS_BYTES_MAX: usize = 1024 * 1024;
/// Kafka's numbers of zstd, LZ4, gzip and snappy, best first.
const COMPRESSIONS: [i8; 4] = [4, 3, 1, 2];
/// What is pushed as it is.
const NOT_COMPRESSED: i8 = 0;

impl Call {
    pub(crate) fn get_telemetry_subscriptions(
        &self,
        request: &GetTelemetrySubscriptionsRequest,
    ) -> GetTelemetrySubscriptionsResponse {
        let mut client_instance_id = request.client_instance_id;
        if client_instance_id.is_nil() {
            let mut bytes = [0; 16];
            self.front.parts.env.rng.fill(&mut bytes);
            client_instance_id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        }
        GetTelemetrySubscriptionsResponse {
            client_instance_id,
            subscription_id: SUBSCRIPTION,
            accepted_compression_types: COMPRESSIONS.to_vec(),
            push_interval_ms: i32::try_from(ASK_AGAIN.as_millis()).unwrap_or(i32::MAX),
            telemetry_max_bytes: i32::try_from(METRICS_BYTES_MAX).unwrap_or(i32::MAX),
            delta_temporality: true,
            ..GetTelemetrySubscriptionsResponse::default()
        }
    }

    /// What is pushed all the same is not looked at.
    pub(crate) fn push_telemetry(&self, request: &PushTelemetryRequest) -> PushTelemetryResponse {
        let compression = request.compression_type;
        let code = if request.client_instance_id == Uuid::nil() {
            ErrorCode::InvalidRequest
        } else if request.subscription_id != SUBSCRIPTION {
            ErrorCode::UnknownSubscriptionId
        } else if compression != NOT_COMPRESSED && !COMPRESSIONS.contains(&compression) {
            ErrorCode::UnsupportedCompressionType
        } else if request.metrics.len() > METRICS_BYTES_MAX {
            ErrorCode::TelemetryTooLarge
        } else {
            ErrorCode::None
        };
        PushTelemetryResponse {
            error_code: self.code(code),
            ..PushTelemetryResponse::default()
        }
    }
}
