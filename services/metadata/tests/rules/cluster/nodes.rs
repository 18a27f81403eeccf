//! A cluster of metadata processes on one store, each with a handle of its own that can be stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata::{ClusterOptions, ClusterSettings, MetadataService, Ownership, PeerProbe};
use tidelog_metadata_api::{
    Catalogue as _, Cluster as _, ClusterView, CommitAnswer, CommitError, Member, MemberState,
    NewTopic, ShardCommit,
};
use tidelog_types::{
    MemberId, PartitionIndex, Role, RoleSet, ShardId, Timestamp, TopicName, TopicPartition,
};

use crate::store::TestStore;
use crate::world::{Process, World, send, settings};

/// Shards of most clusters here.
pub(crate) const SHARDS: u32 = 32;

/// One process of the cluster.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: MemberId,
    pub(crate) store: TestStore,
    pub(crate) process: Process,
}

impl std::ops::Deref for Node {
    type Target = MetadataService;

    fn deref(&self) -> &MetadataService {
        &self.process.service
    }
}

/// The id of the node with a number.
pub(crate) fn id(number: u8) -> MemberId {
    MemberId::from_bytes([number; 16])
}

pub(crate) fn member(number: u8, role: Role) -> Member {
    Member {
        id: id(number),
        name: format!("n{number}"),
        roles: RoleSet::default().with(role),
        zone: "z".to_owned(),
        version: "0".to_owned(),
        internal_address: format!("n{number}:7071"),
        grpc_address: String::new(),
        kafka_addresses: Vec::new(),
        incarnation: None,
        merger: None,
        state: MemberState::Active,
        joined_at: Timestamp::default(),
    }
}

/// A world with this many shards, in which nothing but a topic with partitions in all of them is.
pub(crate) fn world(seed: u64, shards: u32) -> World {
    let mut world = World::seeded(seed * 1_000 + 1);
    world.settings = settings(50);
    world.shards = shards;
    world
}

impl World {
    /// A process joins, under the number's id.
    pub(crate) async fn join(&self, number: u8) -> Node {
        self.join_with(number, None).await
    }

    /// The same with something to ask for silent processes.
    pub(crate) async fn join_with(&self, number: u8, probe: Option<Arc<dyn PeerProbe>>) -> Node {
        self.join_as(member(number, Role::Metadata), probe).await
    }

    /// The same at the address of another.
    pub(crate) async fn join_at(&self, number: u8, address: &str) -> Node {
        let member = Member {
            internal_address: address.to_owned(),
            ..member(number, Role::Metadata)
        };
        self.join_as(member, None).await
    }

    async fn join_as(&self, member: Member, probe: Option<Arc<dyn PeerProbe>>) -> Node {
        let (store, id) = (self.store.sibling(), member.id);
        let options = ClusterOptions {
            member,
            ownership: Ownership::Shared,
            settings: ClusterSettings::default(),
            probe,
        };
        Node {
            id,
            process: self.open_in(&store, options).await,
            store,
        }
    }
}

impl Node {
    /// The view as it is.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.watch().borrow())
    }

    /// The shards of a member, as this node sees it.
    pub(crate) fn shards_of(&self, id: MemberId) -> Vec<ShardId> {
        let view = self.view();
        let owned = view.shards.iter().filter(|owner| owner.owner == Some(id));
        owned.map(|owner| owner.shard).collect()
    }

    pub(crate) fn own_shards(&self) -> Vec<ShardId> {
        self.shards_of(self.id)
    }

    /// Waits until the view is as wanted, and returns how long that took.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl FnMut(&Arc<ClusterView>) -> bool,
    ) -> Duration {
        let started = tokio::time::Instant::now();
        let mut views = self.watch();
        let waiting = views.wait_for(is_so);
        let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        assert!(waited.is_ok(), "a minute is not enough until {what}");
        started.elapsed()
    }

    /// Waits until every shard has an owner, each of these nodes its part, and nobody else any.
    pub(crate) async fn until_shared_by(&self, owners: &[MemberId]) -> Duration {
        let is_fair = |view: &Arc<ClusterView>| {
            let count = |id: &MemberId| {
                let owned = view.shards.iter();
                owned.filter(|owner| owner.owner == Some(*id)).count()
            };
            let counts: Vec<_> = owners.iter().map(count).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            counts.iter().sum::<usize>() == view.shards.len()
                && !view.shards.is_empty()
                && least
                    .zip(most)
                    .is_some_and(|(least, most)| most - least <= 1)
        };
        self.until("the shards are shared", is_fair).await
    }

    /// Stops the process for good, in the middle of whatever it does.
    pub(crate) fn kill(&self) {
        self.store.freeze();
        self.process.env.supervisor.token().cancel();
    }

    /// A topic with partitions in every shard, and the first partition of each.
    pub(crate) async fn partition_of_each_shard(&self) -> BTreeMap<ShardId, TopicPartition> {
        let topic = NewTopic {
            name: TopicName::new("wide").expect("a good name"),
            partitions: 256,
            config: BTreeMap::new(),
            validate_only: false,
        };
        let topic = self.create_topic(topic).await.expect("it is new");
        let mut first = BTreeMap::new();
        for (index, info) in (0..).zip(&topic.partitions) {
            let partition = TopicPartition::new(topic.number, PartitionIndex::new(index));
            first.entry(info.shard).or_insert(partition);
        }
        first
    }

    /// Commits, or gives up after a second in which the process does not answer.
    pub(crate) async fn try_send(&self, commit: &ShardCommit) -> Result<CommitAnswer, CommitError> {
        send_in_time(&self.process.service, commit).await
    }

    /// Asks again until there is a definite answer.
    pub(crate) async fn send_until_answered(&self, commit: &ShardCommit) -> CommitAnswer {
        for _ in 0..10_000 {
            match self.try_send(commit).await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.may_ask_again(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no answer to {:?}", commit.manifest.segment);
    }
}

pub(crate) async fn send_in_time(
    service: &MetadataService,
    commit: &ShardCommit,
) -> Result<CommitAnswer, CommitError> {
    let asked = send(service, commit.clone());
    let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
    answer.unwrap_or(Err(CommitError::Unknown))
}
