//! What a member says to the coordinator of its group.

use tidelog_metadata_api::{
    CommittingMember, ConsumerHeartbeat, EPOCH_JOIN, EPOCH_LEAVE, EPOCH_LEAVE_FOR_A_WHILE,
    GroupClient, GroupName, MEMBER_TEXT_BYTES_MAX,
};
use tidelog_types::TopicPartition;

use super::wish::Wish;
use crate::rpc::Call;

/// A member of a group, as the coordinator knows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    group: GroupName,
    client: GroupClient,
    rack: Option<String>,
    instance: Option<String>,
    pub(super) id: String,
    /// Its epoch, once it is in.
    pub(super) epoch: i32,
}

impl Member {
    pub(super) fn new(wish: &Wish, call: &Call, id: String) -> Self {
        let name = &call.caller.client_id;
        let zone = &call.caller.zone;
        Self {
            group: wish.group.clone(),
            client: GroupClient {
                id: name[..name.floor_char_boundary(MEMBER_TEXT_BYTES_MAX)].to_owned(),
                host: call
                    .address
                    .map_or_else(String::new, |address| format!("/{address}")),
            },
            rack: Some(zone.clone()).filter(|zone| !zone.is_empty()),
            instance: wish.instance.clone(),
            id,
            epoch: EPOCH_JOIN,
        }
    }

    /// It lives, and has these partitions.
    pub(super) fn beat(&self, owned: Vec<TopicPartition>) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            owned: Some(owned),
            ..self.word(self.epoch)
        }
    }

    /// The same of one that joins, or wants to be told everything anew.
    pub(super) fn full_beat(&self, owned: Vec<TopicPartition>, wish: &Wish) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            rack: self.rack.clone(),
            rebalance: Some(wish.rebalance),
            topics: Some(wish.topics.clone()),
            pattern: Some(wish.pattern.clone()),
            assignor: wish.assignor.clone(),
            ..self.beat(owned)
        }
    }

    /// It leaves; a static one may come back.
    pub(super) fn leave(&self) -> ConsumerHeartbeat {
        self.word(match self.instance {
            Some(_) => EPOCH_LEAVE_FOR_A_WHILE,
            None => EPOCH_LEAVE,
        })
    }

    /// Who commits.
    pub(super) fn committing(&self) -> CommittingMember {
        CommittingMember {
            member_id: self.id.clone(),
            instance: self.instance.clone(),
            epoch: self.epoch,
        }
    }

    fn word(&self, epoch: i32) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            group: self.group.clone(),
            member_id: self.id.clone(),
            epoch,
            instance: self.instance.clone(),
            rack: None,
            client: self.client.clone(),
            rebalance: None,
            topics: None,
            pattern: None,
            assignor: None,
            owned: None,
        }
    }
}
