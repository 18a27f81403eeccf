//! Where the view of the cluster comes from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Backoff, BackoffPolicy, CancellationToken};
use tidelog_metadata_api::ClusterView;
use tokio::sync::watch;

use super::local::{active, others};
use super::{LocalMember, Router, RouterError, RouterParts, named};
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
    if parts.seeds.is_empty() && parts.local.is_none() {
        return Err(RouterError::NoSeeds);
    }
    let mut answers: Vec<(String, String)> = parts
        .seeds
        .iter()
        .map(|seed| (seed.clone(), "no answer".to_owned()))
        .collect();
    let clock = parts.env.clock.as_ref();
    let mut local = parts.local.clone();
    let looking = async {
        tokio::select! {
            biased;
            local = active(local.as_mut()) => {
                let view = Arc::clone(&local.cluster.watch().borrow());
                (view, None)
            }
            found = look(parts, &mut answers) => found,
        }
    };
    let found = tidelog_env::clock::timeout(clock, parts.start_timeout, looking).await;
    found.map_err(|elapsed| {
        answers.extend(parts.local.as_ref().map(LocalMember::why_not));
        RouterError::NoAnswer {
            waited: elapsed.0,
            seeds: answers,
        }
    })
}

async fn look(
    parts: &RouterParts,
    answers: &mut Vec<(String, String)>,
) -> (Arc<ClusterView>, Option<Watched>) {
    let local = parts.local.as_ref();
    let mut backoff = RETRY.start();
    loop {
        let mut to_ask: VecDeque<String> = parts.seeds.iter().cloned().collect();
        let mut asked = Vec::new();
        while let Some(address) = to_ask.pop_front() {
            let is_local = local.is_some_and(|local| local.is_at(&address));
            if is_local || asked.contains(&address) || asked.len() >= ADDRESSES_MAX {
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
        if let Some(local) = self.inner.local.clone() {
            let (news, stop) = (self.clone().follow_local(local), stop.clone());
            drop(supervisor.spawn("news of the local service", async move {
                stop.run_until_cancelled(news).await;
            }));
        }
        let clock = Arc::clone(&self.inner.env.clock);
        let gaps = self.inner.following.clone().tell_gaps(clock);
        drop(supervisor.spawn("view of the cluster", async move {
            let following = async { tokio::join!(self.follow_views(watched), gaps) };
            stop.run_until_cancelled(following).await;
        }));
    }

    /// Follows the news of the local service while there is one.
    async fn follow_local(self, mut local: LocalMember) {
        let (inner, member) = (&self.inner, local.id());
        loop {
            let parts = local.active().await;
            let source = Source::Local {
                log: parts.log,
                cluster: parts.cluster,
            };
            let (env, following) = (inner.env.clone(), inner.following.clone());
            let news = follow(env, source, member, following, inner.stop.clone());
            tokio::select! {
                biased;
                () = local.changed() => {}
                () = news => {}
            }
            inner.following.on_broken(member);
        }
    }

    /// Takes over views, from the local service while there is one and else from another process.
    async fn follow_views(self, mut watched: Option<Watched>) {
        let mut local = self.inner.local.clone();
        let mut backoff = RETRY.start();
        loop {
            let parts = tokio::select! {
                biased;
                parts = active(local.as_mut()) => parts,
                () = self.follow_remote_views(&mut watched, &mut backoff) => continue,
            };
            // From now on it comes from here.
            watched = None;
            self.inner.nodes.lock().home = None;
            let views = self.follow_local_views(parts.cluster.watch());
            match local.as_mut() {
                Some(local) => tokio::select! {
                    biased;
                    () = local.changed() => {}
                    () = views => local.changed().await,
                },
                None => return,
            }
            tracing::info!("this process is no longer active; asking another for the view");
        }
    }

    async fn follow_local_views(&self, mut views: watch::Receiver<Arc<ClusterView>>) {
        views.mark_changed();
        while views.changed().await.is_ok() {
            let view = Arc::clone(&views.borrow_and_update());
            self.on_view(&view);
        }
    }

    /// Takes over the views of one process until they end, and looks for another one.
    async fn follow_remote_views(&self, watched: &mut Option<Watched>, backoff: &mut Backoff) {
        if let Some(found) = watched {
            let address = found.address.clone();
            self.inner.nodes.lock().home = Some(address.clone());
            while let Some(view) = found.watch.next().await {
                self.on_view(&view);
                *backoff = RETRY.start();
            }
            *watched = None;
            tracing::info!(
                address,
                "the view of the cluster ended; asking another process"
            );
            self.inner.metrics.reconnect(Rpc::Watch);
        }
        *watched = self.find_view().await;
        if watched.is_none() {
            let wait = backoff.next_wait(self.inner.env.rng.as_ref());
            self.inner.env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
        }
    }

    /// Asks everybody who is known for a view, once: members first, since they were active a moment ago.
    async fn find_view(&self) -> Option<Watched> {
        let inner = &self.inner;
        let local = inner.local.as_ref();
        let view = self.view();
        let members = others(local, &view).map(|(_, address)| address);
        let mut to_ask: VecDeque<String> = members.collect();
        to_ask.extend(inner.seeds.iter().cloned());
        // The one whose stream has just ended is asked last.
        if let Some(home) = inner.nodes.lock().home.take() {
            to_ask.retain(|address| *address != home);
            to_ask.push_back(home);
        }
        let mut asked = Vec::new();
        while let Some(address) = to_ask.pop_front() {
            let is_local = local.is_some_and(|local| local.is_at(&address));
            if is_local || asked.contains(&address) || asked.len() >= ADDRESSES_MAX {
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
