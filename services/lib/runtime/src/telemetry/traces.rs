//! Traces: spans of `tracing`, exported over OTLP.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::{Identity, TelemetryError};
use crate::settings::OtlpSettings;

/// Spans of the libraries that carry the export would be exported in turn, for ever.
const EXPORTED: &str = "info,h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,opentelemetry=off";

/// The name of the service in traces and metrics.
pub(super) const SERVICE: &str = "tidelog";

/// What exports spans, if an endpoint is set and traces are wanted.
pub(super) fn provider(
    otlp: &OtlpSettings,
    identity: &Identity,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(endpoint) = otlp.endpoint.as_deref().filter(|_| otlp.traces) else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(otlp.timeout.get())
        .build()
        .map_err(|source| TelemetryError::Exporter {
            endpoint: endpoint.to_owned(),
            source: Box::new(source),
        })?;
    let resource = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attributes(attributes(identity).map(|(key, value)| KeyValue::new(key, value)))
        .build();
    let sampler = Sampler::TraceIdRatioBased(otlp.sample_ratio);
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource)
            .build(),
    ))
}

/// Who speaks, besides the service's name.
pub(super) fn attributes(identity: &Identity) -> impl Iterator<Item = (&'static str, String)> {
    let all = [
        ("service.version", identity.version.to_owned()),
        ("service.instance.id", identity.instance.clone()),
        ("cloud.availability_zone", identity.zone.clone()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty())
}

pub(super) fn layer(provider: &SdkTracerProvider) -> Box<dyn Layer<Registry> + Send + Sync> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_filter(EnvFilter::new(EXPORTED))
        .boxed()
}
