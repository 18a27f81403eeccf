//! Settings of the gRPC front end.

use std::time::Duration;

/// Limits of the gRPC front end.
#[derive(Clone, Copy, Debug)]
pub struct GrpcSettings {
    /// The largest message that is taken.
    pub request_bytes_max: usize,
    /// The most bytes of data in one answer to a fetch.
    pub fetch_bytes_max: u32,
    /// Bytes of messages that are being received, over all connections, until their batches have memory of
    /// their own. Messages wait for their turn before more than their beginning is read.
    pub intake_bytes: u64,
    /// How long a message may take from its beginning to its end.
    pub intake_timeout: Duration,
    /// Bytes of answers that their readers have not taken yet, over all connections. Beyond it nothing
    /// more is put together.
    pub answer_bytes: u64,
    /// How long a message or an answer may stand still while others wait for its memory.
    pub stall_timeout: Duration,
    /// Bytes of one stream that may await their answers before nothing more is read from it.
    pub stream_bytes_in_flight: u64,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Calls at the same time, over all connections. Each connection has a few for itself.
    pub calls_max: usize,
    /// Calls of one connection at the same time.
    pub connection_streams_max: u32,
    /// Bytes that the windows of all connections have beyond the least that each has. The first
    /// connections get more of it than later ones.
    pub window_bytes: u64,
    /// A connection that has not begun to speak HTTP/2 after this long is closed.
    pub greeting_timeout: Duration,
    /// How often a quiet connection is asked whether it is still there.
    pub keep_alive: Duration,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: u32,
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX,
            fetch_bytes_max: 16 * 1024 * 1024,
            intake_bytes: 64 * 1024 * 1024,
            intake_timeout: Duration::from_mins(1),
            answer_bytes: 64 * 1024 * 1024,
            stall_timeout: Duration::from_secs(1),
            stream_bytes_in_flight: 32 * 1024 * 1024,
            connections_max: 1_024,
            calls_max: 16 * 1_024,
            connection_streams_max: 256,
            window_bytes: 64 * 1024 * 1024,
            greeting_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(30),
            default_partitions: 1,
        }
    }
}

/// The largest message where memory allows it: twice the largest batch.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest message of a call that carries no records.
pub(crate) const CONTROL_BYTES_MAX: usize = 1024 * 1024;
/// Entries of one produce message.
pub(crate) const PRODUCE_ENTRIES_MAX: usize = 10_000;
/// Partitions of one request.
pub(crate) const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Groups of one request.
pub(crate) const REQUEST_GROUPS_MAX: usize = 100;
/// Batches of one entry.
pub(crate) const ENTRY_BATCHES_MAX: usize = 100;
/// Bytes of a fetch that does not say how many.
pub(crate) const FETCH_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;
/// Longest wait of a fetch.
pub(crate) const FETCH_WAIT_MAX: Duration = Duration::from_mins(1);
