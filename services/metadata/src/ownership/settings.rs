//! How a process takes part in a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelog_metadata_api::Member;

/// How a process is part of its cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// What the process is. Its id names this run of it and must be random.
    pub member: Member,
    /// Who else may own shards.
    pub ownership: Ownership,
    /// When what happens.
    pub settings: ClusterSettings,
    /// Asks whether a silent process is gone, so that it need not be waited for; none to wait for the lease.
    pub probe: Option<Arc<dyn PeerProbe>>,
}

/// Asks the network about a process that has been silent for a moment.
#[async_trait]
pub trait PeerProbe: fmt::Debug + Send + Sync + 'static {
    /// Whether it is certain that nobody listens at an address, `host:port`: the system there said so. All
    /// else, above all that nobody answers, says nothing of whether the process lives. Ends within a second.
    async fn is_refused(&self, address: &str) -> bool;
}

/// Who may own shards, and so how a process comes by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Whoever has the store open owns all shards, since the store itself fences whoever had it open
    /// before. Members are known in memory, for as long as they are connected.
    Alone,
    /// All metadata processes that use the same store. Members are rows, and each shard is owned by lease.
    Shared,
}

/// Times of the protocol by which members find each other and share the shards. None of them matters to
/// safety: the commit rules hold whatever the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// A metadata process says this often that it lives, and looks at the others.
    pub beat: Duration,
    /// One that has not said so for this long is taken for dead, and its shards are taken over. One that the
    /// store has not answered for this long takes no part until it does.
    pub lease: Duration,
    /// While shards are on their way from one process to another, all look this often.
    pub beat_fast: Duration,
    /// A member that was lost without a word stays listed this long.
    pub member_grace: Duration,
    /// A writer of segments that no member has been for this long has ended: nothing more is taken under
    /// its incarnation.
    pub writer_grace: Duration,
    /// How long a process that leaves waits for others to take its shards.
    pub leave_wait: Duration,
    /// Shards that are taken at once.
    pub takes_at_once: usize,
}

impl ClusterSettings {
    /// A process that has been silent for this long is asked for whether it is gone.
    pub(crate) fn suspicion(&self) -> Duration {
        self.beat * 2
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            // Four beats and a second more: a stall of that length costs no shard.
            beat: Duration::from_millis(300),
            lease: Duration::from_secs(2),
            beat_fast: Duration::from_millis(50),
            member_grace: Duration::from_secs(5),
            writer_grace: Duration::from_mins(10),
            leave_wait: Duration::from_secs(3),
            takes_at_once: 16,
        }
    }
}
