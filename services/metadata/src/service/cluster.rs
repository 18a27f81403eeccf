//! What the service offers to members of the cluster: to join it, to see it, to leave it.

use std::sync::Arc;

use async_trait::async_trait;
use tidelog_metadata_api::{Cluster, ClusterError, ClusterView, Member, Membership};
use tidelog_types::MemberId;
use tokio::sync::watch;

use super::MetadataService;
use crate::members::{AloneMembers, SharedMembers};

/// The members, wherever they are kept.
#[derive(Debug)]
pub(crate) enum Members {
    Alone(Arc<AloneMembers>),
    Shared(Arc<SharedMembers>),
}

impl Members {
    /// A writer has registered.
    pub(super) fn note_writer(&self) {
        match self {
            Self::Alone(members) => members.note_writer(),
            // Whoever sweeps looks at all of them now and then.
            Self::Shared(_) => {}
        }
    }
}

impl MetadataService {
    /// Leaves the cluster: shards that other processes can have go to them first. Returns when they have
    /// them, when there is nobody else, or after some seconds. This process takes nothing any more then.
    ///
    /// A process that has the store to itself just ends.
    pub async fn leave(&self) {
        match &self.inner.members {
            Members::Alone(_) => {}
            Members::Shared(members) => members.leave().await,
        }
    }
}

#[async_trait]
impl Cluster for MetadataService {
    fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        match &self.inner.members {
            Members::Alone(members) => members.watch(),
            Members::Shared(members) => members.watch(),
        }
    }

    async fn join(&self, member: Member) -> Result<Membership, ClusterError> {
        match &self.inner.members {
            Members::Alone(members) => members.join(member),
            Members::Shared(members) => self.inner.touch.answer(members.join(member)).await,
        }
    }

    async fn set_draining(&self, member: MemberId, draining: bool) -> Result<(), ClusterError> {
        match &self.inner.members {
            Members::Alone(members) => members.set_draining(member, draining).await,
            Members::Shared(members) => {
                let set = members.set_draining(member, draining);
                self.inner.touch.answer(set).await
            }
        }
    }
}
