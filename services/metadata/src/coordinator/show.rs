//! Lists of groups: from rows, and from memory where a group is in it.

use tidelog_metadata_api::{GroupKind, GroupListing, GroupName, GroupState, GroupsError};
use tokio::sync::oneshot;

use super::Coordinator;
use super::actor::{Actor, Slot};
use super::sweep::read_heads;
use crate::keyspace::{GroupKindRow, GroupRow};

/// Asks how groups stand that are in memory; nothing for one that is not.
#[derive(Debug)]
pub(super) struct ShowAsk {
    pub(super) groups: Vec<GroupName>,
    pub(super) reply: oneshot::Sender<Vec<Option<GroupListing>>>,
}

impl Actor {
    pub(super) fn show(&self, ask: ShowAsk) {
        let shown = ask.groups.into_iter().map(|name| {
            let Some(Slot::Here(group)) = self.groups.get(&name) else {
                return None;
            };
            Some(GroupListing {
                kind: group.machine.kind(),
                protocol_type: group.machine.protocol_type().to_owned(),
                state: group.machine.state(),
                group: name,
            })
        });
        let shown = shown.collect();
        // Who does not wait any more does not matter.
        let _ = ask.reply.send(shown);
    }
}

impl Coordinator {
    /// Groups of the shard that come after a name, in the order of names, and after which name there may be more.
    pub(crate) async fn list(
        &self,
        after: Option<&GroupName>,
        count: usize,
    ) -> Result<(Vec<GroupListing>, Option<GroupName>), GroupsError> {
        let range = self.parts.keys.groups_after(self.shard, after);
        let (heads, more) = read_heads(self.parts.store.as_ref(), range, count).await?;
        let last = heads.last().filter(|_| more).map(|(name, _)| name.clone());
        let (reply, shown) = oneshot::channel();
        let groups = heads.iter().map(|(name, _)| name.clone()).collect();
        let ask = ShowAsk { groups, reply };
        if self.shows.send(ask).await.is_err() {
            return Err(GroupsError::NotCoordinator);
        }
        let shown = shown.await.map_err(|_| GroupsError::NotCoordinator)?;
        let listings = heads.into_iter().zip(shown);
        let listings = listings.filter(|((_, row), _)| !row.is_trace());
        let listings =
            listings.map(|((name, row), shown)| shown.unwrap_or_else(|| listing_of(name, &row)));
        Ok((listings.collect(), last))
    }
}

/// A group as its row says it is.
fn listing_of(group: GroupName, row: &GroupRow) -> GroupListing {
    let (kind, protocol_type) = match &row.kind {
        GroupKindRow::Classic { protocol_type, .. } => (
            GroupKind::Classic,
            protocol_type.clone().unwrap_or_default(),
        ),
        GroupKindRow::Consumer { .. } => (
            GroupKind::Consumer,
            tidelog_groups::classic::CONSUMER_TYPE.to_owned(),
        ),
    };
    let state = if row.members > 0 && !row.is_torn {
        GroupState::Stable
    } else {
        GroupState::Empty
    };
    GroupListing {
        group,
        kind,
        protocol_type,
        state,
    }
}
