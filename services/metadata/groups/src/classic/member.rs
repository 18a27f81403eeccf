//! A member of a group.

use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;

use super::Join;
use crate::Ticket;
use crate::assign::Partitions;

/// A way to assign partitions that a member knows, and what the one who assigns has to know of the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: String,
    /// For the member that assigns; the group does not look at it.
    pub metadata: Bytes,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Given by the user: a member that comes back with it takes the place of the one before.
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// What it had in a group of the consumer protocol and may still read: it has been given nothing since.
    pub(super) held: Partitions,
    /// It must be heard of before, unless it waits itself.
    pub(super) session_until: MonoTime,
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
}

impl Member {
    pub(super) fn new(join: &Join, now: MonoTime) -> Self {
        Self {
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session: join.session,
            rebalance: join.rebalance,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            held: Partitions::new(),
            session_until: now + join.session,
            joining: None,
            syncing: None,
        }
    }

    /// Takes over what a member says when it joins again.
    pub(super) fn update(&mut self, join: &Join) {
        self.client_id.clone_from(&join.client_id);
        self.client_host.clone_from(&join.client_host);
        self.session = join.session;
        self.rebalance = join.rebalance;
        self.protocols.clone_from(&join.protocols);
    }

    /// Whether it is the group that keeps the member waiting, so that its silence means nothing.
    pub(super) const fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|known| known.name == protocol)
    }

    /// What it says for the one who assigns.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let mut known = self.protocols.iter();
        let known = known.find(|known| known.name == protocol);
        known.map_or_else(Bytes::new, |known| known.metadata.clone())
    }
}
