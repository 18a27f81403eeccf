//! The readers of a zone, as a broker uses them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::reader_service_client::ReaderServiceClient;
use tidelog_cache::{NearPages, PageCache, PageKey, Pool};
use tidelog_env::clock::timeout;
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::{ClusterView, Member, MemberState};
use tidelog_types::{ClusterId, MemberId, Role};
use tokio::sync::{Semaphore, watch};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::breaker::Breaker;
use crate::metrics::{Asked, Offered, TierMetrics};
use crate::rank;
use crate::settings::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX, TierSettings};
use crate::wire::{self, Assembly, WireError};

/// What the tier is made of.
#[derive(Debug)]
pub struct TierParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// The cluster.
    pub cluster: ClusterId,
    /// This process.
    pub me: MemberId,
    /// Its zone: readers of others are not asked.
    pub zone: String,
    /// Who is there.
    pub views: watch::Receiver<Arc<ClusterView>>,
    /// The pages of this process: what it owns as a reader lies there.
    pub own: PageCache,
    /// Limits.
    pub settings: TierSettings,
    /// Where it reports.
    pub metrics: TierMetrics,
}

/// The readers of the zone. Clones share everything.
#[derive(Clone)]
pub struct Tier {
    shared: Arc<Shared>,
}

struct Shared {
    parts: TierParts,
    readers: RwLock<Arc<Vec<Arc<Reader>>>>,
    offers: Arc<Semaphore>,
}

/// One reader.
struct Reader {
    id: MemberId,
    address: String,
    /// None: it is this process.
    client: Option<ReaderServiceClient<Channel>>,
    breaker: Breaker,
    /// Pages that this broker has under way with it.
    load: AtomicUsize,
}

/// Counts a page that is under way.
struct Loaded(Arc<Reader>);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a reader gave no page.
enum Miss {
    Status(Status),
    Wire(WireError),
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readers = self.shared.readers.read();
        let addresses = readers.iter().map(|reader| &reader.address);
        f.debug_list().entries(addresses).finish()
    }
}

impl Tier {
    /// Follows the members of the cluster until `stop`. Must be called within a runtime.
    pub fn start(parts: TierParts, stop: CancellationToken) -> Self {
        let offers = Arc::new(Semaphore::new(parts.settings.offer_bytes));
        let (env, views) = (parts.env.clone(), parts.views.clone());
        let tier = Self {
            shared: Arc::new(Shared {
                parts,
                readers: RwLock::default(),
                offers,
            }),
        };
        // Whoever asks at once asks those who are there.
        let view = Arc::clone(&views.borrow());
        tier.shared.take_note(&view);
        let following = tier.clone().follow(views, stop);
        drop(env.supervisor.spawn("read tier", following));
        tier
    }

    #[cfg(test)]
    pub(crate) fn readers(&self) -> Vec<MemberId> {
        let readers = self.shared.readers.read();
        readers.iter().map(|reader| reader.id).collect()
    }

    async fn follow(self, mut views: watch::Receiver<Arc<ClusterView>>, stop: CancellationToken) {
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            self.shared.take_note(&view);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = views.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

impl Shared {
    /// Knows the readers of a view from now on. What is known of those that stay, stays.
    fn take_note(&self, view: &ClusterView) {
        let before = Arc::clone(&self.readers.read());
        let serves = |member: &&Member| {
            member.roles.contains(Role::Reader)
                && member.zone == self.parts.zone
                && member.state == MemberState::Active
                && (member.id == self.parts.me || !member.internal_address.is_empty())
        };
        let known = |member: &Member| {
            let mut known = before.iter();
            known.find(|reader| reader.id == member.id && reader.address == member.internal_address)
        };
        let readers: Vec<Arc<Reader>> = view
            .members
            .iter()
            .filter(serves)
            .filter_map(|member| known(member).cloned().or_else(|| self.connect(member)))
            .collect();
        let count = i64::try_from(readers.len()).unwrap_or(i64::MAX);
        self.parts.metrics.readers.set(count);
        *self.readers.write() = Arc::new(readers);
    }

    /// A reader that nobody has asked anything yet; none if its address makes no sense.
    fn connect(&self, member: &Member) -> Option<Arc<Reader>> {
        let client = if member.id == self.parts.me {
            None
        } else {
            let channel = self.channel(&member.internal_address);
            let channel = channel.inspect_err(|error| {
                let address = &member.internal_address;
                tracing::warn!(address, %error, "the address of a reader cannot be used");
            });
            let client = ReaderServiceClient::new(channel.ok()?)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            Some(client)
        };
        Some(Arc::new(Reader {
            id: member.id,
            address: member.internal_address.clone(),
            client,
            breaker: Breaker::default(),
            load: AtomicUsize::new(0),
        }))
    }

    fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let settings = &self.parts.settings;
        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .http2_adaptive_window(true);
        if let Some(tls) = &settings.tls {
            let tls = tls.clone().timeout(settings.connect_timeout);
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(endpoint.connect_lazy())
    }

    /// The first reader in the page's order that is well and not overloaded.
    fn choose(&self, key: PageKey) -> Option<Loaded> {
        let readers = Arc::clone(&self.readers.read());
        let total = readers
            .iter()
            .map(|reader| reader.load.load(Ordering::Relaxed))
            .sum();
        let load_max = rank::load_max(total, readers.len(), self.parts.settings.pages_min);
        let now = self.parts.env.clock.now();
        let order = rank::order(readers.iter().map(|reader| reader.id), key);
        let mut order = order.into_iter().filter_map(|at| readers.get(at));
        let chosen = order.find(|reader| {
            reader.load.load(Ordering::Relaxed) < load_max && reader.breaker.admits(now)
        })?;
        chosen.load.fetch_add(1, Ordering::Relaxed);
        Some(Loaded(Arc::clone(chosen)))
    }

    fn cluster_id(&self) -> Bytes {
        Bytes::copy_from_slice(&self.parts.cluster.to_bytes())
    }

    async fn get(
        &self,
        mut client: ReaderServiceClient<Channel>,
        key: PageKey,
        pool: Pool,
    ) -> Result<Bytes, Miss> {
        use v1::get_page_response::Part;
        let mut request = Request::new(v1::GetPageRequest {
            cluster_id: self.cluster_id(),
            key: Some(wire::key_to_wire(key)),
            pool: wire::pool_to_wire(pool).into(),
        });
        request.set_timeout(self.parts.settings.patience);
        let mut parts = client.get_page(request).await?.into_inner();
        let head = match parts.message().await?.and_then(|first| first.part) {
            Some(Part::Head(head)) => Some(head),
            Some(Part::Data(_)) | None => None,
        };
        let mut assembly = Assembly::new(head)?;
        while let Some(part) = parts.message().await? {
            match part.part {
                Some(Part::Data(data)) => assembly.push(&data)?,
                Some(Part::Head(_)) | None => return Err(WireError::NoHead.into()),
            }
        }
        Ok(assembly.finish()?)
    }

    async fn put(
        &self,
        mut client: ReaderServiceClient<Channel>,
        key: PageKey,
        page: Bytes,
    ) -> Result<(), Status> {
        use v1::put_page_request::Part;
        let start = Part::Start(v1::PutPageStart {
            cluster_id: self.cluster_id(),
            key: Some(wire::key_to_wire(key)),
            head: Some(wire::head_of(&page)),
        });
        let parts = std::iter::once(start).chain(wire::chunks(page).map(Part::Data));
        let messages = parts.map(|part| v1::PutPageRequest { part: Some(part) });
        let mut request = Request::new(tokio_stream::iter(messages));
        request.set_timeout(self.parts.settings.offer_timeout);
        client.put_page(request).await.map(drop)
    }

    /// What a failure says of the reader.
    fn on_miss(&self, reader: &Reader, miss: &Miss) -> Asked {
        let asked = match miss {
            Miss::Wire(_) => Asked::Corrupt,
            Miss::Status(status) => match status.code() {
                // It is well: it has no room, or it had no luck with the bucket.
                Code::ResourceExhausted | Code::Aborted => {
                    reader.breaker.on_success();
                    return Asked::Refused;
                }
                Code::DeadlineExceeded | Code::Cancelled => Asked::Slow,
                _ => Asked::Failed,
            },
        };
        reader.breaker.on_failure(self.parts.env.clock.now());
        let address = &reader.address;
        match miss {
            Miss::Wire(error) => tracing::warn!(address, %error, "a reader sent no whole page"),
            Miss::Status(status) => tracing::debug!(address, %status, "a reader gave no page"),
        }
        asked
    }
}

impl From<Status> for Miss {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<WireError> for Miss {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

#[async_trait]
impl NearPages for Tier {
    async fn page(&self, key: PageKey, pool: Pool) -> Option<Bytes> {
        let (shared, parts) = (&self.shared, &self.shared.parts);
        let Some(reader) = shared.choose(key) else {
            parts.metrics.asked(Asked::Nobody);
            return None;
        };
        let Some(client) = reader.0.client.clone() else {
            parts.metrics.asked(Asked::Own);
            return None;
        };
        let asking = shared.get(client, key, pool);
        let given = timeout(parts.env.clock.as_ref(), parts.settings.patience, asking).await;
        let given = given.unwrap_or_else(|_| Err(Status::deadline_exceeded("too slow").into()));
        let (page, asked) = match given {
            Ok(page) => {
                reader.0.breaker.on_success();
                (Some(page), Asked::Hit)
            }
            Err(miss) => (None, shared.on_miss(&reader.0, &miss)),
        };
        parts.metrics.asked(asked);
        page
    }

    fn distrust(&self, key: PageKey) {
        self.shared.parts.metrics.distrusted.inc();
        let Some(reader) = self.shared.choose(key) else {
            return;
        };
        let Some(mut client) = reader.0.client.clone() else {
            return;
        };
        // Most likely it was this one; whoever it was gives pages that no broker believes.
        let parts = &self.shared.parts;
        reader.0.breaker.on_failure(parts.env.clock.now());
        let mut request = Request::new(v1::ForgetPagesRequest {
            cluster_id: self.shared.cluster_id(),
            keys: vec![wire::key_to_wire(key)],
        });
        request.set_timeout(parts.settings.patience);
        let telling = async move {
            let told = client.forget_pages(request).await;
            if let Err(status) = told {
                tracing::debug!(%status, "a reader could not be told of a page that is wrong");
            }
            drop(reader);
        };
        drop(parts.env.supervisor.spawn("distrust page", telling));
    }

    fn takes_offers(&self) -> bool {
        !self.shared.readers.read().is_empty()
    }

    fn offer(&self, key: PageKey, page: Bytes) {
        let metrics = self.shared.parts.metrics.clone();
        let bytes = u32::try_from(page.len()).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.shared.offers).try_acquire_many_owned(bytes);
        let Ok(held) = held else {
            metrics.offered(Offered::Dropped);
            return;
        };
        let Some(reader) = self.shared.choose(key) else {
            metrics.offered(Offered::Failed);
            return;
        };
        let Some(client) = reader.0.client.clone() else {
            self.shared.parts.own.insert(key, page);
            metrics.offered(Offered::Taken);
            return;
        };
        let shared = Arc::clone(&self.shared);
        let offering = async move {
            let parts = &shared.parts;
            let within = parts.settings.offer_timeout;
            let putting = shared.put(client, key, page);
            let taken = timeout(parts.env.clock.as_ref(), within, putting).await;
            let taken = taken.unwrap_or_else(|_| Err(Status::deadline_exceeded("too slow")));
            match taken {
                Ok(()) => {
                    reader.0.breaker.on_success();
                    metrics.offered(Offered::Taken);
                }
                Err(status) => {
                    shared.on_miss(&reader.0, &Miss::Status(status));
                    metrics.offered(Offered::Failed);
                }
            }
            drop((held, reader));
        };
        let supervisor = &self.shared.parts.env.supervisor;
        drop(supervisor.spawn("offer page", offering));
    }
}
