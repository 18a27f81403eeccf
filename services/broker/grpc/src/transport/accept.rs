//! Takes connections and serves each until it ends.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tidelog_env::clock::timeout;
use tidelog_env::{CancellationToken, Clock, Env};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::calls::Calls;
use super::connections::{Connections, Peer, Seat};
use crate::metrics::{Closed, GrpcMetrics};
use crate::settings::GrpcSettings;

/// Bytes of the header of a request or an answer to one, after decompression.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// What a stream hands to the transport before its reader has taken any of it.
const SEND_BYTES_MAX: usize = 256 * 1024;
/// Streams that a client reset before they were looked at, and those reset because of what it sent. More
/// of them end the connection.
const PENDING_RESETS_MAX: usize = 20;
const ERROR_RESETS_MAX: usize = 256;
/// How long a peer may take to acknowledge that it is still there.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The preface of HTTP/2 and an empty frame of settings: less is no greeting.
const GREETING_BYTES: usize = 24 + 9;
/// How long a connection that was asked to go may take.
const LEAVE_TIME: Duration = Duration::from_millis(250);
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Refused clients that are told why at the same time, and for how long at most.
const FAREWELLS_MAX: usize = 64;
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// What connections are served with.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) env: Env,
    pub(crate) settings: GrpcSettings,
    pub(crate) connections: Connections,
    pub(crate) calls: Calls,
    pub(crate) metrics: GrpcMetrics,
}

/// Serves until `stop` is cancelled, then waits for the connections to finish their calls.
pub(crate) async fn serve_connections(
    transport: Transport,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let farewells = Arc::new(Semaphore::new(FAREWELLS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Also a client that was gone before it was let in.
                tracing::warn!(%error, "no connection could be accepted");
                transport.env.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let supervisor = &transport.env.supervisor;
        if let Some(seat) = transport.connections.admit() {
            let serving = transport.clone().serve(stream, seat, stop.clone());
            let open = open.clone();
            drop(supervisor.spawn("grpc connection", async move {
                serving.await;
                drop(open);
            }));
        } else if let Ok(permit) = Arc::clone(&farewells).try_acquire_owned() {
            tracing::debug!(%address, "connection refused: all are at work");
            let clock = Arc::clone(&transport.env.clock);
            drop(supervisor.spawn("grpc farewell", async move {
                let _ = timeout(clock.as_ref(), FAREWELL_TIME, refuse(stream)).await;
                drop(permit);
            }));
        }
    }
    drop((listener, open));
    // Nobody sends: it ends when the last connection has.
    let _ = all_closed.recv().await;
}

/// Says why in the words of HTTP/2: an empty frame of settings and a GOAWAY.
async fn refuse(mut stream: TcpStream) {
    const WHY: &[u8] = b"too many connections (grpc.connections_max)";
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    let mut words = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + WHY.len()).unwrap_or_default();
    words.extend_from_slice(&[0, 0, length, 7, 0, 0, 0, 0, 0]);
    words.extend_from_slice(&0_u32.to_be_bytes());
    words.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    words.extend_from_slice(WHY);
    if stream.write_all(&words).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // What the client has sent is read, or the system would take back what it was told.
    let mut nowhere = [0; 1024];
    while stream.read(&mut nowhere).await.is_ok_and(|read| read > 0) {}
}

impl Transport {
    fn builder(&self, peer: &Peer) -> Builder<TokioExecutor> {
        let settings = &self.settings;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_connection_window_size(peer.window_bytes())
            // One call whose message waits for memory leaves the connection to the others.
            .initial_stream_window_size(peer.window_bytes() / 2)
            .max_frame_size(peer.frame_bytes())
            .max_concurrent_streams(settings.connection_streams_max)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_send_buf_size(SEND_BYTES_MAX)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(ERROR_RESETS_MAX)
            .keep_alive_interval(settings.keep_alive)
            .keep_alive_timeout(settings.keep_alive.min(KEEP_ALIVE_TIMEOUT))
            .auto_date_header(false);
        builder
    }

    /// Ends when a connection that was asked to go is waited for in vain: the server has nothing to do for
    /// it any more, and for a while nothing has moved. Who takes answers, however slowly, is waited for.
    async fn is_left(&self, peer: &Peer) {
        // Between two questions whether the peer is still there, since these move as well.
        let still = self
            .settings
            .stall_timeout
            .min(self.settings.keep_alive / 2);
        loop {
            let before = peer.moves();
            self.env.clock.sleep(still).await;
            if !peer.awaits_us() && peer.moves() == before {
                return;
            }
        }
    }

    async fn serve(self, stream: TcpStream, seat: Seat, stop: CancellationToken) {
        let clock: &dyn Clock = self.env.clock.as_ref();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the socket is gone");
            return;
        }
        let Ok(address) = stream.peer_addr() else {
            // It is gone too.
            return;
        };
        let greeting = clock.sleep(self.settings.greeting_timeout);
        let socket = Socket::new(stream, greeting, &seat.peer, self.metrics.clone());
        let service = TowerToHyperService::new(self.calls.of(Arc::clone(&seat.peer), address.ip()));
        let connection = self
            .builder(&seat.peer)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = seat.peer.close.cancelled() => {
                connection.as_mut().graceful_shutdown();
                timeout(clock, LEAVE_TIME, connection.as_mut()).await.ok()
            }
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => Some(ended),
                    () = seat.peer.close.cancelled() => None,
                    () = self.is_left(&seat.peer) => {
                        seat.close(Closed::Left);
                        None
                    }
                }
            }
        };
        if let Some(Err(error)) = ended {
            tracing::debug!(
                error = tidelog_env::error_chain(&error),
                "connection failed"
            );
        }
    }
}

/// A socket that has to be greeted in time, and tells what moves on it.
struct Socket {
    stream: TcpStream,
    peer: Arc<Peer>,
    greeting: Option<(usize, BoxFuture<'static, ()>)>,
    metrics: GrpcMetrics,
}

impl Socket {
    fn new(
        stream: TcpStream,
        time: BoxFuture<'static, ()>,
        peer: &Arc<Peer>,
        metrics: GrpcMetrics,
    ) -> Self {
        Self {
            stream,
            peer: Arc::clone(peer),
            greeting: Some((0, time)),
            metrics,
        }
    }
}

impl Socket {
    /// Takes note of what was written.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.peer.moved(*bytes);
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buf);
        let bytes = buf.filled().len() - before;
        this.peer.moved(bytes);
        if let Some((seen, time)) = &mut this.greeting {
            *seen += bytes;
            if *seen >= GREETING_BYTES {
                this.greeting = None;
            } else if time.poll_unpin(context).is_ready() {
                this.metrics.closed(Closed::NoGreeting);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.note(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
