//! Settings of the coordinators of transactional ids.

use std::time::Duration;

use tidelog_transactions::Limits;

use crate::driver::KEPT_SHARE;

/// How transactions are coordinated.
#[derive(Clone, Copy, Debug)]
pub struct TransactionSettings {
    /// The longest that a producer may ask for its transactions to be open.
    pub timeout_max: Duration,
    /// A transactional id is forgotten so long after it was last used.
    pub expiry: Duration,
    /// How often ids are looked through at most for those that have expired.
    pub sweep_interval: Duration,
    /// An id without a transaction leaves memory so long after it was last asked for, and is read again when it is.
    pub idle: Duration,
    /// Bytes of memory of all transactional ids of the process and of what waits for them. Beyond it no transaction
    /// begins or grows.
    pub memory_bytes: usize,
}

impl TransactionSettings {
    /// The default, within so many bytes of memory, of which a part is kept for the ends of transactions.
    pub fn within(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            memory_bytes: bytes / (KEPT_SHARE + 1) * KEPT_SHARE,
            ..Self::default()
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            timeout_max: self.timeout_max,
            expiry: self.expiry,
            ..Limits::default()
        }
    }
}

impl Default for TransactionSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            timeout_max: limits.timeout_max,
            expiry: limits.expiry,
            sweep_interval: Duration::from_mins(10),
            idle: Duration::from_mins(1),
            memory_bytes: 32 * 1024 * 1024,
        }
    }
}
