//! Members of the cluster and owners of shards, and how everyone learns of them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tidelog_types::{
    ClusterGeneration, ClusterId, ErrorCode, Incarnation, MemberId, Role, RoleSet, ShardId,
    Timestamp,
};
use tokio::sync::{oneshot, watch};

/// Whether a member takes on work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It does.
    #[default]
    Active,
    /// It serves what it has, gives its shards to others and is not recommended to clients.
    Draining,
}

/// Where Kafka clients reach a member that they know through one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaAddress {
    /// The listener. Who came to one of this name is told of the others' addresses of the same name.
    pub listener: String,
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Kafka addresses of one member.
pub const KAFKA_ADDRESSES_MAX: usize = 16;

/// A process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This run of the process.
    pub id: MemberId,
    /// What people call it, such as its host name. Not unique.
    pub name: String,
    /// What it does.
    pub roles: RoleSet,
    /// Where it runs; empty if nobody said.
    pub zone: String,
    /// The version of its program.
    pub version: String,
    /// Where other members reach it, as `host:port`; empty if it serves none of them.
    pub internal_address: String,
    /// Where clients reach its gRPC, as `host:port`; empty if it serves no clients.
    pub grpc_address: String,
    /// Where Kafka clients reach it, one for each listener; none if it serves no such clients. At most
    /// [`KAFKA_ADDRESSES_MAX`].
    pub kafka_addresses: Vec<KafkaAddress>,
    /// The incarnation under which it writes segments, if it does. When the member has left for good,
    /// nothing more is taken under it.
    pub incarnation: Option<Incarnation>,
    /// The incarnation under which it writes merged segments, if it does. It ends in the same way.
    pub merger: Option<Incarnation>,
    /// Whether it takes on work.
    pub state: MemberState,
    /// When it joined.
    pub joined_at: Timestamp,
}

impl Member {
    /// The incarnations that it is.
    pub fn writers(&self) -> impl Iterator<Item = Incarnation> + use<> {
        self.incarnation.into_iter().chain(self.merger)
    }

    /// Takes them: it writes no more.
    pub fn take_writers(&mut self) -> impl Iterator<Item = Incarnation> + use<> {
        self.incarnation
            .take()
            .into_iter()
            .chain(self.merger.take())
    }
}

/// Who owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOwner {
    /// The shard.
    pub shard: ShardId,
    /// Its owner; none while it is between two.
    pub owner: Option<MemberId>,
    /// Goes up with each takeover. Of two statements about a shard the one with the higher epoch holds.
    pub epoch: u64,
}

/// The cluster as one process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which life of it.
    pub generation: ClusterGeneration,
    /// The members that are alive, in the order of their ids.
    pub members: Vec<Member>,
    /// Every shard, in the order of numbers.
    pub shards: Vec<ShardOwner>,
}

impl ClusterView {
    /// The view of a process that has seen nobody yet.
    pub const fn empty(cluster: ClusterId, generation: ClusterGeneration) -> Self {
        Self {
            cluster,
            generation,
            members: Vec::new(),
            shards: Vec::new(),
        }
    }

    /// A member, if it is alive.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        let found = self.members.binary_search_by_key(&id, |member| member.id);
        found.ok().and_then(|at| self.members.get(at))
    }

    /// The members with a role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Member> {
        let members = self.members.iter();
        members.filter(move |member| member.roles.contains(role))
    }

    /// The living owner of a shard.
    pub fn owner(&self, shard: ShardId) -> Option<&Member> {
        let found = self
            .shards
            .binary_search_by_key(&shard, |owner| owner.shard);
        let owner = found.ok().and_then(|at| self.shards.get(at))?.owner?;
        self.member(owner)
    }
}

/// Why a question or a change about the cluster failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No such member is alive.
    #[error("no member `{0}` is alive; `tidelog cluster members` lists those that are")]
    UnknownMember(MemberId),
    /// The member cannot be listed.
    #[error("the member cannot be listed: {reason}")]
    InvalidMember {
        /// What is wrong with it.
        reason: String,
    },
    /// Members cannot be changed here now.
    #[error("the metadata service is unavailable: {reason}")]
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// Stored metadata cannot be read.
    #[error("stored metadata is damaged: {reason}")]
    Corrupt {
        /// Which row, and how.
        reason: String,
    },
}

impl ClusterError {
    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownMember(_) | Self::InvalidMember { .. } => ErrorCode::InvalidArgument,
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Corrupt { .. } => ErrorCode::DataLoss,
        }
    }
}

/// Keeps a member in the cluster. Dropping it says that the member was lost without a word: it stays
/// listed for a grace time, in which it may join again under the same id.
#[derive(Debug)]
pub struct Membership {
    left: Option<oneshot::Sender<()>>,
}

impl Membership {
    /// A membership, and what its keeper waits for: a word that the member leaves, or an error when it
    /// was lost.
    pub fn new() -> (Self, oneshot::Receiver<()>) {
        let (left, ended) = oneshot::channel();
        (Self { left: Some(left) }, ended)
    }

    /// The member leaves for good: it has nothing under way.
    pub fn leave(mut self) {
        if let Some(left) = self.left.take() {
            // Whoever kept it may be gone, and so is the membership then.
            let _ = left.send(());
        }
    }
}

/// Members and owners.
#[async_trait]
pub trait Cluster: fmt::Debug + Send + Sync + 'static {
    /// The cluster as this process sees it, and every change of that.
    fn watch(&self) -> watch::Receiver<Arc<ClusterView>>;

    /// Lists a member until its [`Membership`] ends. A member that is listed already under this id, since
    /// it was lost a moment ago, goes on; its state is what the cluster had.
    async fn join(&self, member: Member) -> Result<Membership, ClusterError>;

    /// Drains a member, or ends that.
    async fn set_draining(&self, member: MemberId, draining: bool) -> Result<(), ClusterError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8, role: Role) -> Member {
        Member {
            id: MemberId::from_bytes([number; 16]),
            name: format!("m{number}"),
            roles: RoleSet::default().with(role),
            zone: String::new(),
            version: String::new(),
            internal_address: String::new(),
            grpc_address: String::new(),
            kafka_addresses: Vec::new(),
            incarnation: None,
            merger: None,
            state: MemberState::Active,
            joined_at: Timestamp::default(),
        }
    }

    #[test]
    fn a_shard_has_an_owner_only_while_that_one_lives() {
        let owner = |shard, number| ShardOwner {
            shard: ShardId::new(shard),
            owner: Some(MemberId::from_bytes([number; 16])),
            epoch: 1,
        };
        let cluster = ClusterId::from_bytes([0; 16]);
        let view = ClusterView {
            members: vec![member(1, Role::Metadata), member(3, Role::Broker)],
            shards: vec![owner(0, 1), owner(1, 2)],
            ..ClusterView::empty(cluster, ClusterGeneration::new(1))
        };
        let name = |shard| {
            view.owner(ShardId::new(shard))
                .map(|member| member.name.as_str())
        };
        assert_eq!(name(0), Some("m1"));
        assert_eq!(name(1), None);
        assert_eq!(name(2), None);
        assert_eq!(view.with_role(Role::Broker).count(), 1);
    }

    #[test]
    fn who_keeps_a_member_hears_whether_it_left_or_was_lost() {
        let (membership, mut ended) = Membership::new();
        membership.leave();
        assert_eq!(ended.try_recv(), Ok(()));
        let (membership, mut ended) = Membership::new();
        drop(membership);
        assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
