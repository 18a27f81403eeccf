//! Where the view of the cluster comes from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{BackoffPolicy, CancellationToken};
use tidelog_metadata_api::ClusterView;
use tidelog_types::Role;

use super::{Router, RouterError, RouterParts, named};
use crate::client::{PeerWatch, Probe, Source, follow};
use crate::rpc::Rpc;

/// The waits after everybody was asked in vain.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(50),
    Duration::from_millis(500),
    u32::MAX,
);
/// Addresses to ask at most: those that standbys name may lead in circles.
const ADDRESSES_MAX: usize = 64;

/// A view from somewhere else, and the address that it comes from.
pub(super) struct Watched {
    address: String,
    watch: PeerWatch,
}

/// The first view, and where the next ones come from unless that is the local service.
pub(super) async fn first(
    parts: &RouterParts,
) -> Result<(Arc<ClusterView>, Option<Watched>), RouterError> {
    if let Some((_, local)) = &parts.local {
        let view = Arc::clone(&local.cluster.watch().borrow());
        return Ok((view, None));
    }
    if parts.seeds.is_empty() {
        return Err(RouterError::NoSeeds);
    }
    let mut answers: Vec<(String, String)> = parts
        .seeds
        .iter()
        .map(|seed| (seed.clone(), "no answer".to_owned()))
        .collect();
    let clock = parts.env.clock.as_ref();
    let looking = look(parts, &mut answers);
    let found = tidelog_env::clock::timeout(clock, parts.start_timeout, looking).await;
    found.map_err(|elapsed| RouterError::NoAnswer {
        waited: elapsed.0,
        seeds: answers,
    })
}

async fn look(
    parts: &RouterParts,
    answers: &mut Vec<(String, String)>,
) -> (Arc<ClusterView>, Option<Watched>) {
    let mut backoff = RETRY.start();
    loop {
        let mut to_ask: VecDeque<String> = parts.seeds.iter().cloned().collect();
        let mut asked = Vec::new();
        while let Some(address) = to_ask.pop_front() {
            if asked.contains(&address) || asked.len() >= ADDRESSES_MAX {
                continue;
            }
            let opened =
                PeerWatch::open(&parts.env, &address, &parts.settings, &parts.metrics).await;
            match opened {
                Ok(mut watch) => {
                    if let Some(view) = watch.next().await {
                        return (view, Some(Watched { address, watch }));
                    }
                }
                Err(probe) => {
                    note(answers, &address, &probe);
                    to_ask.extend(active_of(probe));
                }
            }
            asked.push(address);
        }
        let wait = backoff.next_wait(parts.env.rng.as_ref());
        parts.env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
    }
}

fn note(answers: &mut Vec<(String, String)>, address: &str, probe: &Probe) {
    let known = answers.iter().position(|(known, _)| known == address);
    match known.and_then(|at| answers.get_mut(at)) {
        Some((_, answer)) => *answer = probe.to_string(),
        None => answers.push((address.to_owned(), probe.to_string())),
    }
    answers.truncate(ADDRESSES_MAX);
}

fn active_of(probe: Probe) -> Option<String> {
    match probe {
        Probe::Standby { active } => active,
        Probe::Refused | Probe::Silent { .. } => None,
    }
}

impl Router {
    /// Starts what runs in the background.
    pub(super) fn start(self, watched: Option<Watched>) {
        let supervisor = self.inner.env.supervisor.clone();
        let stop = self.inner.stop.clone();
        if let Some((member, local)) = self.inner.local.clone() {
            let source = Source::Local {
                log: local.log,
                cluster: local.cluster,
            };
            let news = follow(
                self.inner.env.clone(),
                source,
                member,
                self.inner.following.clone(),
                stop.clone(),
            );
            drop(supervisor.spawn("news of the local service", news));
        }
        let clock = Arc::clone(&self.inner.env.clock);
        let gaps = self.inner.following.clone().tell_gaps(clock);
        drop(supervisor.spawn("view of the cluster", async move {
            let following = async { tokio::join!(self.follow_views(watched), gaps) };
            stop.run_until_cancelled(following).await;
        }));
    }

    async fn follow_views(self, mut watched: Option<Watched>) {
        if let Some((_, local)) = &self.inner.local {
            let mut views = local.cluster.watch();
            while views.changed().await.is_ok() {
                let view = Arc::clone(&views.borrow_and_update());
                self.on_view(&view);
            }
            return;
        }
        let mut backoff = RETRY.start();
        loop {
            if let Some(mut found) = watched.take() {
                self.inner.nodes.lock().home = Some(found.address.clone());
                while let Some(view) = found.watch.next().await {
                    self.on_view(&view);
                    backoff = RETRY.start();
                }
                let address = found.address;
                tracing::info!(
                    address,
                    "the view of the cluster ended; asking another process"
                );
                self.inner.metrics.reconnect(Rpc::Watch);
            }
            watched = self.find_view().await;
            if watched.is_none() {
                let wait = backoff.next_wait(self.inner.env.rng.as_ref());
                self.inner.env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
            }
        }
    }

    /// Asks everybody who is known for a view, once: members first, since they were active a moment ago.
    async fn find_view(&self) -> Option<Watched> {
        let inner = &self.inner;
        let view = self.view();
        let members = view.with_role(Role::Metadata);
        let members = members.map(|member| member.internal_address.clone());
        let mut to_ask: VecDeque<String> = members.filter(|address| !address.is_empty()).collect();
        to_ask.extend(inner.seeds.iter().cloned());
        // The one whose stream has just ended is asked last.
        if let Some(home) = inner.nodes.lock().home.take() {
            to_ask.retain(|address| *address != home);
            to_ask.push_back(home);
        }
        let mut asked = Vec::new();
        while let Some(address) = to_ask.pop_front() {
            if asked.contains(&address) || asked.len() >= ADDRESSES_MAX {
                continue;
            }
            let opened =
                PeerWatch::open(&inner.env, &address, &inner.settings, &inner.metrics).await;
            match opened {
                Ok(watch) => return Some(Watched { address, watch }),
                Err(probe) => {
                    tracing::debug!(address, %probe, "no view of the cluster");
                    to_ask.extend(active_of(probe));
                }
            }
            asked.push(address);
        }
        None
    }

    /// Takes over a view. Of two statements about a shard the one with the higher epoch holds, also when it
    /// came first: processes do not all learn at the same time.
    pub(super) fn on_view(&self, view: &ClusterView) {
        let before = self.view();
        if view.cluster != self.inner.cluster {
            let (ours, theirs) = (self.inner.cluster, view.cluster);
            tracing::error!(%ours, %theirs, "a process of another cluster answers; it is not listened to");
            return;
        }
        let mut view = view.clone();
        if view.generation == before.generation {
            for shard in &mut view.shards {
                let known = named(&before, shard.shard);
                if let Some(known) = known.filter(|known| known.epoch > shard.epoch) {
                    *shard = known;
                }
            }
        }
        // Whoever wakes for the view finds its processes.
        self.settle_nodes(&view);
        self.inner.following.on_view(&view);
        self.inner.view.send_replace(Arc::new(view));
    }

    /// The token with which everything of this router ends.
    pub(super) fn stop(&self) -> CancellationToken {
        self.inner.stop.clone()
    }
}
