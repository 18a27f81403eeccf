//! The process as a member of its cluster.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::Env;
use tidelog_env::clock::timeout;
use tidelog_metadata_api::{Cluster, Member, MemberState, Membership};
use tidelog_runtime::Exit;
use tidelog_types::MemberId;
use tokio::sync::{oneshot, watch};

use crate::cli::{CliError, Result};

/// How long a process that leaves waits for its cluster to say that it has heard.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// How long a process waits before it says again what its cluster did not hear.
const SAY_AGAIN: Duration = Duration::from_millis(200);

/// Lists the process for as long as it lives.
#[derive(Debug)]
pub(super) struct Listed {
    id: MemberId,
    cluster: Arc<dyn Cluster>,
    leaves: oneshot::Sender<()>,
}

impl Listed {
    /// Joins the cluster. `announced` is kept at what the process says of itself there.
    pub(super) async fn join(
        env: &Env,
        cluster: &Arc<dyn Cluster>,
        member: Member,
        announced: watch::Sender<MemberState>,
    ) -> Result<Self> {
        let joined = cluster.join(member.clone()).await;
        let membership = joined.map_err(|error| {
            let message = format!("the process cannot join its cluster: {error}");
            CliError::because(Exit::Unavailable, message, error)
        })?;
        let (leaves, asked) = oneshot::channel();
        let id = member.id;
        let keeping = keep(
            env.clone(),
            Arc::clone(cluster),
            member,
            membership,
            asked,
            announced,
        );
        drop(env.supervisor.spawn("announcement", keeping));
        Ok(Self {
            id,
            cluster: Arc::clone(cluster),
            leaves,
        })
    }

    /// Leaves for good, and waits a moment until the cluster has taken note.
    pub(super) async fn leave(self, env: &Env) {
        let mut view = self.cluster.watch();
        // Without a keeper there is no membership any more.
        let _ = self.leaves.send(());
        let id = self.id;
        let gone = view.wait_for(|view| {
            let member = view.member(id);
            member.is_none_or(|member| member.writers().next().is_none())
        });
        if timeout(env.clock.as_ref(), LEAVE_WAIT, gone).await.is_err() {
            tracing::info!("the cluster has not said that this process has left");
        }
    }
}

/// Keeps the membership until the process leaves, or is lost with what is dropped.
///
/// What the cluster says of the state of the process, the process says of itself from then on: where members
/// are known only in the memory of the active metadata process, the next one hears it from them.
async fn keep(
    env: Env,
    cluster: Arc<dyn Cluster>,
    mut member: Member,
    mut membership: Membership,
    mut leaves: oneshot::Receiver<()>,
    announced: watch::Sender<MemberState>,
) {
    let mut views = cluster.watch();
    views.mark_changed();
    let asked = loop {
        let announcing = async {
            let id = member.id;
            let now = views.wait_for(|view| {
                let now = view.member(id);
                now.is_some_and(|now| now.state != member.state)
            });
            let state = now.await.ok()?.member(id)?.state;
            let told = Member {
                state,
                ..member.clone()
            };
            Some((state, cluster.join(told).await))
        };
        let result = tokio::select! {
            biased;
            asked = &mut leaves => break asked,
            result = announcing => result,
        };
        match result {
            Some((state, Ok(next))) => {
                tracing::info!(?state, "the cluster has changed the state of this process");
                member.state = state;
                membership = next;
                announced.send_replace(state);
            }
            Some((_, Err(error))) => {
                tracing::warn!(%error, "the process could not say again what it was told of its state");
                tokio::select! {
                    biased;
                    asked = &mut leaves => break asked,
                    () = env.clock.sleep(SAY_AGAIN) => {}
                }
            }
            None => break leaves.await,
        }
    };
    if asked.is_ok() {
        membership.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use tidelog_metadata_api::{ClusterError, ClusterView};
    use tidelog_runtime::settings::Settings;
    use tidelog_types::{ClusterGeneration, ClusterId};
    use tokio::sync::mpsc;

    use super::super::{peers, tests::settings};
    use super::*;

    type Joined = (Member, oneshot::Receiver<()>);

    /// Tells of each member that joins.
    #[derive(Debug)]
    struct Told {
        view: watch::Sender<Arc<ClusterView>>,
        joins: mpsc::UnboundedSender<Joined>,
        /// The next join fails.
        is_deaf: AtomicBool,
    }

    #[async_trait]
    impl Cluster for Told {
        fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
            self.view.subscribe()
        }

        async fn join(&self, member: Member) -> std::result::Result<Membership, ClusterError> {
            if self.is_deaf.swap(false, Ordering::Relaxed) {
                let reason = "on purpose".to_owned();
                return Err(ClusterError::Unavailable { reason });
            }
            let (membership, ended) = Membership::new();
            self.joins.send((member, ended)).unwrap();
            Ok(membership)
        }

        async fn set_draining(
            &self,
            _: MemberId,
            _: bool,
        ) -> std::result::Result<(), ClusterError> {
            Ok(())
        }
    }

    fn view(member: Option<&Member>) -> Arc<ClusterView> {
        let (id, generation) = (ClusterId::from_bytes([0; 16]), ClusterGeneration::new(1));
        Arc::new(ClusterView {
            members: member.cloned().into_iter().collect(),
            ..ClusterView::empty(id, generation)
        })
    }

    #[tokio::test]
    async fn a_process_says_of_itself_what_it_was_told_until_it_leaves() {
        let (env, settings): (_, Settings) = (Env::system(), settings(&[]));
        let (joins, mut joined) = mpsc::unbounded_channel();
        let told = Arc::new(Told {
            view: watch::Sender::new(view(None)),
            joins,
            is_deaf: AtomicBool::new(false),
        });
        let cluster: Arc<dyn Cluster> = Arc::<Told>::clone(&told);
        let active = peers::member(&settings, None, None, None, &env);
        let announced = watch::Sender::new(active.state);
        let mut says = announced.subscribe();
        let listed = Listed::join(&env, &cluster, active.clone(), announced);
        let listed = listed.await.unwrap();
        let (first, first_ended) = joined.recv().await.unwrap();
        assert_eq!(first.state, MemberState::Active);
        told.view.send_replace(view(Some(&active)));
        let draining = Member {
            state: MemberState::Draining,
            ..active.clone()
        };
        told.is_deaf.store(true, Ordering::Relaxed);
        told.view.send_replace(view(Some(&draining)));
        let (second, second_ended) = joined.recv().await.unwrap();
        assert_eq!(second, draining);
        assert!(first_ended.await.is_err(), "it was replaced");
        let drains = says.wait_for(|state| *state == MemberState::Draining);
        drop(drains.await.unwrap());
        // Another process that knows of nobody yet changes nothing.
        told.view.send_replace(view(None));
        told.view.send_replace(view(Some(&active)));
        let (third, third_ended) = joined.recv().await.unwrap();
        assert_eq!(third, active);
        assert!(second_ended.await.is_err());
        let leaving = listed.leave(&env);
        let gone = async {
            assert!(third_ended.await.is_ok(), "it has left for good");
            told.view.send_replace(view(None));
        };
        tokio::join!(leaving, gone);
    }
}
