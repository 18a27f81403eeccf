//! Single flight: who wants what is being fetched waits for that fetch.
//!
//! A fetch is driven by those who wait for it, so it needs no task: it goes on as long as one of them is
//! there, and ends when the last one goes.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use thiserror::Error;

use crate::page::{Page, PageKey};

/// A fetch failed; all who waited for it share the error. It is not kept: the next one tries again.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct FetchFailed(Arc<dyn Error + Send + Sync>);

impl FetchFailed {
    /// An error for all who wait. One that is such an error already stays what it is.
    pub fn new(cause: impl Error + Send + Sync + 'static) -> Self {
        match (&cause as &dyn Any).downcast_ref::<Self>() {
            Some(same) => same.clone(),
            None => Self(Arc::new(cause)),
        }
    }

    /// The error of the fetch, or [`FetchPanicked`], or [`crate::PageTooLong`].
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

/// A fetch panicked, which is a bug of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the fetch of page `{0}` panicked")]
pub struct FetchPanicked(pub PageKey);

type Flight = Shared<BoxFuture<'static, Result<Page, FetchFailed>>>;

/// The fetches that are under way. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By page, with the number of the flight: an earlier one of the same page may end late.
    flights: HashMap<PageKey, (u64, Flight)>,
    number: u64,
}

/// What a reader who did not find its page is told.
pub(crate) enum Boarding {
    /// It came in the meantime.
    Here(Page),
    /// Somebody fetches it.
    Joined(Passenger),
    /// This reader began to fetch it.
    Began(Passenger),
}

impl Flights {
    /// Joins the fetch of a page or begins one. `look` looks for the page once more under the lock: a
    /// fetch puts its page into the cache before it leaves the table, so nobody can miss both.
    pub(crate) fn board<F>(
        &self,
        key: PageKey,
        look: impl FnOnce() -> Option<Page>,
        fetch: impl FnOnce() -> F,
    ) -> Boarding
    where
        F: Future<Output = Result<Page, FetchFailed>> + Send + 'static,
    {
        let mut table = self.table.lock();
        if let Some((_, flight)) = table.flights.get(&key) {
            return Boarding::Joined(self.passenger(key, flight.clone()));
        }
        if let Some(page) = look() {
            return Boarding::Here(page);
        }
        table.number += 1;
        let landing = Landing {
            key,
            number: table.number,
            flights: self.clone(),
        };
        let fetch = AssertUnwindSafe(fetch()).catch_unwind();
        let flight = async move {
            let ended = fetch.await;
            drop(landing);
            ended.unwrap_or_else(|_| Err(FetchFailed::new(FetchPanicked(key))))
        };
        let flight = flight.boxed().shared();
        let number = table.number;
        table.flights.insert(key, (number, flight.clone()));
        Boarding::Began(self.passenger(key, flight))
    }

    fn passenger(&self, key: PageKey, flight: Flight) -> Passenger {
        Passenger {
            flight: Some(flight),
            key,
            flights: self.clone(),
        }
    }

    /// How many fetches are under way.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().flights.len()
    }

    /// Whether a page is being fetched.
    pub(crate) fn has(&self, key: &PageKey) -> bool {
        self.table.lock().flights.contains_key(key)
    }

    /// Takes a flight off the table, if it is still that one.
    fn remove(&self, key: PageKey, number: u64) {
        let landed = {
            let mut table = self.table.lock();
            match table.flights.get(&key) {
                Some((standing, _)) if *standing == number => table.flights.remove(&key),
                _ => None,
            }
        };
        // Outside the lock: it may be the last handle, which drops what the fetch holds.
        drop(landed);
    }

    /// Takes a flight off the table if nobody waits for it any more, and so ends it.
    fn sweep(&self, key: PageKey) {
        let abandoned = {
            let mut table = self.table.lock();
            // The table has one of the handles itself; a flight that has ended counts none.
            let alone = table
                .flights
                .get(&key)
                .is_some_and(|(_, flight)| flight.strong_count().is_none_or(|count| count <= 1));
            if alone {
                table.flights.remove(&key)
            } else {
                None
            }
        };
        // Outside the lock: it drops the fetch and with it the landing, which takes the lock again.
        drop(abandoned);
    }
}

/// Takes a flight off the table when it ends, also when it is dropped before.
struct Landing {
    key: PageKey,
    number: u64,
    flights: Flights,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.remove(self.key, self.number);
    }
}

/// One who waits. When the last one goes, the fetch ends.
pub(crate) struct Passenger {
    flight: Option<Flight>,
    key: PageKey,
    flights: Flights,
}

impl Passenger {
    pub(crate) async fn arrive(mut self) -> Result<Page, FetchFailed> {
        match &mut self.flight {
            Some(flight) => flight.await,
            // `flight` is taken by `drop` alone.
            None => Err(FetchFailed::new(FetchPanicked(self.key))),
        }
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        drop(self.flight.take());
        self.flights.sweep(self.key);
    }
}
