//! The messages of one connection that come piece by piece.
//!
//! What a client has sent of a message that waits for memory fills the window that all calls of the
//! connection share: half of it for each such call. Two of them leave nothing to the others, nor to the
//! message that is coming in. So when nothing comes any more on a connection of which several messages wait,
//! the newest gives way: it is refused, and its part of the window is free.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a connection has of them. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// One message at a time waits for memory or comes in.
    one: Arc<Semaphore>,
    /// Those that wait for either, by when they came.
    waiting: Mutex<BTreeSet<u64>>,
    tickets: AtomicU64,
    /// Frames of bodies that have come on the connection.
    frames: AtomicU64,
}

/// A message that waits. Dropping it ends that.
pub(super) struct Place {
    lane: Lane,
    ticket: u64,
}

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                one: Arc::new(Semaphore::new(1)),
                waiting: Mutex::default(),
                tickets: AtomicU64::new(0),
                frames: AtomicU64::new(0),
            }),
        }
    }

    pub(super) fn frame_came(&self) {
        self.shared.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// A place for a message that has to wait.
    pub(super) fn enter(&self) -> Place {
        let ticket = self.shared.tickets.fetch_add(1, Ordering::Relaxed);
        self.shared.waiting.lock().insert(ticket);
        Place {
            lane: self.clone(),
            ticket,
        }
    }
}

impl Place {
    /// The message waits no longer, for now.
    pub(super) fn goes_on(&self) {
        self.lane.shared.waiting.lock().remove(&self.ticket);
    }

    /// It waits again, for memory for more of it, in the place that it had.
    pub(super) fn waits_again(&self) {
        self.lane.shared.waiting.lock().insert(self.ticket);
    }

    /// Ends when no other message of the connection waits for memory or comes in.
    pub(super) async fn alone(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.lane.shared.one).acquire_owned().await.ok()
    }

    /// Ends when the message has to give way, after nothing has come for a while.
    pub(super) async fn in_the_way(&self, clock: &dyn Clock, still: Duration) {
        let frames = &self.lane.shared.frames;
        loop {
            let before = frames.load(Ordering::Relaxed);
            clock.sleep(still).await;
            if frames.load(Ordering::Relaxed) == before && self.is_newest_of_several() {
                return;
            }
        }
    }

    /// If so, it waits no longer.
    fn is_newest_of_several(&self) -> bool {
        let mut waiting = self.lane.shared.waiting.lock();
        let is_newest = waiting.len() > 1 && waiting.last() == Some(&self.ticket);
        if is_newest {
            waiting.remove(&self.ticket);
        }
        is_newest
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.goes_on();
    }
}
