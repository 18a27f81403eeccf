//! Limits of both sides.

use std::time::Duration;

use tonic::transport::ClientTlsConfig;

/// Bytes of a page in one message.
pub(crate) const CHUNK_BYTES: usize = 512 * 1024;
/// The largest message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Pages that one message makes a reader forget.
pub(crate) const FORGET_MAX: usize = 256;
/// How often a connection is asked whether its other end is there, and how long that one may take.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// See [`KEEP_ALIVE_INTERVAL`].
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How a broker reaches readers and how patient it is.
#[derive(Clone, Debug)]
pub struct TierSettings {
    /// How to check readers and to prove who this process is; none for plain HTTP/2.
    pub tls: Option<ClientTlsConfig>,
    /// How long an attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long a reader may take for a page before the bucket is asked.
    pub patience: Duration,
    /// How long a reader may take to take one.
    pub offer_timeout: Duration,
    /// Pages that one reader may have under way for this broker, whatever the others have. Beyond it, it has no more than a
    /// quarter above its part of what all have.
    pub pages_min: usize,
    /// Bytes of pages that wait to be taken by readers; beyond it they are not offered.
    pub offer_bytes: usize,
}

impl Default for TierSettings {
    fn default() -> Self {
        Self {
            tls: None,
            connect_timeout: Duration::from_millis(500),
            patience: Duration::from_secs(1),
            offer_timeout: Duration::from_secs(5),
            pages_min: 16,
            offer_bytes: 16 * 1024 * 1024,
        }
    }
}
