//! Bounds of partitions as this broker has shown them, and who waits for more.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_metadata_api::PartitionBounds;
use tidelog_types::TopicPartition;
use tokio::sync::watch;

/// Partitions that are remembered, before those are forgotten for which nobody waits.
const KEPT_MAX: usize = 10_000;

/// The bounds of the partitions that have been read. Clones share them.
///
/// A partition may be forgotten at any time while nobody waits for it, and news of it then passes unheard. So
/// whoever begins to wait asks the log once more behind [`subscribe`](Self::subscribe), and passes what it
/// says to [`raise_known`](Self::raise_known).
#[derive(Clone, Debug, Default)]
pub(crate) struct Watermarks {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug)]
struct Table {
    partitions: HashMap<TopicPartition, watch::Sender<PartitionBounds>>,
    /// How many there may be before they are swept.
    sweep_at: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            partitions: HashMap::new(),
            sweep_at: KEPT_MAX,
        }
    }
}

impl Table {
    /// The bounds of a partition, remembered from now on.
    fn entry(
        &mut self,
        partition: TopicPartition,
        bounds: PartitionBounds,
    ) -> &watch::Sender<PartitionBounds> {
        if self.partitions.len() >= self.sweep_at && !self.partitions.contains_key(&partition) {
            self.partitions
                .retain(|_, sender| sender.receiver_count() > 0);
            // With many who wait, the next sweep is as far off as this one had work.
            self.sweep_at = KEPT_MAX.max(2 * self.partitions.len());
        }
        self.partitions
            .entry(partition)
            .or_insert_with(|| watch::Sender::new(bounds))
    }
}

impl Watermarks {
    /// Takes note of bounds and wakes whom they concern. Bounds never go back (rule C9): of two, each
    /// the higher one holds. Returns what holds.
    pub(crate) fn raise(
        &self,
        partition: TopicPartition,
        bounds: PartitionBounds,
    ) -> PartitionBounds {
        raise(self.table.lock().entry(partition, bounds), bounds)
    }

    /// The same, but only for a partition that somebody has read.
    pub(crate) fn raise_known(&self, partition: TopicPartition, bounds: PartitionBounds) -> bool {
        let table = self.table.lock();
        let Some(sender) = table.partitions.get(&partition) else {
            return false;
        };
        raise(sender, bounds);
        true
    }

    /// Wakes the waiters of a partition when its bounds change after this call. As long as the receiver is
    /// there, the partition is not forgotten.
    pub(crate) fn subscribe(
        &self,
        partition: TopicPartition,
        bounds: PartitionBounds,
    ) -> watch::Receiver<PartitionBounds> {
        let mut table = self.table.lock();
        let sender = table.entry(partition, bounds);
        raise(sender, bounds);
        sender.subscribe()
    }

    /// Whether somebody has read a partition.
    pub(crate) fn is_known(&self, partition: TopicPartition) -> bool {
        self.table.lock().partitions.contains_key(&partition)
    }

    /// The partitions that somebody has read.
    pub(crate) fn known(&self) -> Vec<TopicPartition> {
        self.table.lock().partitions.keys().copied().collect()
    }
}

fn raise(sender: &watch::Sender<PartitionBounds>, bounds: PartitionBounds) -> PartitionBounds {
    sender.send_if_modified(|shown| {
        let higher = PartitionBounds {
            log_start: shown.log_start.max(bounds.log_start),
            last_stable: shown.last_stable.max(bounds.last_stable),
            high_watermark: shown.high_watermark.max(bounds.high_watermark),
            aborted_below: shown.aborted_below.max(bounds.aborted_below),
        };
        let changed = higher != *shown;
        *shown = higher;
        changed
    });
    *sender.borrow()
}

#[cfg(test)]
mod tests {
    use tidelog_types::{Offset, PartitionIndex, TopicNumber};

    use super::*;

    fn bounds(high_watermark: u64) -> PartitionBounds {
        let high_watermark = Offset::new(high_watermark);
        PartitionBounds {
            high_watermark,
            last_stable: high_watermark,
            aborted_below: Offset::ZERO,
            log_start: Offset::ZERO,
        }
    }

    #[tokio::test]
    async fn bounds_never_go_back_and_waiters_wake_only_for_news() {
        let watermarks = Watermarks::default();
        let partition = TopicPartition::default();
        let mut waiter = watermarks.subscribe(partition, bounds(5));
        assert_eq!(watermarks.raise(partition, bounds(3)), bounds(5));
        assert!(!waiter.has_changed().unwrap());
        assert!(watermarks.raise_known(partition, bounds(6)));
        waiter.changed().await.unwrap();
        assert_eq!(*waiter.borrow(), bounds(6));
    }

    #[test]
    fn partitions_that_nobody_waits_for_are_forgotten_and_the_others_never() {
        let watermarks = Watermarks::default();
        let partition = |index: usize| {
            let index = PartitionIndex::new(u32::try_from(index).unwrap());
            TopicPartition::new(TopicNumber::new(1), index)
        };
        let waiters: Vec<_> = (0..KEPT_MAX)
            .map(|index| watermarks.subscribe(partition(index), bounds(1)))
            .collect();
        for index in KEPT_MAX..3 * KEPT_MAX {
            watermarks.raise(partition(index), bounds(1));
        }
        assert!((0..KEPT_MAX).all(|index| watermarks.is_known(partition(index))));
        assert!(watermarks.known().len() <= 2 * KEPT_MAX);
        drop(waiters);
        for index in 3 * KEPT_MAX..5 * KEPT_MAX {
            watermarks.raise(partition(index), bounds(1));
        }
        assert!(watermarks.known().len() <= KEPT_MAX);
    }
}
