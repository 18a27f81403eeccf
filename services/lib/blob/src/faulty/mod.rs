//! A store that fails as told, for tests.
//!
//! Faults are given as rules ("the second PUT below `seg/` answers 503") or drawn by chance from a seed.
//! Errors are made like those of real stores, so they are classified alike. What happened is counted, so a
//! test can see that its fault was really met.

mod apply;
mod plan;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, iter, once};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tidelog_env::{Clock, Rng};

use crate::metrics::Operation;
use apply::Ghost;
use plan::Plan;
pub use plan::{Chaos, Fault, FaultRule};

/// A store that fails as told. Clones share the plan and the counters.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    plan: Mutex<Plan>,
    /// Writes that the client gave up and that have not landed yet.
    ghosts: Mutex<Vec<Ghost>>,
}

impl FaultyStore {
    /// A store that passes everything to `inner` until told otherwise.
    pub fn new(inner: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                inner,
                clock,
                plan: Mutex::new(Plan::default()),
                ghosts: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Adds a rule. Of several that match, the one added first acts.
    pub fn inject(&self, rule: FaultRule) {
        self.shared.plan.lock().rules.push(rule);
    }

    /// Draws faults by chance where no rule matches.
    pub fn chaos(&self, rng: Arc<dyn Rng>, chaos: Chaos) {
        self.shared.plan.lock().chaos = Some((rng, chaos));
    }

    /// Ends all faults. Requests that hang go on hanging, ghosts stay in the air.
    pub fn heal(&self) {
        let mut plan = self.shared.plan.lock();
        plan.rules.clear();
        plan.chaos = None;
    }

    /// How often each fault happened, by [`Fault::name`].
    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.shared.plan.lock().injected.clone()
    }

    /// How many requests of one kind came, with and without a fault.
    pub fn seen(&self, operation: Operation) -> u64 {
        self.shared.plan.lock().seen[operation as usize]
    }

    /// How many requests came at all.
    pub fn seen_total(&self) -> u64 {
        self.shared.plan.lock().seen.iter().sum()
    }

    /// Lets the writes of [`Fault::GhostLater`] land, in the order in which they came; gives how each ended.
    pub async fn land_ghosts(&self) -> Vec<Result<()>> {
        let ghosts = std::mem::take(&mut *self.shared.ghosts.lock());
        let mut results = Vec::new();
        for ghost in ghosts {
            results.push(ghost.land(self.inner()).await);
        }
        results
    }

    fn inner(&self) -> &dyn ObjectStore {
        self.shared.inner.as_ref()
    }

    /// Counts a request and says what shall happen to it.
    fn draw(&self, operation: Operation, path: &Path) -> Option<Fault> {
        self.shared.plan.lock().draw(operation, path)
    }

    async fn delete_one(&self, path: &Path) -> Result<()> {
        let fault = self.draw(Operation::Delete, path);
        let ghost = || Ghost::Delete(path.clone());
        self.write(fault, path, self.inner().delete(path), (), ghost)
            .await
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.shared.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.draw(Operation::Put, location);
        let ghost = || Ghost::Put(location.clone(), payload.clone(), options.clone());
        let lie = PutResult {
            e_tag: None,
            version: None,
            extensions: object_store::Extensions::new(),
        };
        let put = self
            .inner()
            .put_opts(location, payload.clone(), options.clone());
        self.write(fault, location, put, lie, ghost).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.refuse(self.draw(Operation::Multipart, location), location)
            .await?;
        let inner = self.inner().put_multipart_opts(location, options).await?;
        Ok(upload::wrap(inner, self.clone(), location.clone()))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head {
            Operation::Head
        } else {
            Operation::Get
        };
        let fault = self.draw(operation, location);
        self.read(fault, location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut parts = Vec::new();
        for range in ranges {
            parts.push(self.get_range(location, range.clone()).await?);
        }
        Ok(parts)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.delete_one(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = prefix.cloned();
        let listing = async move {
            let at = prefix.clone().unwrap_or_default();
            match store.draw(Operation::List, &at) {
                // A listing that lies has nothing in it.
                Some(Fault::Lie) => iter(Vec::new()).boxed(),
                fault => match store.refuse(fault, &at).await {
                    Ok(()) => store.inner().list(prefix.as_ref()),
                    Err(error) => iter(vec![Err(error)]).boxed(),
                },
            }
        };
        once(listing).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let at = prefix.cloned().unwrap_or_default();
        self.refuse(self.draw(Operation::List, &at), &at).await?;
        self.inner().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.refuse(self.draw(Operation::Copy, to), to).await?;
        self.inner().copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
