//! HTTP/2 without manners.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use prost::Message;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What a client of HTTP/2 says first, with empty settings behind it.
pub(super) const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection that goes when this does.
pub(super) struct Connection {
    pub(super) requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let mut builder = h2::client::Builder::new();
        // Whatever the server says of its limits, this client tries more.
        builder
            .initial_max_send_streams(1 << 20)
            .max_send_buffer_size(1 << 20);
        let (requests, connection) = builder.handshake(stream).await?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { requests, driver })
    }

    /// Begins a call.
    pub(super) fn call(&mut self, method: &str) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let request = Request::post(format!("http://x/tidelog.v1.LogService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        Ok(self.requests.send_request(request, false)?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A message as gRPC sends it.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = prefix(message.encoded_len());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// What stands before a message of this length.
pub(super) fn prefix(length: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(5 + length.min(1 << 20));
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("lengths of tests are small"));
    bytes
}

/// A frame of HTTP/2.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames of tests are small");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Sends the same bytes again and again and reads nothing, until the server has had enough of it or all are
/// sent. How often they were sent.
pub(super) async fn flood(
    address: SocketAddr,
    first: &[u8],
    again: &[u8],
    times: usize,
) -> Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(GREETING).await?;
    stream.write_all(first).await?;
    for sent in 0..times {
        let write = stream.write_all(again);
        match tokio::time::timeout(std::time::Duration::from_secs(1), write).await {
            Ok(Ok(())) => {}
            // Cut off, or no longer read.
            Ok(Err(_)) | Err(_) => return Ok(sent),
        }
    }
    Ok(times)
}
