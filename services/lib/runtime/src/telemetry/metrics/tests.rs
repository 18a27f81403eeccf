//! The export against a collector in the same process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram as Distribution;
use tidelog_env::ManualClock;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::settings::{Sources, load};

#[derive(Debug)]
struct Collector(mpsc::UnboundedSender<ExportMetricsServiceRequest>);

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn collector() -> (
    SocketAddr,
    mpsc::UnboundedReceiver<ExportMetricsServiceRequest>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(Collector(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (address, receiver)
}

fn settings(flags: &[(&str, &str)]) -> OtlpSettings {
    let flags = flags
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    load(&Sources {
        flags,
        ..Sources::default()
    })
    .unwrap()
    .settings
    .otlp
}

fn identity() -> Identity {
    Identity {
        version: "1",
        instance: "here".to_owned(),
        zone: String::new(),
    }
}

fn metrics_of(request: &ExportMetricsServiceRequest) -> &[Metric] {
    &request.resource_metrics[0].scope_metrics[0].metrics
}

#[tokio::test]
async fn the_collector_gets_the_metrics_at_each_interval_and_at_the_end() {
    let (address, mut received) = collector().await;
    let mut registry = Registry::default();
    let puts: Counter = Counter::default();
    registry.register("puts", "Puts of objects", puts.clone());
    let took = Distribution::new([0.5]);
    registry.register("took_seconds", "How long it took", took.clone());
    puts.inc_by(3);
    took.observe(0.25);
    took.observe(2.0);

    let endpoint = format!("http://{address}");
    let otlp = settings(&[("otlp.endpoint", &endpoint), ("otlp.interval", "10s")]);
    let clock = ManualClock::new(Timestamp::from_millis(1_000));
    let export = MetricsExport::new(
        &otlp,
        &identity(),
        Arc::new(registry),
        Arc::new(clock.clone()),
    )
    .unwrap()
    .unwrap();
    let end = CancellationToken::new();
    let running = tokio::spawn(export.run(end.clone()));
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(10));
    let request = received.recv().await.unwrap();
    let attributes = &request.resource_metrics[0]
        .resource
        .as_ref()
        .unwrap()
        .attributes;
    assert_eq!(attributes[0].key, "service.name");
    let metrics = metrics_of(&request);
    let Some(Data::Sum(sum)) = &metrics[0].data else {
        panic!("{metrics:?}")
    };
    assert!(sum.is_monotonic);
    assert_eq!(
        sum.data_points[0].value,
        Some(number_data_point::Value::AsDouble(3.0))
    );
    assert_eq!(sum.data_points[0].start_time_unix_nano, 1_000_000_000);
    assert_eq!(sum.data_points[0].time_unix_nano, 11_000_000_000);
    let Some(Data::Histogram(histogram)) = &metrics[1].data else {
        panic!("{metrics:?}")
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (2, Some(2.25)));
    assert_eq!(
        (&point.bucket_counts[..], &point.explicit_bounds[..]),
        (&[1, 1][..], &[0.5][..])
    );

    puts.inc();
    end.cancel();
    running.await.unwrap();
    let request = received.recv().await.unwrap();
    let Some(Data::Sum(sum)) = &metrics_of(&request)[0].data else {
        panic!("{request:?}")
    };
    assert_eq!(
        sum.data_points[0].value,
        Some(number_data_point::Value::AsDouble(4.0))
    );
}

#[tokio::test]
async fn without_an_endpoint_or_without_the_wish_nothing_is_exported() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let off = [
        ("otlp.endpoint", "http://127.0.0.1:1"),
        ("otlp.metrics", "false"),
    ];
    for otlp in [settings(&[]), settings(&off)] {
        let registry = Arc::new(Registry::default());
        let export = MetricsExport::new(&otlp, &identity(), registry, Arc::clone(&clock)).unwrap();
        assert!(export.is_none());
    }
}
