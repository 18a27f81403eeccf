//! Traces: spans of `tracing`, exported over OTLP.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tonic::transport::ClientTlsConfig;
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
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(otlp.timeout.get());
    if let Some(tls) = tls(endpoint) {
        exporter = exporter.with_tls_config(tls);
    }
    let exporter = exporter
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

/// How a collector behind TLS proves who it is: by a certificate that this system trusts.
pub(super) fn tls(endpoint: &str) -> Option<ClientTlsConfig> {
    let is_https = endpoint.starts_with("https://");
    is_https.then(|| ClientTlsConfig::new().with_enabled_roots())
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

    fn otlp(endpoint: &str) -> OtlpSettings {
        let flags = [("otlp.endpoint", endpoint), ("otlp.sample_ratio", "1")];
        let flags = flags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec();
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        load(&sources).unwrap().settings.otlp
    }

    fn identity() -> Identity {
        Identity {
            version: "1",
            instance: "here".to_owned(),
            zone: "a".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_collector_may_be_behind_tls() {
        assert!(tls("http://collector:4317").is_none());
        let made = provider(&otlp("https://collector.example:4317"), &identity());
        assert!(made.unwrap().is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_span_goes_on_where_its_caller_s_trace_is() {
        let (endpoint, mut received) = collector().await;
        let mut settings = otlp(&endpoint);
        // Nothing that begins here is sampled, but the caller has decided.
        settings.sample_ratio = 0.0;
        let provider = provider(&settings, &identity()).unwrap().unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(&provider));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("append");
            let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            super::super::continue_trace(&span, |name| (name == "traceparent").then_some(parent));
            span.in_scope(|| {});
        });
        provider.force_flush().unwrap();
        let request = received.recv().await.unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(span.parent_span_id[6..], [0x02, 0xb7]);
        provider.shutdown().unwrap();
    }

    /// A collector and what it gets.
    async fn collector() -> (String, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, received) = mpsc::unbounded_channel();
        let service = TraceServiceServer::new(Collector(sender));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (endpoint, received)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_span_reaches_the_collector_with_its_fields_and_who_sent_it() {
        let (endpoint, mut received) = collector().await;
        let provider = provider(&otlp(&endpoint), &identity()).unwrap().unwrap();
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
