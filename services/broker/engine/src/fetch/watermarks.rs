//! Bounds of partitions as this broker has shown them, and who waits for more.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_metadata_api::PartitionBounds;
use tidelog_types::TopicPartition;
use tokio::sync::watch;

/// Partitions that are remembered without anybody waiting, before the map is swept.
const KEPT_MAX: usize = 10_000;

/// The bounds of the partitions that have been read. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watermarks {
    partitions: Arc<Mutex<HashMap<TopicPartition, watch::Sender<PartitionBounds>>>>,
}

impl Watermarks {
    /// Takes note of bounds and wakes whom they concern. Bounds never go back (rule C9): of two, each
    /// the higher one holds. Returns what holds.
    pub(crate) fn raise(
        &self,
        partition: TopicPartition,
        bounds: PartitionBounds,
    ) -> PartitionBounds {
        let mut partitions = self.partitions.lock();
        if partitions.len() >= KEPT_MAX && !partitions.contains_key(&partition) {
            partitions.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = partitions
            .entry(partition)
            .or_insert_with(|| watch::Sender::new(bounds));
        raise(sender, bounds)
    }

    /// The same, but only for a partition that somebody has read.
    pub(crate) fn raise_known(&self, partition: TopicPartition, bounds: PartitionBounds) -> bool {
        let partitions = self.partitions.lock();
        let Some(sender) = partitions.get(&partition) else {
            return false;
        };
        raise(sender, bounds);
        true
    }

    /// Wakes the waiters of a partition when its bounds change after this call.
    pub(crate) fn subscribe(
        &self,
        partition: TopicPartition,
        bounds: PartitionBounds,
    ) -> watch::Receiver<PartitionBounds> {
        let mut partitions = self.partitions.lock();
        let sender = partitions
            .entry(partition)
            .or_insert_with(|| watch::Sender::new(bounds));
        raise(sender, bounds);
        sender.subscribe()
    }

    /// Whether somebody has read a partition.
    pub(crate) fn is_known(&self, partition: TopicPartition) -> bool {
        self.partitions.lock().contains_key(&partition)
    }

    /// The partitions that somebody has read.
    pub(crate) fn known(&self) -> Vec<TopicPartition> {
        self.partitions.lock().keys().copied().collect()
    }
}

fn raise(sender: &watch::Sender<PartitionBounds>, bounds: PartitionBounds) -> PartitionBounds {
    sender.send_if_modified(|shown| {
        let higher = PartitionBounds {
            log_start: shown.log_start.max(bounds.log_start),
            last_stable: shown.last_stable.max(bounds.last_stable),
            high_watermark: shown.high_watermark.max(bounds.high_watermark),
        };
        let changed = higher != *shown;
        *shown = higher;
        changed
    });
    *sender.borrow()
}

#[cfg(test)]
mod tests {
    use tidelog_types::Offset;

    use super::*;

    fn bounds(high_watermark: u64) -> PartitionBounds {
        let high_watermark = Offset::new(high_watermark);
        PartitionBounds {
            high_watermark,
            last_stable: high_watermark,
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
}
