//! The gRPC server: services, health, reflection, limits of the transport.

use http::Request;
use thiserror::Error;
use tidelog_api::FILE_DESCRIPTOR_SET;
use tidelog_api::v1::cluster_service_server::ClusterServiceServer;
use tidelog_api::v1::log_service_server::LogServiceServer;
use tidelog_api::v1::topic_service_server::TopicServiceServer;
use tidelog_env::CancellationToken;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::MapRequestLayer;

use crate::front::{Front, GrpcParts};
use crate::intake::Intake;

/// Why the server ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The descriptor of the API cannot be read: a broken build.
    #[error("the API's own descriptor cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the gRPC server failed")]
    Transport(#[source] tonic::transport::Error),
}

/// The largest HTTP/2 frame that is taken: large ones cost less per byte.
const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// The name under which the whole server's health is asked for.
const WHOLE_SERVER: &str = "";

/// Serves until `stop` is cancelled. Then it takes no new calls, ends streams after what they have taken is
/// answered, and waits for the calls under way. The engine must go on until this ends.
pub async fn serve(
    parts: GrpcParts,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let settings = parts.settings;
    let intake = Intake::new(&parts);
    let front = Front::new(parts, stop.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    set_serving(&health).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    let limit = settings.request_bytes_max;
    // Answers have limits of their own, above what any request can ask for.
    let log = LogServiceServer::new(front.clone())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX);
    let topics = TopicServiceServer::new(front.clone()).max_decoding_message_size(limit);
    let cluster = ClusterServiceServer::new(front).max_decoding_message_size(limit);
    let metered = MapRequestLayer::new(move |request: Request<Body>| {
        request.map(|body| Body::new(intake.meter(body)))
    });
    Server::builder()
        .layer(metered)
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
        .max_concurrent_streams(settings.connection_streams_max)
        .http2_keepalive_interval(Some(settings.keep_alive))
        .max_frame_size(FRAME_BYTES_MAX)
        .tcp_nodelay(true)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(log)
        .add_service(topics)
        .add_service(cluster)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            stop.cancelled().await;
            health
                .set_service_status(WHOLE_SERVER, ServingStatus::NotServing)
                .await;
        })
        .await
        .map_err(ServeError::Transport)
}

async fn set_serving(health: &HealthReporter) {
    health
        .set_service_status(WHOLE_SERVER, ServingStatus::Serving)
        .await;
    health.set_serving::<LogServiceServer<Front>>().await;
    health.set_serving::<TopicServiceServer<Front>>().await;
    health.set_serving::<ClusterServiceServer<Front>>().await;
}
