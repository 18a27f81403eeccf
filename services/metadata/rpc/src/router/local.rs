//! The metadata service of this process, while it has one: it is called without a socket.

use tidelog_metadata_api::ClusterView;
use tidelog_types::{MemberId, Role};
use tokio::sync::watch;

use crate::server::{Parts, Standing};

/// The member that this process is, and the metadata service that it has while it is active.
#[derive(Clone, Debug)]
pub struct LocalMember {
    id: MemberId,
    address: String,
    standing: watch::Receiver<Standing>,
}

impl LocalMember {
    /// A process that has its service for as long as it runs.
    pub fn always(id: MemberId, parts: Parts) -> Self {
        let (_, standing) = watch::channel(Standing::Active(parts));
        Self::while_active(id, String::new(), standing)
    }

    /// A process that has its service while it is active. `address` is where others reach it: it never
    /// connects to itself there, whoever names it.
    pub const fn while_active(
        id: MemberId,
        address: String,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        Self {
            id,
            address,
            standing,
        }
    }

    pub(super) const fn id(&self) -> MemberId {
        self.id
    }

    /// Whether an address is that of this process.
    pub(super) fn is_at(&self, address: &str) -> bool {
        !self.address.is_empty() && self.address == address
    }

    /// The service, if it is here now.
    pub(super) fn parts(&self) -> Option<Parts> {
        match &*self.standing.borrow() {
            Standing::Active(parts) => Some(parts.clone()),
            Standing::Standby { .. } => None,
        }
    }

    /// Where it is, and why there is no service of its own now.
    pub(super) fn why_not(&self) -> (String, String) {
        let why = match &*self.standing.borrow() {
            Standing::Active(_) => "active".to_owned(),
            Standing::Standby { reason, .. } => reason.clone(),
        };
        (self.address.clone(), why)
    }

    /// The service, once it is here. What changes from then on ends [`changed`](Self::changed). Cancel-safe.
    pub(super) async fn active(&mut self) -> Parts {
        loop {
            let now = self.standing.borrow_and_update().clone();
            match now {
                Standing::Active(parts) => return parts,
                Standing::Standby { .. } => self.changed().await,
            }
        }
    }

    /// Ends when the process becomes active or a standby, or active anew. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            // It will not change any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for the service of a process that may have none.
pub(super) async fn active(local: Option<&mut LocalMember>) -> Parts {
    match local {
        Some(local) => local.active().await,
        None => std::future::pending().await,
    }
}

/// The other metadata processes of a view that can be reached.
pub(super) fn others(
    local: Option<&LocalMember>,
    view: &ClusterView,
) -> impl Iterator<Item = (MemberId, String)> {
    let members = view.with_role(Role::Metadata);
    let is_other = move |id, address: &str| {
        !address.is_empty() && local.is_none_or(|local| local.id != id && !local.is_at(address))
    };
    members
        .filter(move |member| is_other(member.id, &member.internal_address))
        .map(|member| (member.id, member.internal_address.clone()))
}
