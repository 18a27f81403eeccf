//! Keeps this process in the cluster: at its own metadata service while it has one, else at another.

use std::time::Duration;

use tidelog_env::clock::timeout;
use tidelog_env::{BackoffPolicy, CancellationToken};
use tidelog_metadata_api::{ClusterError, Member, Membership};
use tokio::sync::oneshot;

use super::Router;
use super::local::{LocalMember, active};
use crate::client::join;

/// The waits between attempts to join again: all of them fit the time for which a lost member stays listed.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(50),
    Duration::from_millis(500),
    u32::MAX,
);

/// Where the member is listed.
enum Listed {
    /// Here, for as long as this process is what it is now.
    Here(Membership),
    /// At another process, and at the next one when that is gone.
    Elsewhere(Membership),
}

impl Listed {
    fn into_membership(self) -> Membership {
        match self {
            Self::Here(membership) | Self::Elsewhere(membership) => membership,
        }
    }
}

impl Router {
    pub(super) async fn join_somewhere(&self, member: Member) -> Result<Membership, ClusterError> {
        let Some(mut local) = self.inner.local.clone() else {
            return self.join_elsewhere(member).await;
        };
        let clock = self.inner.env.clock.as_ref();
        let within = self.inner.settings.request_timeout;
        let listed = timeout(clock, within, self.list(&mut local, &member)).await;
        let listed = listed.unwrap_or_else(|elapsed| {
            Err(ClusterError::Unavailable {
                reason: format!("no metadata process answered within `{:?}`", elapsed.0),
            })
        })?;
        let (membership, ended) = Membership::new();
        let keeping = self.clone().keep_listed(local, member, listed, ended);
        let stop = self.stop();
        drop(self.inner.env.supervisor.spawn("membership", async move {
            stop.run_until_cancelled(keeping).await;
        }));
        Ok(membership)
    }

    async fn join_elsewhere(&self, member: Member) -> Result<Membership, ClusterError> {
        let router = self.clone();
        let peers = move || {
            let nodes = router.remote_nodes().into_iter();
            nodes.map(|node| node.peer).collect()
        };
        let within = self.inner.settings.request_timeout;
        let stop: CancellationToken = self.stop();
        join(&self.inner.env, stop, within, member, peers).await
    }

    /// Lists the member here if this process is active, or becomes so while others are asked.
    async fn list(&self, local: &mut LocalMember, member: &Member) -> Result<Listed, ClusterError> {
        tokio::select! {
            biased;
            parts = active(Some(local)) => {
                let joined = parts.cluster.join(member.clone()).await;
                joined.map(Listed::Here)
            }
            joined = self.join_elsewhere(member.clone()) => joined.map(Listed::Elsewhere),
        }
    }

    /// Keeps the member listed until its membership ends.
    async fn keep_listed(
        self,
        mut local: LocalMember,
        member: Member,
        mut listed: Listed,
        mut ended: oneshot::Receiver<()>,
    ) {
        loop {
            let moved = async {
                match &listed {
                    Listed::Here(_) => local.changed().await,
                    Listed::Elsewhere(_) => drop(local.active().await),
                }
            };
            tokio::select! {
                biased;
                left = &mut ended => {
                    if left.is_ok() {
                        listed.into_membership().leave();
                    }
                    return;
                }
                () = moved => {}
            }
            // Whoever listed it counts it as lost for a while, if it is still there.
            drop(listed);
            let again = self.list_patiently(&mut local, &member);
            listed = tokio::select! {
                biased;
                // There is nobody to say it to.
                _ = &mut ended => return,
                listed = again => listed,
            };
        }
    }

    async fn list_patiently(&self, local: &mut LocalMember, member: &Member) -> Listed {
        let env = &self.inner.env;
        let mut backoff = RETRY.start();
        loop {
            match self.list(local, member).await {
                Ok(listed) => return listed,
                Err(error) => tracing::info!(%error, "this process could not join again yet"),
            }
            let wait = backoff.next_wait(env.rng.as_ref()).unwrap_or(RETRY.max);
            env.clock.sleep(wait).await;
        }
    }
}
