//! The HTTP server for operators: `/metrics`, `/healthz`, `/readyz`.

use std::io;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tidelog_env::CancellationToken;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::metrics;

/// A server that is bound and not serving yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    state: AdminState,
}

#[derive(Clone, Debug)]
struct AdminState {
    registry: ShownMetrics,
    health: Health,
}

/// The metrics that a server shows, which are known only when the process is put together. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ShownMetrics(Arc<OnceLock<Arc<Registry>>>);

impl ShownMetrics {
    /// Shows these from now on. The first ones stay.
    pub fn show(&self, registry: Arc<Registry>) {
        let _ = self.0.set(registry);
    }
}

impl AdminServer {
    /// A server on a socket that is bound already. It tells life and readiness at once, and metrics when there
    /// are some: a process that waits while it starts is alive.
    pub const fn new(listener: TcpListener, registry: ShownMetrics, health: Health) -> Self {
        Self {
            listener,
            state: AdminState { registry, health },
        }
    }

    /// Serves until `end` is cancelled and the requests in flight are answered.
    pub async fn serve(self, end: CancellationToken) -> io::Result<()> {
        axum::serve(self.listener, routes(self.state))
            .with_graceful_shutdown(end.cancelled_owned())
            .await
    }
}

fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(serve_metrics))
        .route("/healthz", get(serve_health))
        .route("/readyz", get(serve_readiness))
        .with_state(state)
}

async fn serve_metrics(State(state): State<AdminState>) -> Response {
    let Some(registry) = state.registry.0.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the process starts\n").into_response();
    };
    match metrics::render(registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Alive unless it must not go on: a platform that asks restarts it then.
async fn serve_health(State(state): State<AdminState>) -> Response {
    match state.health.failure() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Ready if every condition is met; otherwise one line for each that is not.
async fn serve_readiness(State(state): State<AdminState>) -> Response {
    let unmet = state.health.unmet();
    if unmet.is_empty() {
        return "ready\n".into_response();
    }
    let lines: Vec<String> = unmet
        .iter()
        .map(|(name, reason)| format!("{name}: {reason}\n"))
        .collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn operators_see_metrics_life_and_readiness() {
        let mut registry = Registry::default();
        metrics::register(&mut registry, "1", "");
        let health = Health::new();
        let store = health.condition("store");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown = ShownMetrics::default();
        let server = AdminServer::new(listener, shown.clone(), health.clone());
        let end = CancellationToken::new();
        let serving = tokio::spawn(server.serve(end.clone()));

        assert!(ask(address, "/metrics").await.starts_with("HTTP/1.1 503"));
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        shown.show(Arc::new(registry));
        let answer = ask(address, "/metrics").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("openmetrics-text"),
            "{answer}"
        );
        assert!(answer.contains("tidelog_build_info"), "{answer}");

        let answer = ask(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("store: starting\n"),
            "{answer}"
        );
        store.met();
        assert!(ask(address, "/readyz").await.ends_with("ready\n"));

        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        health.fail("fenced by another process");
        let answer = ask(address, "/healthz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("fenced by another"),
            "{answer}"
        );

        assert!(ask(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        end.cancel();
        serving.await.unwrap().unwrap();
    }
}
