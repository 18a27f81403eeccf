//! How a process takes part in a cluster.

use std::time::Duration;

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
    /// One that has not said so for this long is taken for dead, and its shards are taken over.
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

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(500),
            lease: Duration::from_millis(2_500),
            beat_fast: Duration::from_millis(50),
            member_grace: Duration::from_secs(5),
            writer_grace: Duration::from_mins(10),
            leave_wait: Duration::from_secs(3),
            takes_at_once: 8,
        }
    }
}
