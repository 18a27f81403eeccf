//! Takes connections: so many at a time, and only those that begin to speak.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use tidelog_env::Env;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::RpcMetrics;
use crate::settings::ServerSettings;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The preface of HTTP/2 and an empty frame of settings: less is no greeting.
const GREETING_BYTES: usize = 24 + 9;

/// The connections that come, each with a seat.
pub(super) fn incoming(
    env: Env,
    listener: TcpListener,
    settings: ServerSettings,
    metrics: RpcMetrics,
) -> impl Stream<Item = io::Result<Seat>> + Send {
    let seats = Arc::new(Semaphore::new(settings.connections_max));
    async_stream::stream! {
        // The semaphore is never closed.
        while let Ok(permit) = Arc::clone(&seats).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Small messages that someone waits for.
                    let _ = stream.set_nodelay(true);
                    metrics.connections.inc();
                    yield Ok(Seat {
                        stream,
                        greeting: Some((GREETING_BYTES, env.clock.sleep(settings.greeting_timeout))),
                        metrics: metrics.clone(),
                        _permit: permit,
                    });
                }
                Err(error) => {
                    // Also a peer that was gone before it was let in.
                    tracing::warn!(%error, "no connection of a peer could be accepted");
                    env.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection of a peer, which holds its place among all.
pub(super) struct Seat {
    stream: TcpStream,
    /// Bytes of the greeting that are still to come, and when they must have.
    greeting: Option<(usize, BoxFuture<'static, ()>)>,
    metrics: RpcMetrics,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connected for Seat {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Seat {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((_, deadline)) = &mut self.greeting
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if let Some((left, _)) = &mut self.greeting {
            *left = left.saturating_sub(read);
            if *left == 0 {
                self.greeting = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Seat {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
