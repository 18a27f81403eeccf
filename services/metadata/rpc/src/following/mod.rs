//! How far the news of other processes has been followed, shard by shard.
//!
//! A shard is *followed* while its source, the process that owns it, has told its position and every piece of
//! news since has arrived. Each such time has a number, its session. What was learnt of a partition within
//! the session that lasts is current; what was learnt before is only a lower bound.
//!
//! Invariant: a group counts as reached when the news of it and of all groups before it has been passed on,
//! whoever told of each, or when whoever caches has been told that some was missed.
//!
//! A shard that moves is *behind* while its new owner is further than the news that has come. That alone is no
//! reason to forget: most of it is on its way. What has not come a moment later was missed, and whoever caches
//! is told so once for all shards that have moved within that moment.

mod ask;
mod bounds;
mod gaps;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_metadata_api::{ClusterView, CommitNotice, Notice, ReadToken};
use tidelog_types::{ClusterGeneration, GroupNumber, MemberId, Role, ShardId};
use tokio::sync::{Notify, broadcast, watch};

use crate::events::Event;
use crate::metrics::RpcMetrics;
pub(crate) use ask::{Known, Trust};
pub(crate) use bounds::highest;

use bounds::BoundsCache;
use topics::TopicShards;

/// News that a slow listener may fall behind before it is told that it missed some.
const NOTICES_KEPT: usize = 4_096;

/// Whose word counts for a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Its owner's, by the view of the cluster.
    Owner,
    /// That of whoever names it: there is only one.
    Any,
}

/// What has been followed. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rule: Rule,
    news: broadcast::Sender<Notice>,
    metrics: RpcMetrics,
    /// Counts changes of the set of shards.
    shards_changed: watch::Sender<u64>,
    /// Some news was missed, or seems to be.
    has_gap: Notify,
    topics: TopicShards,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    generation: ClusterGeneration,
    owners: HashMap<ShardId, MemberId>,
    streams: HashMap<MemberId, Stream>,
    /// Processes whose news was interrupted: some may be lost for good.
    interrupted: HashSet<MemberId>,
    shards: BTreeMap<ShardId, Shard>,
    last_session: u64,
    /// News was missed that whoever caches is yet to be told of.
    has_missed: bool,
    bounds: BoundsCache,
}

/// The stream of one process, which has told its positions.
#[derive(Debug, Default)]
struct Stream {
    session: u64,
    groups: HashMap<ShardId, GroupNumber>,
}

#[derive(Debug)]
struct Shard {
    /// The group that was reached; none before the shard was followed for the first time.
    reached: watch::Sender<Option<GroupNumber>>,
    /// Whom it is followed at: the process and the session of its stream.
    source: Option<(MemberId, u64)>,
    session: u64,
    /// Its source is further than the news that has come.
    is_behind: bool,
    /// The last group of which there was any news.
    heard: Option<GroupNumber>,
}

impl Shard {
    fn new() -> Self {
        Self {
            reached: watch::Sender::new(None),
            source: None,
            session: 0,
            is_behind: false,
            heard: None,
        }
    }

    /// Takes note of a group.
    fn raise(&self, group: GroupNumber) {
        self.reached.send_if_modified(|reached| {
            let is_beyond = reached.is_none_or(|before| before < group);
            if is_beyond {
                *reached = Some(group);
            }
            is_beyond
        });
    }

    /// News of a group has been passed on. Tells whether some before it is missing.
    fn pass(&self, group: GroupNumber) -> bool {
        let reached = *self.reached.borrow();
        let next = reached.map(|reached| reached.get().saturating_add(1));
        if next == Some(group.get()) {
            self.raise(group);
        }
        next.is_some_and(|next| next < group.get())
    }

    /// Whether a group lies beyond one that was reached.
    fn is_before(&self, group: GroupNumber) -> bool {
        self.reached.borrow().is_some_and(|before| before < group)
    }
}

impl State {
    /// How far a shard's source says that it is, and who that is.
    fn told(&self, shard: ShardId) -> Option<((MemberId, u64), GroupNumber)> {
        let owner = self.owners.get(&shard)?;
        let stream = self.streams.get(owner)?;
        let group = stream.groups.get(&shard)?;
        Some(((*owner, stream.session), *group))
    }

    fn next_session(&mut self) -> u64 {
        self.last_session += 1;
        self.last_session
    }
}

impl Following {
    /// Nothing is followed yet. `bounds_kept` as in the settings of clients.
    pub(crate) fn new(
        rule: Rule,
        generation: ClusterGeneration,
        metrics: RpcMetrics,
        bounds_kept: usize,
    ) -> Self {
        let (news, _) = broadcast::channel(NOTICES_KEPT);
        Self {
            inner: Arc::new(Inner {
                rule,
                news,
                metrics,
                shards_changed: watch::Sender::new(0),
                has_gap: Notify::new(),
                topics: TopicShards::new(),
                state: Mutex::new(State {
                    generation,
                    owners: HashMap::new(),
                    streams: HashMap::new(),
                    interrupted: HashSet::new(),
                    shards: BTreeMap::new(),
                    last_session: 0,
                    has_missed: false,
                    bounds: BoundsCache::new(bounds_kept),
                }),
            }),
        }
    }

    // ----- what is heard --------------------------------------------------------------------------

    /// The owners of shards are known anew.
    pub(crate) fn on_view(&self, view: &ClusterView) {
        let mut state = self.inner.state.lock();
        if state.generation != view.generation {
            self.forget_life(&mut state);
            state.generation = view.generation;
        }
        let owners = view.shards.iter();
        let owners = owners.filter_map(|owner| Some((owner.shard, owner.owner?)));
        state.owners = owners.collect();
        let alive: HashSet<MemberId> = view.with_role(Role::Metadata).map(|m| m.id).collect();
        let interrupted = state.interrupted.len();
        // Those that are gone will not come back to tell what was lost.
        state.interrupted.retain(|member| alive.contains(member));
        let has_missed = state.interrupted.len() < interrupted;
        for owner in &view.shards {
            self.shard(&mut state, owner.shard);
        }
        self.settle(&mut state, has_missed);
    }

    /// The metadata was restored from a backup: groups and bounds count anew.
    fn forget_life(&self, state: &mut State) {
        state.bounds.clear();
        state.streams.clear();
        state.shards.clear();
        self.inner.topics.invalidate_all();
        self.inner.shards_changed.send_modify(|count| *count += 1);
    }

    /// Something was heard of a process.
    pub(crate) fn on_event(&self, member: MemberId, event: Event) {
        match event {
            Event::Positions(tokens) => self.on_positions(member, &tokens),
            Event::Notice(Notice::Commit(notice)) => self.on_commit(member, &notice),
            Event::Notice(Notice::Topic(topic)) => {
                self.inner.state.lock().bounds.forget_topic(topic);
                self.inner.topics.forget(topic);
                // Nobody may be listening, which is no error.
                let _ = self.inner.news.send(Notice::Topic(topic));
            }
            // Its positions come next, and then whoever caches is told.
            Event::Notice(Notice::Missed | Notice::Shards) => self.on_broken(member),
        }
    }

    /// The stream of a process broke: what it owns is not followed any more.
    pub(crate) fn on_broken(&self, member: MemberId) {
        let mut state = self.inner.state.lock();
        if state.streams.remove(&member).is_some() {
            state.interrupted.insert(member);
            self.settle(&mut state, false);
        }
    }

    fn on_positions(&self, member: MemberId, tokens: &[ReadToken]) {
        let mut state = self.inner.state.lock();
        let generation = state.generation;
        let next_session = state.last_session + 1;
        let is_first = !state.streams.contains_key(&member);
        let stream = state.streams.entry(member).or_default();
        if is_first {
            stream.session = next_session;
        }
        let mut groups = HashMap::new();
        for token in tokens.iter().filter(|token| token.generation == generation) {
            let told = stream.groups.get(&token.shard).copied();
            groups.insert(
                token.shard,
                told.map_or(token.group, |told| told.max(token.group)),
            );
        }
        stream.groups = groups;
        if is_first {
            state.last_session = next_session;
        }
        let has_missed = state.interrupted.remove(&member);
        self.settle(&mut state, has_missed);
    }

    fn on_commit(&self, member: MemberId, notice: &Arc<CommitNotice>) {
        let mut state = self.inner.state.lock();
        for advance in &notice.advances {
            state.bounds.raise(advance.partition, advance.bounds);
        }
        let _ = self.inner.news.send(Notice::Commit(Arc::clone(notice)));
        if let Some(shard) = state.shards.get_mut(&notice.shard) {
            shard.heard = shard.heard.max(Some(notice.group));
        }
        let stream = state.streams.get_mut(&member);
        let told = stream.and_then(|stream| stream.groups.get_mut(&notice.shard));
        let Some(told) = told else {
            return;
        };
        *told = (*told).max(notice.group);
        // A group is committed once, so that it does not matter who tells of it: a former owner or a new one.
        if let Some(shard) = state.shards.get_mut(&notice.shard) {
            let has_gap = shard.pass(notice.group);
            if has_gap && shard.source.is_some_and(|source| source.0 == member) {
                shard.is_behind = true;
                self.inner.has_gap.notify_one();
            }
        }
    }

    /// Finds the source of each shard anew. Where a new source is further than what was reached, or if
    /// `has_missed`, some news is missing; whoever caches is told of it soon.
    fn settle(&self, state: &mut State, has_missed: bool) {
        if self.inner.rule == Rule::Any {
            let named = state.streams.iter();
            let named = named.flat_map(|(member, stream)| {
                let shards = stream.groups.keys();
                shards.map(|shard| (*shard, *member))
            });
            state.owners = named.collect();
            let shards: Vec<ShardId> = state.owners.keys().copied().collect();
            for shard in shards {
                self.shard(state, shard);
            }
        }
        let shards: Vec<ShardId> = state.shards.keys().copied().collect();
        let mut has_gap = has_missed;
        for number in shards {
            let told = state.told(number);
            let session = state.last_session + 1;
            let Some(shard) = state.shards.get_mut(&number) else {
                continue;
            };
            let source = told.map(|(source, _)| source);
            if source != shard.source {
                // What was learnt from the source before it is not current any more.
                shard.source = source;
                shard.session = session;
                state.last_session = session;
            }
            match told {
                Some((_, group)) if shard.is_before(group) => {
                    shard.is_behind = true;
                    has_gap = true;
                }
                Some((_, group)) => shard.raise(group),
                None => {}
            }
        }
        if has_missed {
            // Where news of commits was missed, the source is another one or begins anew. News of topics may
            // have come from anybody.
            self.inner.topics.invalidate_all();
            state.has_missed = true;
        }
        if has_gap {
            self.inner.has_gap.notify_one();
        }
    }

    fn shard(&self, state: &mut State, shard: ShardId) {
        let mut is_new = false;
        state.shards.entry(shard).or_insert_with(|| {
            is_new = true;
            Shard::new()
        });
        if is_new {
            self.inner.shards_changed.send_modify(|count| *count += 1);
        }
    }
}
