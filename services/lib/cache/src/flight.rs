//! Single flight: who wants what is being fetched waits for that fetch.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use thiserror::Error;

use crate::PageKey;

/// A fetch failed; all who waited for it share the error. It is not kept: the next one tries again.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct FetchFailed(Arc<dyn Error + Send + Sync>);

impl FetchFailed {
    /// The error of the fetch.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

type Flight = Shared<BoxFuture<'static, Result<Bytes, FetchFailed>>>;

/// The fetches that are under way.
#[derive(Clone, Default)]
pub(crate) struct Flights {
    flights: Arc<Mutex<HashMap<PageKey, Flight>>>,
}

impl Flights {
    /// Joins the fetch of `key`, or begins it. Tells whether it was joined.
    ///
    /// The fetch goes on as long as one of those who wait for it does. Whoever is left drives it.
    pub(crate) fn join<F, E>(&self, key: PageKey, fetch: F) -> (bool, Flight)
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return (true, flight.clone());
        }
        let landing = Landing {
            key,
            flights: self.clone(),
        };
        let flight = async move {
            let result = fetch.await.map_err(|error| FetchFailed(Arc::new(error)));
            drop(landing);
            result
        };
        let flight = flight.boxed().shared();
        flights.insert(key, flight.clone());
        (false, flight)
    }

    /// Forgets flights that nobody waits for any more.
    pub(crate) fn sweep(&self, key: PageKey) {
        let abandoned = {
            let mut flights = self.flights.lock();
            // The map has one of the handles itself.
            let alone = flights
                .get(&key)
                .is_some_and(|flight| flight.strong_count().is_none_or(|count| count <= 1));
            if alone { flights.remove(&key) } else { None }
        };
        // Dropped outside the lock: it drops the fetch, which takes the lock again.
        drop(abandoned);
    }
}

/// Takes a flight off the map when it ends, also when it is dropped before.
struct Landing {
    key: PageKey,
    flights: Flights,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let landed = self.flights.flights.lock().remove(&self.key);
        drop(landed);
    }
}

/// Sweeps when a waiter goes, whether it got its page or not.
pub(crate) struct Waiter<'a> {
    pub(crate) key: PageKey,
    pub(crate) flights: &'a Flights,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.flights.sweep(self.key);
    }
}
