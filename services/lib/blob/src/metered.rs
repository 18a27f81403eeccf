//! Counts each request, its bytes and its time.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};
use tidelog_env::{Clock, MonoTime};

use crate::errors::classify;
use crate::metrics::{LIST_PAGE_ITEMS, Meter, Operation, Traffic};
use crate::purpose::Purpose;

/// Counts what goes to the store below. It belongs right above the store, so that hedges and retries are
/// counted as the requests that they are.
#[derive(Clone, Debug)]
pub struct Metered {
    inner: Arc<dyn ObjectStore>,
    gauge: Gauge,
}

/// What a request needs to be counted.
#[derive(Clone, Debug)]
struct Gauge {
    meter: Meter,
    clock: Arc<dyn Clock>,
}

impl Gauge {
    fn begin(&self, traffic: Traffic, sent_bytes: u64) -> Running {
        self.meter.begin(traffic, sent_bytes);
        Running {
            gauge: self.clone(),
            traffic,
            start: self.clock.now(),
        }
    }
}

/// A request under way. Dropping it says that it is over.
#[derive(Debug)]
struct Running {
    gauge: Gauge,
    traffic: Traffic,
    start: MonoTime,
}

impl Running {
    fn check<T>(&self, result: Result<T>) -> Result<T> {
        let operation = self.traffic.operation();
        result.inspect_err(|error| self.gauge.meter.error(operation, classify(error)))
    }

    fn received(&self, bytes: u64) {
        self.gauge.meter.received(self.traffic, bytes);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let took = self.gauge.clock.now() - self.start;
        self.gauge.meter.end(self.traffic.operation(), took);
    }
}

impl Metered {
    /// Counts what goes to `inner` on `meter`.
    pub fn new(inner: Arc<dyn ObjectStore>, meter: Meter, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            gauge: Gauge { meter, clock },
        }
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metered({})", self.inner)
    }
}

/// A stream of an answer that is counted to its end.
struct Counted<S> {
    stream: S,
    running: Running,
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for Counted<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.stream).poll_next(context);
        polled.map(|item| {
            item.map(|chunk| {
                let chunk = self.running.check(chunk)?;
                self.running.received(chunk.len() as u64);
                Ok(chunk)
            })
        })
    }
}

/// Counts a listing: each page is a request.
fn count_items<T: Send + 'static>(
    mut running: Running,
    stream: BoxStream<'static, Result<T>>,
) -> BoxStream<'static, Result<T>> {
    let mut items: u64 = 0;
    stream
        .map(move |item| {
            if items > 0 && items.is_multiple_of(LIST_PAGE_ITEMS) {
                running = running.gauge.begin(running.traffic, 0);
            }
            items += 1;
            running.check(item)
        })
        .boxed()
}

/// What a listing is for.
fn listing(prefix: Option<&Path>) -> Traffic {
    Traffic::of(Operation::List, prefix.map_or(Purpose::Other, Purpose::of))
}

/// What another request is for.
fn traffic(operation: Operation, path: &Path) -> Traffic {
    Traffic::of(operation, Purpose::of(path))
}

#[async_trait]
impl ObjectStore for Metered {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let running = self.gauge.begin(
            traffic(Operation::Put, location),
            payload.content_length() as u64,
        );
        running.check(self.inner.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let purpose = Purpose::of(location);
        let running = self
            .gauge
            .begin(Traffic::of(Operation::Multipart, purpose), 0);
        let upload = running.check(self.inner.put_multipart_opts(location, options).await)?;
        Ok(Box::new(MeteredUpload {
            inner: upload,
            gauge: self.gauge.clone(),
            purpose,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let traffic = match (is_head, &options.range) {
            (true, _) => traffic(Operation::Head, location),
            (false, None) => traffic(Operation::Get, location),
            (false, Some(_)) => Traffic::ranged(Purpose::of(location)),
        };
        let running = self.gauge.begin(traffic, 0);
        let result = running.check(self.inner.get_opts(location, options).await)?;
        if is_head {
            return Ok(result);
        }
        let payload = match result.payload {
            GetResultPayload::Stream(stream) => {
                GetResultPayload::Stream(Counted { stream, running }.boxed())
            }
            // The bytes of a file are read later by who asked; what is known now is how many.
            file @ GetResultPayload::File(..) => {
                running.received(result.range.end.saturating_sub(result.range.start));
                file
            }
        };
        Ok(GetResult { payload, ..result })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let running = self.gauge.begin(Traffic::ranged(Purpose::of(location)), 0);
        let parts = running.check(self.inner.get_ranges(location, ranges).await)?;
        running.received(parts.iter().map(|part| part.len() as u64).sum());
        Ok(parts)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let gauge = self.gauge.clone();
        self.inner
            .delete_stream(locations)
            .map(move |result| {
                let purpose = result.as_ref().map_or(Purpose::Other, Purpose::of);
                gauge
                    .begin(Traffic::of(Operation::Delete, purpose), 0)
                    .check(result)
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count_items(
            self.gauge.begin(listing(prefix), 0),
            self.inner.list(prefix),
        )
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let running = self.gauge.begin(listing(prefix), 0);
        count_items(running, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let running = self.gauge.begin(listing(prefix), 0);
        let result = running.check(self.inner.list_with_delimiter(prefix).await)?;
        let items = (result.objects.len() + result.common_prefixes.len()) as u64;
        for _ in 1..items.div_ceil(LIST_PAGE_ITEMS) {
            drop(self.gauge.begin(listing(prefix), 0));
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let running = self.gauge.begin(traffic(Operation::Copy, to), 0);
        running.check(self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let running = self.gauge.begin(traffic(Operation::Copy, to), 0);
        running.check(self.inner.rename_opts(from, to, options).await)
    }
}

/// Counts the parts of an upload.
#[derive(Debug)]
struct MeteredUpload {
    inner: Box<dyn MultipartUpload>,
    gauge: Gauge,
    purpose: Purpose,
}

#[async_trait]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let running = self.gauge.begin(
            Traffic::of(Operation::Part, self.purpose),
            data.content_length() as u64,
        );
        let part = self.inner.put_part(data);
        Box::pin(async move { running.check(part.await) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let running = self
            .gauge
            .begin(Traffic::of(Operation::Multipart, self.purpose), 0);
        running.check(self.inner.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        let running = self
            .gauge
            .begin(Traffic::of(Operation::Multipart, self.purpose), 0);
        running.check(self.inner.abort().await)
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use tidelog_env::ManualClock;

    use super::*;
    use crate::metrics::{Metrics, Role};

    #[tokio::test]
    async fn requests_bytes_and_errors_are_counted_by_operation() {
        let meter = Metrics::unregistered().meter(Role::Reader);
        let clock = Arc::new(ManualClock::default());
        let store = Metered::new(Arc::new(InMemory::new()), meter.clone(), clock);
        let path = Path::from("a");
        store
            .put(&path, PutPayload::from_static(b"0123456789"))
            .await
            .unwrap();
        assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
        store.head(&path).await.unwrap();
        store.get(&Path::from("none")).await.unwrap_err();
        store.delete(&path).await.unwrap();
        assert_eq!(store.list(None).count().await, 0);
        let seen = meter.snapshot();
        let put = seen.get(Operation::Put);
        assert_eq!((put.requests, put.sent_bytes), (1, 10));
        let get = seen.get(Operation::Get);
        assert_eq!((get.requests, get.received_bytes, get.errors), (2, 3, 1));
        for operation in [Operation::Head, Operation::Delete, Operation::List] {
            assert_eq!(seen.get(operation).requests, 1, "{operation:?}");
        }
        assert_eq!(seen.requests(), 6);
    }

    #[tokio::test]
    async fn each_page_of_a_listing_is_a_request() {
        let meter = Metrics::unregistered().meter(Role::Admin);
        let clock = Arc::new(ManualClock::default());
        let store = Metered::new(Arc::new(InMemory::new()), meter.clone(), clock);
        let lists = || meter.snapshot().get(Operation::List).requests;
        for n in 0..LIST_PAGE_ITEMS {
            let path = Path::from(format!("{n:04}"));
            store.put(&path, PutPayload::new()).await.unwrap();
        }
        let mut counted = 0;
        for (more, pages) in [(None, 1), (Some("more"), 2)] {
            if let Some(name) = more {
                store.put(&name.into(), PutPayload::new()).await.unwrap();
            }
            let items = store.list(None).count().await as u64;
            assert_eq!(items, LIST_PAGE_ITEMS + pages - 1);
            counted += pages;
            assert_eq!(lists(), counted);
            store.list_with_delimiter(None).await.unwrap();
            counted += pages;
            assert_eq!(lists(), counted);
        }
    }
}
