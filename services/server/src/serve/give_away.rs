//! How a process that drains, or is about to end, gives the metadata store to another one.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_env::clock::timeout;
use tidelog_metadata_api::{ClusterView, MemberState};
use tidelog_metadata_rpc::Standing;
use tidelog_types::Role;
use tokio::sync::watch;

use super::election::{Election, LOOK_AGAIN, Look, PATIENCE_SILENT};
use super::metadata::OpenedMetadata;

/// How long a process that gave the store away waits for another to take it.
const HANDOVER_MAX: Duration = Duration::from_secs(10);
/// How long one that gave it away in vain keeps it then, though it drains: each time nobody is active for a while.
const IN_VAIN_REST: Duration = Duration::from_mins(5);
/// How long one that gives it away waits until it has said that it drains.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(1);

/// Whether a process drains, and whether anybody could take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drains {
    Not,
    Alone,
    ToOther,
}

/// What a view says of the process at `own`.
fn drains(view: &ClusterView, own: &str) -> Drains {
    let metadata = || view.with_role(Role::Metadata);
    let is_draining = metadata()
        .any(|member| member.internal_address == own && member.state == MemberState::Draining);
    let mut others = metadata().filter(|member| member.internal_address != own);
    if !is_draining {
        Drains::Not
    } else if others.any(|member| member.state == MemberState::Active) {
        Drains::ToOther
    } else {
        Drains::Alone
    }
}

impl Election {
    /// Ends when this process drains and another one can be active in its place. Cancel-safe.
    pub(super) async fn must_give_away(
        &self,
        mut views: watch::Receiver<Arc<ClusterView>>,
        not_before: Option<MonoTime>,
    ) {
        if let Some(not_before) = not_before {
            self.env.clock.sleep_until(not_before).await;
        }
        let mut is_told = false;
        loop {
            let drains = drains(&views.borrow_and_update(), &self.own);
            match drains {
                Drains::ToOther => return,
                Drains::Alone if !is_told => tracing::warn!(
                    "this process drains, and stays active: no other metadata process could take its place"
                ),
                Drains::Alone | Drains::Not => {}
            }
            is_told = matches!(drains, Drains::Alone);
            if views.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits a moment until this process says of itself that it drains: the next active one hears it from it, and
    /// would give the store back otherwise.
    pub(super) async fn drain_is_announced(&self) {
        let mut announced = self.announced.clone();
        let said = announced.wait_for(|state| *state == MemberState::Draining);
        if timeout(self.env.clock.as_ref(), ANNOUNCED_WAIT, said)
            .await
            .is_err()
        {
            tracing::warn!("the next active metadata process may not know that this one drains");
        }
    }

    /// Closes the store, and tells the others when it is theirs.
    pub(super) async fn hand_over(&self, opened: &OpenedMetadata, reason: &str) {
        tracing::info!(reason, "handing the metadata store over");
        // Nobody opens it before it is closed.
        self.condition.unmet(reason);
        self.standing.send_replace(Standing::Standby {
            active: Some(self.own.clone()),
            reason: reason.to_owned(),
        });
        opened.close().await;
        self.stand_by(None, reason);
    }

    /// Leaves the store to others, until one has taken it or none does; says when to give it away again then.
    pub(super) async fn given_away(&self) -> Option<MonoTime> {
        let begun = self.env.clock.now();
        while self.env.clock.now() - begun < HANDOVER_MAX {
            match self.look(PATIENCE_SILENT).await {
                Look::Active(..) => return None,
                Look::Opening(_) | Look::Nobody | Look::Unclear => {}
            }
            self.env.clock.sleep(LOOK_AGAIN).await;
        }
        tracing::warn!(
            rest = ?IN_VAIN_REST,
            "this process drains, and no other metadata process has become active: it goes on itself"
        );
        Some(self.env.clock.now() + IN_VAIN_REST)
    }
}
