//! Settings of the Kafka front end.

use std::time::Duration;

/// Limits of the Kafka front end.
#[derive(Clone, Copy, Debug)]
pub struct KafkaSettings {
    /// The largest request that is taken.
    pub request_bytes_max: usize,
    /// How long a request may take from its first byte to its last. Waiting for memory does not count.
    pub request_timeout: Duration,
    /// The most bytes of records in one answer to a fetch.
    pub fetch_bytes_max: u32,
    /// Bytes of requests that are being received, over all connections, until their batches have memory of
    /// their own.
    pub intake_bytes: u64,
    /// Bytes of answers that their readers have not taken yet, over all connections.
    pub answer_bytes: u64,
    /// Bytes of what clients want in their fetch sessions, over all connections. Beyond it clients are served
    /// without one.
    pub session_bytes: u64,
    /// A client that takes no byte of an answer for so long is closed.
    pub stall_timeout: Duration,
    /// A connection on which nothing happens for so long is closed.
    pub idle_timeout: Duration,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Requests of one connection that are taken and whose answers are not sent yet.
    pub in_flight_max: usize,
    /// Whether a topic is created when a client that wants so asks for one that there is not.
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: u32,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            request_bytes_max: 16 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            fetch_bytes_max: 16 * 1024 * 1024,
            intake_bytes: 64 * 1024 * 1024,
            answer_bytes: 64 * 1024 * 1024,
            session_bytes: 16 * 1024 * 1024,
            stall_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(10),
            connections_max: 20_480,
            in_flight_max: 64,
            auto_create_topics: false,
            default_partitions: 1,
        }
    }
}

/// A request that is larger waits for memory before more of it is read.
pub(crate) const HELD_BYTES_MIN: usize = 8 * 1024;
/// Memory that a decoded request may take beside its frame.
pub(crate) const DECODED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Batches of one partition in one request.
pub(crate) const PARTITION_BATCHES_MAX: usize = 100;
/// Topics that are asked for at a time where all are wanted.
pub(crate) const TOPICS_PAGE: usize = 1_000;
