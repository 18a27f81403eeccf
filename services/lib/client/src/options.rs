//! How a client connects and how patient it is.

use std::time::Duration;

use tidelog_env::{BackoffPolicy, Env};
use tonic::transport::ClientTlsConfig;

use crate::OnTrouble;

/// Options of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Says which application this is, for quotas and logs. At most 128 ASCII characters. Default: `rust`.
    pub client_id: String,
    /// Sent as a bearer token with each request. Default: none.
    pub bearer_token: Option<String>,
    /// How to check the server of an `https://` endpoint. Default: not at all, and such an endpoint is
    /// refused.
    pub tls: Option<ClientTlsConfig>,
    /// How long one attempt to connect may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long a request that is not a stream may take, with its retries, and how long a consumer tries
    /// to go on after a break. Default: 30 s.
    pub request_timeout: Duration,
    /// The waits between attempts. Default: from 50 ms to 2 s, ten of them.
    pub backoff: BackoffPolicy,
    /// The largest message that is taken from the server, in bytes. Default: 64 MiB.
    pub message_bytes_max: usize,
    /// HTTP/2's flow-control window of one stream, in bytes: how far the server may run ahead of a slow
    /// consumer. Default: 4 MiB.
    pub stream_window_bytes: u32,
    /// HTTP/2's flow-control window of the connection, in bytes. Default: 16 MiB.
    pub connection_window_bytes: u32,
    /// How often an open connection is probed. Default: 10 s; one that does not answer within half of
    /// it is given up.
    pub keep_alive_interval: Duration,
    /// Told of trouble that lasts, such as a service that cannot be reached. Default: nobody.
    pub on_trouble: Option<OnTrouble>,
    /// Clock, randomness and tasks. Default: the real ones.
    pub env: Env,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            client_id: "rust".to_owned(),
            bearer_token: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            backoff: BackoffPolicy::new(Duration::from_millis(50), Duration::from_secs(2), 10),
            message_bytes_max: 64 * 1024 * 1024,
            stream_window_bytes: 4 * 1024 * 1024,
            connection_window_bytes: 16 * 1024 * 1024,
            keep_alive_interval: Duration::from_secs(10),
            on_trouble: None,
            env: Env::system(),
        }
    }
}
