//! The reader: pages for brokers.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::reader_service_server::{ReaderService, ReaderServiceServer};
use tidelog_cache::{BucketPages, FetchFailed, PAGE_BYTES, PageCache, Pool};
use tidelog_types::ClusterId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::metrics::ReaderMetrics;
use crate::settings::{FORGET_MAX, MESSAGE_BYTES_MAX};
use crate::wire::{self, Assembly, WireError};

/// What a page on its way takes: as it comes from the bucket, and as it goes to the broker.
const PAGE_WORK_BYTES: u64 = 2 * PAGE_BYTES as u64;

/// What a reader is made of.
#[derive(Debug)]
pub struct ReaderParts {
    /// Whose pages these are.
    pub cluster: ClusterId,
    /// The pages at hand.
    pub pages: PageCache,
    /// Where the others come from.
    pub bucket: BucketPages,
    /// Bytes of pages on their way.
    pub in_flight_bytes: u64,
    /// Where it reports.
    pub metrics: ReaderMetrics,
}

/// Serves pages. Clones share them.
#[derive(Clone, Debug)]
pub struct ReaderServer {
    parts: Arc<ReaderParts>,
    /// For pages on their way.
    in_flight: Arc<Semaphore>,
}

impl ReaderServer {
    /// A reader of these parts.
    pub fn new(parts: ReaderParts) -> Self {
        let pages = (parts.in_flight_bytes / PAGE_WORK_BYTES).max(1);
        let pages = usize::try_from(pages).unwrap_or(usize::MAX);
        Self {
            parts: Arc::new(parts),
            in_flight: Arc::new(Semaphore::new(pages.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The service, to be served on the port for members.
    pub fn routes(&self) -> Routes {
        let service = ReaderServiceServer::new(self.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Routes::new(service)
    }

    fn check_cluster(&self, cluster: &[u8]) -> Result<(), Status> {
        if cluster == self.parts.cluster.to_bytes() {
            Ok(())
        } else {
            Err(Status::failed_precondition(
                "this reader is of another cluster",
            ))
        }
    }

    async fn get(&self, request: v1::GetPageRequest) -> Result<(Bytes, Permit), Status> {
        self.check_cluster(&request.cluster_id)?;
        let key = wire::key_from_wire(request.key.as_ref()).map_err(invalid)?;
        let pool = wire::pool_from_wire(request.pool());
        // Whoever waits here has a deadline, and goes when it is over.
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let permit = permit.map_err(|_| Status::unavailable("the reader is going away"))?;
        let bucket = self.parts.bucket.clone();
        let fetch = || async move { bucket.page(key).await };
        // Checked on the way out, so that damage here is a miss here.
        let page = self.parts.pages.read(key, pool, 0..PAGE_BYTES, fetch).await;
        let page = page.map_err(|error| self.failed(&error))?;
        self.parts.metrics.served.inc();
        Ok((page, permit))
    }

    fn failed(&self, error: &FetchFailed) -> Status {
        self.parts.metrics.failed.inc();
        tracing::debug!(
            error = error as &dyn std::error::Error,
            "a page could not be had"
        );
        Status::aborted(error.to_string())
    }

    async fn put(&self, mut parts: Streaming<v1::PutPageRequest>) -> Result<(), Status> {
        let first = parts.message().await?;
        let Some(v1::put_page_request::Part::Start(start)) = first.and_then(|first| first.part)
        else {
            return Err(invalid(WireError::NoHead));
        };
        self.check_cluster(&start.cluster_id)?;
        let key = wire::key_from_wire(start.key.as_ref()).map_err(invalid)?;
        let assembly = Assembly::new(start.head).map_err(invalid)?;
        let permit = Arc::clone(&self.in_flight).try_acquire_owned();
        let permit = permit.map_err(|_| {
            self.parts.metrics.refused.inc();
            Status::resource_exhausted("too many pages are on their way")
        })?;
        // As a fetch, so that whoever wants the page meanwhile waits for it instead of asking the bucket.
        let (broken, told) = oneshot::channel();
        let bucket = self.parts.bucket.clone();
        let coming = async move {
            let error = match collect(parts, assembly).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            // Whoever waits for it needs the page all the same.
            let _ = broken.send(error);
            bucket.page(key).await.map_err(FetchFailed::new)
        };
        let page = self.parts.pages.get_or_fetch(key, Pool::Tail, coming).await;
        drop(permit);
        if let Ok(error) = told.await {
            return Err(self.failed(&error));
        }
        page.map_err(|error| self.failed(&error))?;
        self.parts.metrics.put.inc();
        Ok(())
    }
}

type Permit = OwnedSemaphorePermit;

/// The rest of a page that comes in parts.
async fn collect(
    mut parts: Streaming<v1::PutPageRequest>,
    mut assembly: Assembly,
) -> Result<Bytes, FetchFailed> {
    while let Some(part) = parts.message().await.map_err(FetchFailed::new)? {
        match part.part {
            Some(v1::put_page_request::Part::Data(data)) => {
                assembly.push(&data).map_err(FetchFailed::new)?;
            }
            _ => return Err(FetchFailed::new(WireError::NoHead)),
        }
    }
    assembly.finish().map_err(FetchFailed::new)
}

fn invalid(error: WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The messages of a page. The memory for it is given back when the last one has been taken.
fn page_messages(
    page: Bytes,
    permit: Permit,
) -> impl Stream<Item = Result<v1::GetPageResponse, Status>> + Send {
    use v1::get_page_response::Part;
    let head = Part::Head(wire::head_of(&page));
    let data = wire::chunks(page).map(Part::Data);
    let parts = std::iter::once(head).chain(data);
    let messages = parts.map(move |part| {
        let _held = &permit;
        Ok(v1::GetPageResponse { part: Some(part) })
    });
    tokio_stream::iter(messages)
}

#[tonic::async_trait]
impl ReaderService for ReaderServer {
    type GetPageStream = BoxStream<'static, Result<v1::GetPageResponse, Status>>;

    async fn get_page(
        &self,
        request: Request<v1::GetPageRequest>,
    ) -> Result<Response<Self::GetPageStream>, Status> {
        let (page, permit) = self.get(request.into_inner()).await?;
        Ok(Response::new(Box::pin(page_messages(page, permit))))
    }

    async fn put_page(
        &self,
        request: Request<Streaming<v1::PutPageRequest>>,
    ) -> Result<Response<v1::PutPageResponse>, Status> {
        self.put(request.into_inner()).await?;
        Ok(Response::new(v1::PutPageResponse {}))
    }

    async fn forget_pages(
        &self,
        request: Request<v1::ForgetPagesRequest>,
    ) -> Result<Response<v1::ForgetPagesResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(&request.cluster_id)?;
        if request.keys.len() > FORGET_MAX {
            return Err(Status::invalid_argument("too many pages"));
        }
        for key in &request.keys {
            let key = wire::key_from_wire(Some(key)).map_err(invalid)?;
            self.parts.pages.remove(&key);
            self.parts.metrics.forgotten.inc();
        }
        Ok(Response::new(v1::ForgetPagesResponse {}))
    }
}
