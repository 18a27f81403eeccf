//! News that has not come: it is waited for, and then told of.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::Clock;
use tidelog_metadata_api::Notice;
use tidelog_types::ShardId;

use super::Following;

/// How long news that seems to be missing may still come. Shards that move together are told of together.
pub(super) const GATHER: Duration = Duration::from_millis(50);

impl Following {
    /// Tells whoever caches of missed news, once for all that was missed within a moment. Never ends.
    pub(crate) async fn tell_gaps(self, clock: Arc<dyn Clock>) {
        loop {
            self.inner.has_gap.notified().await;
            clock.sleep(GATHER).await;
            self.close_gaps();
        }
    }

    /// What has not come by now was missed. Whoever caches is told so before it counts as reached.
    pub(super) fn close_gaps(&self) {
        let mut state = self.inner.state.lock();
        let behind = state.shards.iter_mut();
        let behind = behind.filter_map(|(number, shard)| {
            let was_behind = std::mem::take(&mut shard.is_behind);
            was_behind.then_some(*number)
        });
        let behind: Vec<ShardId> = behind.collect();
        let mut missed = Vec::new();
        for number in behind {
            // A shard without a source is told of when it has one again.
            let Some((_, group)) = state.told(number) else {
                continue;
            };
            let session = state.next_session();
            if let Some(shard) = state.shards.get_mut(&number)
                && shard.is_before(group)
            {
                // Whoever is told asks anew, and must not be answered from before.
                shard.session = session;
                missed.push((number, group));
            }
        }
        let has_missed = std::mem::take(&mut state.has_missed);
        if !has_missed && missed.is_empty() {
            return;
        }
        self.inner.metrics.notices_missed.inc();
        // Nobody may be listening, which is no error.
        let _ = self.inner.news.send(Notice::Missed);
        for (number, group) in missed {
            if let Some(shard) = state.shards.get(&number) {
                shard.raise(group);
            }
        }
    }
}
