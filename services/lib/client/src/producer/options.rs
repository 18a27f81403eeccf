//! How a producer batches and how patient it is.

use std::time::Duration;

use tidelog_env::BackoffPolicy;
use tidelog_format::batch::Compression;
use tidelog_types::limits::PRODUCER_BATCHES_KEPT;

/// Options of a [`Producer`](crate::Producer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// A batch is sent when it has this many bytes before compression. Default: 512 KiB. No more than the
    /// topic's `max.message.bytes`; a single larger record makes a batch of its own.
    pub batch_bytes: usize,
    /// A batch is sent when its first record has waited this long, and at once when nothing else is on its
    /// way. Default: 5 ms.
    pub linger: Duration,
    /// How many bytes of records may wait for their acknowledgement; past it [`Producer::send`] waits.
    /// Default: 64 MiB.
    ///
    /// [`Producer::send`]: crate::Producer::send
    pub memory_bytes: usize,
    /// How batches are compressed. Default: not at all.
    pub compression: Compression,
    /// Whether the service recognises a batch that is sent again, so that a retry neither loses, doubles
    /// nor reorders a record. Default: true. Without it a batch whose outcome is unknown is not retried.
    pub idempotent: bool,
    /// How many batches of one partition may await their answers. Default and limit: 5, as many as the
    /// service remembers.
    pub in_flight_batches: usize,
    /// When a record is given up that has not been acknowledged. Default: 2 minutes.
    pub delivery_timeout: Duration,
    /// The waits between attempts; `delivery_timeout` is what ends them. Default: from 50 ms to 2 s.
    pub backoff: BackoffPolicy,
}

/// As many batches in flight as the service keeps to recognise a retry.
pub(super) const IN_FLIGHT_BATCHES_MAX: usize = PRODUCER_BATCHES_KEPT;

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            batch_bytes: 512 * 1024,
            linger: Duration::from_millis(5),
            memory_bytes: 64 * 1024 * 1024,
            compression: Compression::None,
            idempotent: true,
            in_flight_batches: IN_FLIGHT_BATCHES_MAX,
            delivery_timeout: Duration::from_mins(2),
            backoff: BackoffPolicy::new(
                Duration::from_millis(50),
                Duration::from_secs(2),
                u32::MAX,
            ),
        }
    }
}
