//! Processes, and what tests need to talk of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use smallvec::smallvec;
use tidelog_env::{CancellationToken, Env};
use tidelog_format::manifest::{BatchEntry, Manifest, SliceEntry};
use tidelog_metadata::{
    ClassBuckets, GroupSettings, MetadataService, OpenOptions, Reach, SequencerMetrics,
    SequencerSettings, TransactionSettings,
};
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{
    AllowPeers, ClientSettings, LocalMember, Parts, PeerAuthorizer, RemoteNode, Router,
    RouterParts, RpcMetrics, ServerParts, ServerSettings, Standing, serve,
};
use tidelog_store::memory::MemoryStore;
use tidelog_types::*;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([9; 16]);
pub(crate) const GENERATION: ClusterGeneration = ClusterGeneration::new(1);
/// Longer than anything takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server with its switch.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<()>,
    registry: Registry,
}

impl Served {
    /// How many calls have ended here and how many connections are open.
    pub(crate) fn work(&self) -> (u64, u64) {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a test process answers");
        let value = |line: &str| {
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse::<u64>().ok())
        };
        let calls = text
            .lines()
            .filter(|line| line.starts_with("tidelog_internal_calls_total{"))
            .filter_map(value);
        let connections = text
            .lines()
            .filter(|line| line.starts_with("tidelog_internal_connections "))
            .filter_map(value);
        (calls.sum(), connections.sum())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn served(standing: Standing) -> Served {
    served_with(standing, ServerSettings::default(), Arc::new(AllowPeers)).await
}

pub(crate) async fn active<S>(service: &Arc<S>) -> Served
where
    S: Log + Catalogue + Cluster + Groups + Transactions + JanitorWork + Merges + Compactions,
{
    served(Standing::Active(Parts::of(Arc::clone(service)))).await
}

pub(crate) async fn served_with(
    standing: Standing,
    settings: ServerSettings,
    authorizer: Arc<dyn PeerAuthorizer>,
) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a test process answers");
    let address = listener
        .local_addr()
        .expect("a test process answers")
        .to_string();
    let (standing, watched) = watch::channel(standing);
    let stop = CancellationToken::new();
    let mut registry = Registry::default();
    let parts = ServerParts {
        env: Env::seeded(1),
        standing: watched,
        authorizer,
        settings,
        tls: None,
        metrics: RpcMetrics::new(&mut registry),
        beside: Routes::default(),
    };
    let serving = serve(parts, listener, stop.clone());
    let ended = tokio::spawn(async move { serving.await.expect("a test process answers") });
    Served {
        address,
        standing,
        stop,
        ended,
        registry,
    }
}

pub(crate) fn metrics() -> RpcMetrics {
    RpcMetrics::new(&mut Registry::default())
}

pub(crate) async fn remote(address: &str) -> RemoteNode {
    remote_with(address, ClientSettings::default()).await
}

pub(crate) async fn remote_with(address: &str, settings: ClientSettings) -> RemoteNode {
    let stop = CancellationToken::new();
    RemoteNode::connect(&Env::seeded(2), address, &settings, &metrics(), stop)
        .await
        .expect("a test process answers")
}

pub(crate) async fn router(seeds: &[&Served], local: Option<LocalMember>) -> Router {
    router_with(seeds, local, ClientSettings::default()).await
}

pub(crate) async fn router_with(
    seeds: &[&Served],
    local: Option<LocalMember>,
    settings: ClientSettings,
) -> Router {
    let parts = RouterParts {
        env: Env::seeded(3),
        seeds: seeds.iter().map(|served| served.address.clone()).collect(),
        local,
        settings,
        metrics: metrics(),
        start_timeout: LONG,
    };
    Router::connect(parts, CancellationToken::new())
        .await
        .expect("a test process answers")
}

/// A real service on a store of its own, with a topic `log` of two partitions in one shard.
pub(crate) async fn real(store: &MemoryStore) -> Arc<MetadataService> {
    let service = MetadataService::open(OpenOptions {
        env: Env::seeded(4),
        store: Arc::new(store.clone()),
        cluster: CLUSTER,
        shards: 1,
        classes: ClassBuckets::default(),
        sequencer: SequencerSettings::default(),
        groups: GroupSettings::default(),
        transactions: TransactionSettings::default(),
        reach: Reach::default(),
        metrics: SequencerMetrics::new(&mut Registry::default()),
    });
    let service = service.await.expect("a test process answers");
    service
        .create_topic(new_topic("log", 2))
        .await
        .expect("a test process answers");
    Arc::new(service)
}

pub(crate) fn new_topic(name: &str, partitions: u32) -> NewTopic {
    NewTopic {
        name: TopicName::new(name).expect("a test process answers"),
        partitions,
        config: BTreeMap::new(),
        validate_only: false,
    }
}

pub(crate) const fn member_id(number: u8) -> MemberId {
    MemberId::from_bytes([number; 16])
}

pub(crate) fn member(number: u8, role: Role, internal_address: &str) -> Member {
    Member {
        id: member_id(number),
        name: format!("m{number}"),
        roles: RoleSet::default().with(role),
        zone: "z".to_owned(),
        version: "1".to_owned(),
        internal_address: internal_address.to_owned(),
        grpc_address: String::new(),
        kafka_addresses: Vec::new(),
        incarnation: None,
        merger: None,
        state: MemberState::Active,
        joined_at: Timestamp::default(),
    }
}

/// A view with metadata processes at these addresses, numbered from 1, and owners of shards by those
/// numbers (0: nobody) with one epoch for all.
pub(crate) fn view(addresses: &[&str], owners: &[u8], epoch: u64) -> Arc<ClusterView> {
    let members = (1..).zip(addresses);
    let members = members.map(|(number, address)| member(number, Role::Metadata, address));
    let shards = (0..).zip(owners).map(|(shard, owner)| ShardOwner {
        shard: ShardId::new(shard),
        owner: (*owner > 0).then(|| member_id(*owner)),
        epoch,
    });
    Arc::new(ClusterView {
        members: members.collect(),
        shards: shards.collect(),
        ..ClusterView::empty(CLUSTER, GENERATION)
    })
}

/// The commit of a segment with one batch of two records.
pub(crate) fn commit(incarnation: u64, sequence: u64, shard: u32, index: u32) -> ShardCommit {
    let batch = BatchEntry {
        length: 80,
        record_count: 2,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        min_timestamp: Timestamp::from_millis(1),
        max_timestamp: Timestamp::from_millis(2),
        max_timestamp_offset_delta: 1,
        transactional: false,
        control: false,
    };
    let slice = SliceEntry {
        partition: TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index)),
        position: 64,
        length: 80,
        crc32c: 7,
        batches: smallvec![batch],
    };
    let sequence = SegmentSequence::new(sequence);
    ShardCommit {
        manifest: Manifest {
            segment: SegmentName::new(Incarnation::new(incarnation), sequence),
            bucket: BucketId::new(0),
            shard: ShardId::new(shard),
            slices: vec![slice],
        },
        conditions: Vec::new(),
        orders: Vec::new(),
        dropped: Vec::new(),
        after: Vec::new(),
        done_below: SegmentSequence::default(),
        inline: None,
    }
}

/// The answer to one commit.
pub(crate) async fn committed(
    log: &dyn Log,
    commit: ShardCommit,
) -> Result<CommitAnswer, CommitError> {
    log.commit(vec![commit])
        .await
        .pop()
        .expect("a test process answers")
}

/// Ends with the first piece of news that is wanted.
pub(crate) async fn until<T>(news: &mut NoticeStream, wanted: impl Fn(&Notice) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(&news.next().await.expect("a test process answers")) {
                return found;
            }
        }
    };
    tokio::time::timeout(LONG, found)
        .await
        .expect("a test process answers")
}
