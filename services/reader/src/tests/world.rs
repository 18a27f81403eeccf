//! Readers on sockets, a bucket in memory, and brokers that ask them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use tidelog_blob::faulty::FaultyStore;
use tidelog_blob::{BucketLayout, ClusterLayout, Operation};
use tidelog_cache::{
    BucketPages, CacheMetrics, CacheSettings, NearPages as _, PAGE_BYTES, PageCache, PageKey, Pool,
};
use tidelog_env::{CancellationToken, Env, ManualClock};
use tidelog_metadata_api::{ClusterView, Member, MemberState};
use tidelog_types::{
    BucketId, ClusterGeneration, ClusterId, Incarnation, MemberId, Role, SegmentName,
    SegmentSequence, Timestamp,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::metrics::{Asked, Offered};
use crate::{ReaderMetrics, ReaderParts, ReaderServer, Tier, TierMetrics, TierParts, TierSettings};

/// The zone of everybody who does not say another.
pub(super) const ZONE: &str = "here";
/// Pages of the segment in the bucket: two whole ones and a part.
pub(super) const PAGES: u32 = 3;

pub(super) fn cluster() -> ClusterId {
    ClusterId::from_random_bytes([9; 16])
}

pub(super) fn key(page: u32) -> PageKey {
    let name = SegmentName::new(Incarnation::new(1), SegmentSequence::new(1));
    PageKey::new(BucketId::new(0), name, page)
}

/// What a page holds.
pub(super) fn body(page: u32) -> Bytes {
    let length = if page + 1 == PAGES {
        1_000
    } else {
        PAGE_BYTES as usize
    };
    Bytes::from(vec![u8::try_from(page).unwrap() + 1; length])
}

/// The bucket, with one segment.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    store: FaultyStore,
    layout: ClusterLayout,
}

impl Bucket {
    pub(super) async fn new() -> Self {
        let layout = BucketLayout::new("".into()).cluster(cluster());
        let objects = InMemory::new();
        let whole: Vec<u8> = (0..PAGES).flat_map(body).collect();
        let path = layout.segment(key(0).bucket, key(0).segment);
        objects.put(&path, whole.into()).await.unwrap();
        let store = FaultyStore::new(Arc::new(objects), Env::system().clock);
        Self { store, layout }
    }

    pub(super) fn gets(&self) -> u64 {
        self.store.seen(Operation::Get)
    }
}

pub(super) fn cache() -> PageCache {
    let pools = CacheSettings {
        tail_bytes: 64 << 20,
        catch_up_bytes: 64 << 20,
    };
    PageCache::with_pools(pools, CacheMetrics::default())
}

/// A reader that serves.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) member: Member,
    pub(super) metrics: ReaderMetrics,
    pub(super) pages: PageCache,
    pub(super) stop: CancellationToken,
}

pub(super) fn member(number: u8, address: &str) -> Member {
    Member {
        id: MemberId::from_random_bytes([number; 16]),
        name: format!("reader-{number}"),
        roles: [Role::Reader].into_iter().collect(),
        zone: ZONE.to_owned(),
        version: String::new(),
        internal_address: address.to_owned(),
        grpc_address: String::new(),
        kafka_addresses: Vec::new(),
        incarnation: None,
        merger: None,
        state: MemberState::Active,
        joined_at: Timestamp::default(),
    }
}

/// Serves something where a reader would.
pub(super) async fn serve(routes: Routes) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let serving = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::spawn(serving);
    (address, stop)
}

/// An address at which nobody answers.
pub(super) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

impl Served {
    pub(super) async fn new(number: u8, bucket: &Bucket) -> Self {
        let (metrics, pages) = (ReaderMetrics::default(), cache());
        let store = Arc::new(bucket.store.clone());
        let reader = ReaderServer::new(ReaderParts {
            cluster: cluster(),
            pages: pages.clone(),
            bucket: BucketPages::new(store, bucket.layout.clone(), metrics.gets.clone()),
            in_flight_bytes: 64 << 20,
            metrics: metrics.clone(),
        });
        let (address, stop) = serve(reader.routes()).await;
        Self {
            member: member(number, &address.to_string()),
            metrics,
            pages,
            stop,
        }
    }
}

/// A broker, as far as it asks readers.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) tier: Tier,
    pub(super) own: PageCache,
    metrics: TierMetrics,
    views: watch::Sender<Arc<ClusterView>>,
}

pub(super) fn patient() -> TierSettings {
    TierSettings {
        patience: Duration::from_secs(20),
        ..TierSettings::default()
    }
}

/// Time stands, so that nobody who is left alone is tried again, but where a test waits for it to be over.
fn env_for(settings: &TierSettings) -> Env {
    let env = Env::system();
    if settings.offer_timeout < patient().offer_timeout {
        return env;
    }
    Env {
        clock: Arc::new(ManualClock::default()),
        ..env
    }
}

impl Broker {
    pub(super) fn new(readers: &[&Member]) -> Self {
        Self::with(readers, patient())
    }

    pub(super) fn with(readers: &[&Member], settings: TierSettings) -> Self {
        Self::of(cluster(), readers, settings)
    }

    pub(super) fn of(cluster: ClusterId, readers: &[&Member], settings: TierSettings) -> Self {
        let views = watch::Sender::new(view(readers));
        let (own, metrics) = (cache(), TierMetrics::default());
        let parts = TierParts {
            env: env_for(&settings),
            cluster,
            me: MemberId::from_random_bytes([200; 16]),
            zone: ZONE.to_owned(),
            views: views.subscribe(),
            own: own.clone(),
            settings,
            metrics: metrics.clone(),
        };
        Self {
            tier: Tier::start(parts, CancellationToken::new()),
            own,
            metrics,
            views,
        }
    }

    /// Other members are there from now on.
    pub(super) async fn sees(&self, readers: &[&Member]) {
        self.views.send_replace(view(readers));
        let ids: Vec<MemberId> = readers.iter().map(|reader| reader.id).collect();
        until(|| self.tier.readers() == ids).await;
    }

    pub(super) async fn page(&self, page: u32) -> Option<Bytes> {
        self.tier.page(key(page), Pool::CatchUp).await
    }

    pub(super) fn asked(&self, outcome: Asked) -> u64 {
        self.metrics.count_asked(outcome)
    }

    pub(super) fn offered(&self, outcome: Offered) -> u64 {
        self.metrics.count_offered(outcome)
    }
}

fn view(members: &[&Member]) -> Arc<ClusterView> {
    Arc::new(ClusterView {
        members: members.iter().map(|member| (*member).clone()).collect(),
        ..ClusterView::empty(cluster(), ClusterGeneration::new(1))
    })
}

/// Ends when something holds that another task brings about.
pub(super) async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}
