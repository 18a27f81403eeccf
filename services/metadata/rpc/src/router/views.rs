//! Where the view of the cluster comes from.

use std::sync::Arc;

use tidelog_env::CancellationToken;
use tidelog_metadata_api::ClusterView;
use tokio::sync::watch;

use super::asking::{ADDRESSES_MAX, Asking, Watched};
use super::local::{active, others};
use super::{LocalMember, Router, RouterError, RouterParts, named};
use crate::client::{Probe, Source, follow};
use crate::rpc::Rpc;

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
    let asking = Asking {
        env: &parts.env,
        settings: &parts.settings,
        metrics: &parts.metrics,
        local: parts.local.as_ref(),
    };
    loop {
        let seeds = parts.seeds.iter().cloned();
        let told = asking.until_told(seeds, |address, probe| note(answers, address, probe));
        let mut found = told.await;
        if let Some(view) = found.watch.next().await {
            return (view, Some(found));
        }
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
        loop {
            let parts = tokio::select! {
                biased;
                parts = active(local.as_mut()) => parts,
                () = self.follow_remote_views(&mut watched) => continue,
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
    async fn follow_remote_views(&self, watched: &mut Option<Watched>) {
        if let Some(found) = watched {
            let address = found.address.clone();
            self.inner.nodes.lock().home = Some(address.clone());
            while let Some(view) = found.watch.next().await {
                self.on_view(&view);
            }
            *watched = None;
            self.inner.nodes.lock().home = None;
            tracing::info!(
                address,
                "the view of the cluster ended; asking all for another one"
            );
            self.inner.metrics.reconnect(Rpc::Watch);
        }
        *watched = Some(self.find_view().await);
    }

    /// Asks everybody who is known for a view until there is one. Cancel-safe.
    async fn find_view(&self) -> Watched {
        let inner = &self.inner;
        let local = inner.local.as_ref();
        let asking = Asking {
            env: &inner.env,
            settings: &inner.settings,
            metrics: &inner.metrics,
            local,
        };
        let view = self.view();
        let members = others(local, &view).map(|(_, address)| address);
        let addresses = members.chain(inner.seeds.iter().cloned());
        let told = asking.until_told(addresses, |address, probe| {
            tracing::debug!(address, %probe, "no view of the cluster");
        });
        told.await
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
