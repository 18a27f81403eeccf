//! Settings of the gRPC front end.

use std::time::Duration;

/// Limits of the gRPC front end.
#[derive(Clone, Copy, Debug)]
pub struct GrpcSettings {
    /// The largest message that is taken.
    pub request_bytes_max: usize,
    /// The most bytes of data in one answer to a fetch.
    pub fetch_bytes_max: u32,
    /// Bytes of messages that are being received, over all connections. Large messages wait for their turn
    /// before more than their beginning is read.
    pub intake_bytes: u64,
    /// How long a large message may take from its beginning to its end.
    pub intake_timeout: Duration,
    /// Bytes of one stream that may await their answers before nothing more is read from it.
    pub stream_bytes_in_flight: u64,
    /// The HTTP/2 window of a stream.
    pub stream_window_bytes: u32,
    /// The HTTP/2 window of a connection.
    pub connection_window_bytes: u32,
    /// Streams of one connection.
    pub connection_streams_max: u32,
    /// How often a quiet connection is asked whether it is still there.
    pub keep_alive: Duration,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: u32,
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self {
            request_bytes_max: 16 * 1024 * 1024,
            fetch_bytes_max: 16 * 1024 * 1024,
            intake_bytes: 64 * 1024 * 1024,
            intake_timeout: Duration::from_mins(1),
            stream_bytes_in_flight: 32 * 1024 * 1024,
            stream_window_bytes: 4 * 1024 * 1024,
            connection_window_bytes: 16 * 1024 * 1024,
            connection_streams_max: 1_024,
            keep_alive: Duration::from_secs(30),
            default_partitions: 1,
        }
    }
}

/// Entries of one produce message.
pub(crate) const PRODUCE_ENTRIES_MAX: usize = 10_000;
/// Partitions of one request.
pub(crate) const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Batches of one entry.
pub(crate) const ENTRY_BATCHES_MAX: usize = 100;
/// Bytes of a fetch that does not say how many.
pub(crate) const FETCH_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;
/// Longest wait of a fetch.
pub(crate) const FETCH_WAIT_MAX: Duration = Duration::from_mins(1);
