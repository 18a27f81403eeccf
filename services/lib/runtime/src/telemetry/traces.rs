//! Traces: spans of `tracing`, exported over OTLP.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::{Identity, TelemetryError};
use crate::settings::OtlpSettings;

/// Spans of the libraries that carry the export would be exported in turn, for ever. The span of a call is
/// there in any case, since it continues the trace of its caller.
const EXPORTED: &str = "info,tidelog_broker_grpc=debug,\
     h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,opentelemetry=off";

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

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
        TraceService, TraceServiceServer,
    };
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response, Status};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::settings::{Sources, load};

    #[derive(Debug)]
    struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: Request<ExportTraceServiceRequest>,
        ) -> Result<Response<ExportTraceServiceResponse>, Status> {
            self.0.send(request.into_inner()).unwrap();
            Ok(Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_span_reaches_the_collector_with_its_fields_and_who_sent_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, mut received) = mpsc::unbounded_channel();
        let service = TraceServiceServer::new(Collector(sender));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

        let flags = [
            ("otlp.endpoint", endpoint.as_str()),
            ("otlp.sample_ratio", "1"),
        ];
        let flags = flags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec();
        let otlp = load(&Sources {
            flags,
            ..Sources::default()
        })
        .unwrap()
        .settings
        .otlp;
        let identity = Identity {
            version: "1",
            instance: "here".to_owned(),
            zone: "a".to_owned(),
        };
        let provider = provider(&otlp, &identity).unwrap().unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(&provider));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("append", partition = 7).in_scope(|| {});
        });
        provider.force_flush().unwrap();

        let request = received.recv().await.unwrap();
        let shown = format!("{request:?}");
        for part in [
            "\"append\"",
            "\"partition\"",
            "\"service.instance.id\"",
            "\"here\"",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        provider.shutdown().unwrap();
    }
}
