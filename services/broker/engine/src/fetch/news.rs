//! What the read path hears of commits, and who waits for them.

use tidelog_metadata_api::{Notice, NoticeStream, PartitionAdvance, PartitionBounds};
use tidelog_types::TopicPartition;

use super::Fetcher;

impl Fetcher {
    /// Takes note of news until the process ends.
    pub(super) async fn listen(self, mut news: NoticeStream) {
        let ended = self.env.supervisor.token();
        loop {
            let notice = tokio::select! {
                biased;
                notice = news.next() => notice,
                () = ended.cancelled() => None,
            };
            match notice {
                Some(Notice::Commit(commit)) => {
                    for advance in &commit.advances {
                        self.on_advance(advance);
                    }
                }
                Some(Notice::Missed) => self.catch_up().await,
                Some(Notice::Topic(_)) => {}
                None => return,
            }
        }
    }

    fn on_advance(&self, advance: &PartitionAdvance) {
        // Extents first: whoever the bounds wake shall find them.
        if self.watermarks.is_known(advance.partition) {
            for extent in &advance.extents {
                self.extents.insert(advance.partition, extent.clone());
            }
            self.watermarks
                .raise_known(advance.partition, advance.bounds);
        }
    }

    /// Some news was missed: asks for the bounds of what is read here.
    async fn catch_up(&self) {
        for partition in self.watermarks.known() {
            if let Ok(bounds) = self.log.bounds(partition).await {
                self.watermarks.raise_known(partition, bounds);
            }
        }
    }

    /// Ends when one of the partitions has grown beyond the bounds seen.
    pub(super) async fn news_beyond(&self, ends: Vec<(TopicPartition, PartitionBounds)>) {
        if ends.is_empty() {
            std::future::pending::<()>().await;
        }
        let subscribe = |(partition, seen): (TopicPartition, PartitionBounds)| {
            (seen, self.watermarks.subscribe(partition, seen))
        };
        let waiters: Vec<_> = ends.iter().copied().map(subscribe).collect();
        // News that came before may have passed unheard. What comes from here on will not.
        for (partition, _) in ends {
            if let Ok(bounds) = self.log.bounds(partition).await {
                self.watermarks.raise_known(partition, bounds);
            }
        }
        let waits = waiters.into_iter().map(|(seen, mut bounds)| {
            Box::pin(async move {
                // The sender lives in the map as long as there is a receiver.
                let grown = bounds.wait_for(|now| now.high_watermark > seen.high_watermark);
                if grown.await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        futures::future::select_all(waits).await;
    }
}
