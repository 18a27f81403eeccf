//! A share of the process's memory, counted in bytes (invariant I7).

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit of the semaphore. Its counter is 32 bits wide, so that shares are counted in these units.
const UNIT_BYTES: u64 = 1_024;

/// A share of memory. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryShare {
    units: Arc<Semaphore>,
    units_total: u32,
}

/// Bytes that are held. Dropping it gives them back.
#[derive(Debug)]
pub struct MemoryHold {
    _permit: OwnedSemaphorePermit,
}

/// The share is used up for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("memory for requests is used up: `{wanted}` bytes wanted, `{free}` of `{total}` free")]
pub struct MemoryExhausted {
    /// What was asked for.
    pub wanted: u64,
    /// What is free.
    pub free: u64,
    /// The whole share.
    pub total: u64,
}

impl MemoryShare {
    /// A share of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let units_total = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        // The semaphore's own limit is far above 32 bits.
        Self {
            units: Arc::new(Semaphore::new(units_total as usize)),
            units_total,
        }
    }

    /// Units for `bytes`. More than the whole share counts as the whole share, so that one large request
    /// waits for all others instead of for ever.
    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.units_total)
    }

    /// Waits for the bytes. Waiters are served in the order in which they came. Cancel-safe.
    pub async fn hold(&self, bytes: u64) -> MemoryHold {
        let units = self.units(bytes);
        match Arc::clone(&self.units).acquire_many_owned(units).await {
            Ok(permit) => MemoryHold { _permit: permit },
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes the bytes if they are free now.
    pub fn try_hold(&self, bytes: u64) -> Result<MemoryHold, MemoryExhausted> {
        let units = self.units(bytes);
        Arc::clone(&self.units)
            .try_acquire_many_owned(units)
            .map(|permit| MemoryHold { _permit: permit })
            .map_err(|_| MemoryExhausted {
                wanted: bytes,
                free: self.free_bytes(),
                total: u64::from(self.units_total) * UNIT_BYTES,
            })
    }

    /// What is free now.
    pub fn free_bytes(&self) -> u64 {
        u64::try_from(self.units.available_permits()).unwrap_or(u64::MAX) * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_gives_out_no_more_than_it_has_and_takes_it_back() {
        let share = MemoryShare::new(10 * UNIT_BYTES);
        let first = share.try_hold(6 * UNIT_BYTES).unwrap();
        let error = share.try_hold(5 * UNIT_BYTES).unwrap_err();
        assert_eq!(error.free, 4 * UNIT_BYTES);
        let mut waiting = Box::pin(share.hold(5 * UNIT_BYTES));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        let _second = waiting.await;
        assert_eq!(share.free_bytes(), 5 * UNIT_BYTES);
    }

    #[tokio::test]
    async fn a_request_larger_than_the_share_takes_all_of_it() {
        let share = MemoryShare::new(4 * UNIT_BYTES);
        let all = share.hold(100 * UNIT_BYTES).await;
        assert_eq!(share.free_bytes(), 0);
        drop(all);
        assert_eq!(share.free_bytes(), 4 * UNIT_BYTES);
    }
}
