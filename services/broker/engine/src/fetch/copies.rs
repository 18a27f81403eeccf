//! The share of memory for answers that are copies.

use crate::memory::{MemoryHold, MemoryShare};

/// This part of the share is kept for small answers.
const KEPT_PART: u64 = 4;
/// An answer is small if so many of it fit into what is kept.
const SMALL_PART: u64 = 8;

/// The share. A part of it is kept for small answers: while those who want much wait for readers that are slow
/// to take what they have, others are served. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    open: MemoryShare,
    kept: MemoryShare,
    small_max: u64,
}

impl Copies {
    pub(super) fn new(bytes: u64) -> Self {
        let kept = bytes / KEPT_PART;
        Self {
            open: MemoryShare::new(bytes - kept),
            kept: MemoryShare::new(kept),
            small_max: kept / SMALL_PART,
        }
    }

    /// Waits for the memory of an answer out of extents of so many bytes. Only where these are small is the
    /// answer small for sure. Cancel-safe.
    pub(super) async fn hold(&self, bytes: u64, whole: u64) -> MemoryHold {
        if let Ok(hold) = self.open.try_hold(bytes) {
            return hold;
        }
        let small = (bytes.max(whole) <= self.small_max).then(|| self.kept.try_hold(bytes));
        match small {
            Some(Ok(hold)) => hold,
            _ => self.open.hold(bytes).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn small_answers_do_not_wait_for_large_ones() {
        let copies = Copies::new(32);
        let large = copies.hold(24, 24).await;
        let mut next = Box::pin(copies.hold(24, 24));
        assert!(poll!(&mut next).is_pending());
        let mut claims_little = Box::pin(copies.hold(1, 24));
        assert!(poll!(&mut claims_little).is_pending());
        let small: Vec<MemoryHold> =
            futures::future::join_all((0..8).map(|_| copies.hold(1, 1))).await;
        assert_eq!(small.len(), 8);
        let mut one_more = Box::pin(copies.hold(1, 1));
        assert!(poll!(&mut one_more).is_pending());
        drop((large, next, claims_little));
        assert!(poll!(&mut one_more).is_ready());
    }
}
