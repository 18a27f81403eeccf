//! What a process tells of its shards: positions, then everything later.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use tidelog_env::Clock;
use tidelog_metadata_api::{Cluster, ClusterView, Log, Notice, NoticeStream, ReadToken};
use tidelog_types::ShardId;
use tokio::sync::watch;

use crate::settings::BEAT;

/// One thing to know about a process.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The groups that its shards have reached; news of later ones follows.
    Positions(Vec<ReadToken>),
    /// A piece of news.
    Notice(Notice),
}

/// The events of one process, asked in that process.
///
/// A sequencer shows a group before it tells of it, so that positions that are read after the news was
/// subscribed to are not behind what was told before. They may be ahead of it: news up to them that was not
/// told yet follows.
pub(crate) struct Events {
    clock: Arc<dyn Clock>,
    log: Arc<dyn Log>,
    news: NoticeStream,
    view: Option<watch::Receiver<Arc<ClusterView>>>,
    announced: BTreeSet<ShardId>,
    queue: VecDeque<Event>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("announced", &self.announced)
            .finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(clock: Arc<dyn Clock>, log: Arc<dyn Log>, cluster: &dyn Cluster) -> Self {
        let news = log.subscribe();
        let mut events = Self {
            clock,
            log,
            news,
            view: Some(cluster.watch()),
            announced: BTreeSet::new(),
            queue: VecDeque::new(),
        };
        events.announce(true);
        events
    }

    /// The next event; `None` when the service has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            let tick = self.clock.sleep(BEAT);
            tokio::select! {
                biased;
                notice = self.news.next() => self.on_notice(notice?),
                is_there = changed(self.view.as_mut()) => {
                    if !is_there {
                        self.view = None;
                    }
                    self.announce(false);
                }
                () = tick => self.announce(false),
            }
        }
    }

    fn on_notice(&mut self, notice: Notice) {
        match &notice {
            Notice::Commit(commit) if !self.announced.contains(&commit.shard) => {
                self.announce(false);
            }
            // Also if they are the same as before: one may have been elsewhere meanwhile.
            Notice::Shards => return self.announce(true),
            Notice::Commit(_) | Notice::Topic(_) | Notice::Missed => {}
        }
        let missed = matches!(notice, Notice::Missed);
        self.queue.push_back(Event::Notice(notice));
        if missed {
            self.announce(true);
        }
    }

    /// Tells the positions if shards came or went, or `always`.
    fn announce(&mut self, always: bool) {
        let tokens = self.log.seen();
        let shards: BTreeSet<ShardId> = tokens.iter().map(|token| token.shard).collect();
        if always || shards != self.announced {
            self.announced = shards;
            self.queue.push_back(Event::Positions(tokens));
        }
    }
}

/// Whether the view has changed rather than ended.
async fn changed(view: Option<&mut watch::Receiver<Arc<ClusterView>>>) -> bool {
    match view {
        Some(view) => view.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}
