//! Metrics over OTLP: what `/metrics` shows, sent to a collector at an interval.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus_client::registry::Registry;
use tidelog_env::{CancellationToken, Clock};
use tidelog_types::Timestamp;
use tonic::transport::{Channel, Endpoint};

use super::openmetrics::{self, Family, Kind, Labels};
use super::{Identity, TelemetryError, traces};
use crate::metrics::render;
use crate::settings::OtlpSettings;

/// Sends metrics until it is told to end.
#[derive(Debug)]
pub struct MetricsExport {
    client: MetricsServiceClient<Channel>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    interval: std::time::Duration,
    resource: Resource,
    start: Timestamp,
}

impl MetricsExport {
    /// An export as the settings want it; none if there is no endpoint or metrics are not wanted. The
    /// collector need not be there yet.
    pub fn new(
        otlp: &OtlpSettings,
        identity: &Identity,
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = otlp.endpoint.as_deref().filter(|_| otlp.metrics) else {
            return Ok(None);
        };
        let failed = |source: tonic::transport::Error| TelemetryError::Exporter {
            endpoint: endpoint.to_owned(),
            source: Box::new(source),
        };
        let mut target = Endpoint::from_shared(endpoint.to_owned()).map_err(failed)?;
        if let Some(tls) = traces::tls(endpoint) {
            target = target.tls_config(tls).map_err(failed)?;
        }
        let channel = target
            .timeout(otlp.timeout.get())
            .connect_timeout(otlp.timeout.get())
            .connect_lazy();
        Ok(Some(Self {
            client: MetricsServiceClient::new(channel),
            registry,
            start: clock.wall(),
            clock,
            interval: otlp.interval.get(),
            resource: resource(identity),
        }))
    }

    /// Exports at each interval, and once more at the end. A collector that does not answer is logged
    /// once until it answers again: metrics are cumulative, so nothing is lost by a gap.
    pub async fn run(mut self, end: CancellationToken) {
        let mut reachable = true;
        loop {
            let last = tokio::select! {
                biased;
                () = end.cancelled() => true,
                () = self.clock.sleep(self.interval) => false,
            };
            let answer = self.export().await;
            match &answer {
                Err(status) if reachable => {
                    let error = status.message();
                    tracing::warn!(error, "the collector does not take metrics");
                }
                Ok(()) if !reachable => tracing::info!("the collector takes metrics again"),
                _ => {}
            }
            reachable = answer.is_ok();
            if last {
                return;
            }
        }
    }

    async fn export(&mut self) -> Result<(), tonic::Status> {
        let text = render(&self.registry)
            .map_err(|_| tonic::Status::internal("the metrics cannot be written as text"))?;
        let request = request(
            &openmetrics::parse(&text),
            &self.resource,
            self.start,
            self.clock.wall(),
        );
        self.client.export(request).await.map(drop)
    }
}

fn resource(identity: &Identity) -> Resource {
    let service = ("service.name", traces::SERVICE.to_owned());
    let attributes = std::iter::once(service).chain(traces::attributes(identity));
    Resource {
        attributes: attributes
            .map(|(key, value)| attribute(key.to_owned(), value))
            .collect(),
        ..Resource::default()
    }
}

fn request(
    families: &[Family],
    resource: &Resource,
    start: Timestamp,
    now: Timestamp,
) -> ExportMetricsServiceRequest {
    let times = (nanos(start), nanos(now));
    let scope = InstrumentationScope {
        name: traces::SERVICE.to_owned(),
        ..Default::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics: families
                    .iter()
                    .map(|family| metric(family, times))
                    .collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn metric(family: &Family, times: (u64, u64)) -> Metric {
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: numbers(family, times),
        }),
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(family, times),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: distributions(family, times),
            aggregation_temporality: cumulative,
        }),
    };
    Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: family.unit.clone(),
        data: Some(data),
        ..Metric::default()
    }
}

fn numbers(family: &Family, (start, now): (u64, u64)) -> Vec<NumberDataPoint> {
    let point = |(labels, value): (&Labels, &f64)| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsDouble(*value)),
        ..NumberDataPoint::default()
    };
    family.values.iter().map(point).collect()
}

fn distributions(family: &Family, (start, now): (u64, u64)) -> Vec<HistogramDataPoint> {
    let mut points = Vec::new();
    for (labels, histogram) in &family.histograms {
        // Ours count all values up to a bound; OTLP counts those since the bound before.
        let mut before = 0;
        let mut counts = Vec::new();
        for (_, count) in &histogram.buckets {
            counts.push(count.saturating_sub(before));
            before = *count;
        }
        let bounds = histogram.buckets.iter().map(|(bound, _)| *bound);
        points.push(HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: start,
            time_unix_nano: now,
            count: histogram.count,
            sum: Some(histogram.sum),
            bucket_counts: counts,
            explicit_bounds: bounds.filter(|bound| bound.is_finite()).collect(),
            ..HistogramDataPoint::default()
        });
    }
    points
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|(name, value)| attribute(name.clone(), value.clone()))
        .collect()
}

fn attribute(key: String, value: String) -> KeyValue {
    let value = Some(AnyValue {
        value: Some(Value::StringValue(value)),
    });
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

fn nanos(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(0)
        .saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests;
