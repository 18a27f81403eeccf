//! How far the news of other processes has been followed, shard by shard.
//!
//! A shard is *followed* while its source, the process that owns it, has told its position and every piece of
//! news since has arrived. Each such time has a number, its session. What was learnt of a partition within
//! the session that lasts is current; what was learnt before is only a lower bound.
//!
//! Invariant: a group counts as reached when the news of it and of all groups before it has been passed on,
//! or when whoever caches has been told that some was missed.

mod ask;
mod bounds;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_metadata_api::{ClusterView, CommitNotice, Notice, ReadToken};
use tidelog_types::{ClusterGeneration, GroupNumber, MemberId, Role, ShardId};
use tokio::sync::{broadcast, watch};

use crate::events::Event;
use crate::metrics::RpcMetrics;
pub(crate) use ask::Known;
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
}

impl Shard {
    fn new() -> Self {
        Self {
            reached: watch::Sender::new(None),
            source: None,
            session: 0,
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

    /// Whether a group lies beyond one that was reached.
    fn is_behind(&self, group: GroupNumber) -> bool {
        self.reached.borrow().is_some_and(|before| before < group)
    }
}

impl Following {
    pub(crate) fn new(rule: Rule, generation: ClusterGeneration, metrics: RpcMetrics) -> Self {
        let (news, _) = broadcast::channel(NOTICES_KEPT);
        Self {
            inner: Arc::new(Inner {
                rule,
                news,
                metrics,
                shards_changed: watch::Sender::new(0),
                topics: TopicShards::new(),
                state: Mutex::new(State {
                    generation,
                    owners: HashMap::new(),
                    streams: HashMap::new(),
                    interrupted: HashSet::new(),
                    shards: BTreeMap::new(),
                    last_session: 0,
                    bounds: BoundsCache::default(),
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
        state.bounds = BoundsCache::default();
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
            Event::Notice(Notice::Missed) => self.on_broken(member),
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
        let stream = state.streams.get_mut(&member);
        let told = stream.and_then(|stream| stream.groups.get_mut(&notice.shard));
        if let Some(told) = told {
            *told = (*told).max(notice.group);
        }
        // News of others, such as a former owner, may have gaps.
        let shard = state.shards.get(&notice.shard);
        if let Some(shard) = shard.filter(|shard| shard.source.is_some_and(|at| at.0 == member)) {
            shard.raise(notice.group);
        }
    }

    /// Finds the source of each shard anew. When a new source is further than what was reached, or if
    /// `has_missed`, whoever caches is told that some news was missed, before anything counts as reached.
    fn settle(&self, state: &mut State, mut has_missed: bool) {
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
        let mut reached = Vec::new();
        for (number, shard) in &mut state.shards {
            let owner = state.owners.get(number);
            let stream = owner.and_then(|owner| Some((owner, state.streams.get(owner)?)));
            let told = stream.and_then(|(owner, stream)| {
                let group = stream.groups.get(number)?;
                Some(((*owner, stream.session), *group))
            });
            let source = told.map(|(source, _)| source);
            if source != shard.source {
                shard.source = source;
                state.last_session += 1;
                shard.session = state.last_session;
            }
            if let Some((_, group)) = told {
                has_missed |= shard.is_behind(group);
                reached.push((*number, group));
            }
        }
        if has_missed {
            // Whoever is told asks anew, and must not be answered from before.
            state.bounds.forget_sessions();
            self.inner.topics.invalidate_all();
            self.inner.metrics.notices_missed.inc();
            // Nobody may be listening, which is no error.
            let _ = self.inner.news.send(Notice::Missed);
        }
        for (number, group) in reached {
            if let Some(shard) = state.shards.get(&number) {
                shard.raise(group);
            }
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
