//! Takes connections and serves each until it ends.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::CancellationToken;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::connection::Connection;
use crate::front::{Front, KafkaParts};

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled. Then nothing new is read, what was taken is answered, and it ends with the
/// last connection. The engine must go on until then.
pub async fn serve(parts: KafkaParts, listener: TcpListener, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(parts.settings.connections_max));
    let env = parts.env.clone();
    let front = Arc::new(Front::new(parts, stop.clone()));
    let metrics = &front.parts.metrics;
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Also a client that was gone before it was let in.
                tracing::warn!(%error, "no connection could be accepted");
                env.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            tracing::debug!(%peer, "kafka connection refused: too many are open");
            metrics.connections_refused.inc();
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the socket is gone");
            continue;
        }
        let connection = Connection::new(&front, stream, peer);
        let gauge = metrics.connections.clone();
        let open = open.clone();
        gauge.inc();
        drop(env.supervisor.spawn("kafka connection", async move {
            connection.run().await;
            gauge.dec();
            drop((seat, open));
        }));
    }
    drop((listener, open));
    // Nobody sends: it ends when the last connection has.
    let _ = all_closed.recv().await;
}
