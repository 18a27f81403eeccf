//! The gRPC server: services, health and reflection behind the limits of the transport.

use thiserror::Error;
use tidelog_api::FILE_DESCRIPTOR_SET;
use tidelog_api::v1::cluster_service_server::ClusterServiceServer;
use tidelog_api::v1::group_service_server::GroupServiceServer;
use tidelog_api::v1::log_service_server::LogServiceServer;
use tidelog_api::v1::topic_service_server::TopicServiceServer;
use tidelog_env::CancellationToken;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::decode::Decode;
use crate::front::{Front, GrpcParts};
use crate::settings::CONTROL_BYTES_MAX;
use crate::transport::{Calls, Connections, Intake, Outflow, Transport, serve_connections};

/// Why the server ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The descriptor of the API cannot be read: a broken build.
    #[error("the API's own descriptor cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
}

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
    let env = parts.env.clone();
    let metrics = parts.metrics.clone();
    let connections = Connections::new(&parts);
    let outflow = Outflow::new(&parts, connections.clone());
    let decode = Decode::new(&parts);
    let intake = Intake::new(&parts, &decode);
    let front = Front::new(parts, decode, outflow.clone(), stop.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    set_serving(&health).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    // Answers have limits of their own, above what any request can ask for.
    let log = LogServiceServer::new(front.clone())
        .max_decoding_message_size(settings.request_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let topics =
        TopicServiceServer::new(front.clone()).max_decoding_message_size(CONTROL_BYTES_MAX);
    let groups =
        GroupServiceServer::new(front.clone()).max_decoding_message_size(CONTROL_BYTES_MAX);
    let cluster = ClusterServiceServer::new(front).max_decoding_message_size(CONTROL_BYTES_MAX);
    let routes = Routes::new(health_service)
        .add_service(reflection)
        .add_service(log)
        .add_service(topics)
        .add_service(groups)
        .add_service(cluster)
        .prepare();
    let transport = Transport {
        env,
        settings,
        calls: Calls {
            routes,
            connections: connections.clone(),
            intake,
            outflow,
        },
        connections,
        metrics,
    };
    let serving = serve_connections(transport, listener, stop.clone());
    let going = async {
        stop.cancelled().await;
        health
            .set_service_status(WHOLE_SERVER, ServingStatus::NotServing)
            .await;
    };
    tokio::join!(serving, going);
    Ok(())
}

async fn set_serving(health: &HealthReporter) {
    health
        .set_service_status(WHOLE_SERVER, ServingStatus::Serving)
        .await;
    health.set_serving::<LogServiceServer<Front>>().await;
    health.set_serving::<TopicServiceServer<Front>>().await;
    health.set_serving::<GroupServiceServer<Front>>().await;
    health.set_serving::<ClusterServiceServer<Front>>().await;
}
