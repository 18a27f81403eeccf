//! An object store that counts requests, and fails or holds back puts of log objects on demand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

/// What happens to the next puts of log objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFault {
    None,
    /// The object is stored, but the answer is an error; this often.
    StoredButError(u32),
    /// Nothing is stored; the answer is an error; this often.
    Lost(u32),
    /// The put waits until the fault is taken back.
    Held,
}

#[derive(Debug)]
pub(crate) struct TestObjects {
    inner: Arc<dyn ObjectStore>,
    pub(crate) puts: AtomicU64,
    pub(crate) others: AtomicU64,
    pub(crate) log_puts: AtomicU64,
    fault: watch::Sender<LogFault>,
}

impl TestObjects {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            puts: AtomicU64::new(0),
            others: AtomicU64::new(0),
            log_puts: AtomicU64::new(0),
            fault: watch::Sender::new(LogFault::None),
        })
    }

    pub(crate) fn in_memory() -> Arc<Self> {
        Self::new(Arc::new(object_store::memory::InMemory::new()))
    }

    pub(crate) fn set_fault(&self, fault: LogFault) {
        self.fault.send_replace(fault);
    }

    /// Puts of log objects, other puts, and all other requests so far.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (
            self.log_puts.load(Ordering::SeqCst),
            self.puts.load(Ordering::SeqCst),
            self.others.load(Ordering::SeqCst),
        )
    }

    pub(crate) fn total(&self) -> u64 {
        let (log_puts, puts, others) = self.counts();
        log_puts + puts + others
    }

    /// The names of all objects, without a request being counted.
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed: Vec<_> = self.inner.list(None).collect().await;
        listed
            .into_iter()
            .map(|object| object.expect("lists").location.to_string())
            .collect()
    }

    fn count_other(&self) {
        self.others.fetch_add(1, Ordering::SeqCst);
    }

    async fn put_log(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.log_puts.fetch_add(1, Ordering::SeqCst);
        let mut faults = self.fault.subscribe();
        let fault = *faults.borrow_and_update();
        match fault {
            LogFault::None => self.inner.put_opts(location, payload, options).await,
            LogFault::StoredButError(times) => {
                self.set_fault(rest(times, LogFault::StoredButError));
                self.inner.put_opts(location, payload, options).await?;
                Err(broken())
            }
            LogFault::Lost(times) => {
                self.set_fault(rest(times, LogFault::Lost));
                Err(broken())
            }
            LogFault::Held => {
                let _ = faults.wait_for(|fault| *fault != LogFault::Held).await;
                self.inner.put_opts(location, payload, options).await
            }
        }
    }
}

fn rest(times: u32, fault: fn(u32) -> LogFault) -> LogFault {
    if times <= 1 {
        LogFault::None
    } else {
        fault(times - 1)
    }
}

fn broken() -> Error {
    let source = "connection reset".into();
    Error::Generic {
        store: "test",
        source,
    }
}

impl fmt::Display for TestObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test store over {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for TestObjects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if location.as_ref().contains("/wal/") && payload.content_length() > 0 {
            return self.put_log(location, payload, options).await;
        }
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.count_other();
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.count_other();
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_other();
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count_other();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count_other();
        self.inner.copy_opts(from, to, options).await
    }
}
