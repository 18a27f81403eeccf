//! News that something may have come to be deletable.

use tokio::sync::watch;

/// Tells whoever looks for what may be deleted that there may be more of it. Clones are handles on the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeletionSignal(watch::Sender<u64>);

impl DeletionSignal {
    /// A segment may be dead, a floor has gone up, or a writer has ended.
    pub(crate) fn tell(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// Wakes those who wait, since the plan has changed.
    pub(super) fn wake(&self) {
        self.0.send_modify(|_| {});
    }
}
