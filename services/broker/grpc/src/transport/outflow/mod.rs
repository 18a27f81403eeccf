//! Bounds the memory of answers that their readers have not taken yet, over all connections.
//!
//! The transport takes an answer whole and sends it as far as the reader's window goes. What is left stays
//! in memory for as long as the reader likes. So answers are counted until their last byte has gone to
//! the socket, and beyond the share no answer is put together any more. Whose connection holds least goes
//! first then, and while somebody waits, connections that take nothing of what they have are closed.

mod body;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_broker_engine::{FairHold, FairShare, HolderId, Need};
use tidelog_env::Clock;

use super::connections::{Connections, OpenCall, Peer, millis, since};
use super::encode::Source;
use crate::front::GrpcParts;
use crate::metrics::{Closed, GrpcMetrics};

pub(super) use body::{Answers, MeteredAnswer};

/// Whatever the share, an answer may be this large.
pub(super) const ROOM_MIN: u64 = 64 * 1024;
/// An answer takes at most this part of what is free, so that some are left for others.
const ROOM_PART: u64 = 8;
/// How often in the time after which a holder counts as stalled one who waits looks for such.
const STALL_CHECKS: u32 = 4;

/// The share. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Outflow {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    share: FairShare,
    /// Calls that hold memory.
    holders: Mutex<HashMap<u64, Arc<Holder>>>,
    next: AtomicU64,
    connections: Connections,
    clock: Arc<dyn Clock>,
    stall_timeout: Duration,
    metrics: GrpcMetrics,
}

/// The way out of one connection, for answers that need their turn before they are put together. Clones
/// share it.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    outflow: Outflow,
    holder: HolderId,
}

impl Outlet {
    /// One that leads nowhere.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        tests::World::new(1024 * 1024).outflow.outlet_of_none()
    }

    /// Waits until it is the connection's turn to put an answer of so many bytes together, and takes them.
    /// Cancel-safe.
    pub(crate) async fn turn(&self, bytes: u64) -> FairHold {
        let need = Need::Exactly(bytes);
        self.outflow.clone().turn(self.holder, need).await
    }

    /// As [`Outlet::turn`], if it is the connection's turn now.
    pub(crate) fn try_turn(&self, bytes: u64) -> Option<FairHold> {
        self.outflow.try_turn(self.holder, Need::Exactly(bytes))
    }

    /// Waits until it would be the connection's turn, of which nothing is taken. Cancel-safe.
    pub(crate) async fn beginning(&self) {
        let need = Need::Room(ROOM_MIN);
        drop(self.outflow.clone().turn(self.holder, need).await);
    }
}

/// Who holds memory, and since when nothing was taken of it.
#[derive(Debug)]
struct Holder {
    peer: Arc<Peer>,
    moved_at: AtomicU64,
    /// How much it holds now.
    bytes: AtomicU64,
}

impl Outflow {
    pub(crate) fn new(parts: &GrpcParts, connections: Connections) -> Self {
        let GrpcParts {
            settings,
            env,
            metrics,
            ..
        } = parts;
        let clock = Arc::clone(&env.clock);
        let (bytes, stall_timeout) = (settings.answer_bytes, settings.stall_timeout);
        Self::with(bytes, stall_timeout, connections, clock, metrics.clone())
    }

    fn with(
        bytes: u64,
        stall_timeout: Duration,
        connections: Connections,
        clock: Arc<dyn Clock>,
        metrics: GrpcMetrics,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                share: FairShare::new(bytes),
                holders: Mutex::new(HashMap::new()),
                next: AtomicU64::new(0),
                connections,
                clock,
                stall_timeout,
                metrics,
            }),
        }
    }

    /// How large an answer should be of which so many bytes were asked for: less when memory is short.
    pub(crate) fn room(&self, asked: u32) -> u32 {
        let free = self.shared.share.free_bytes();
        let room = (free / ROOM_PART).max(ROOM_MIN);
        asked.min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    /// The body, put together only as the share allows.
    pub(super) fn meter(&self, source: Source, call: Arc<OpenCall>, of: Answers) -> MeteredAnswer {
        MeteredAnswer::new(self.clone(), source, call, of)
    }

    /// The way out of a connection.
    pub(super) fn outlet(&self, peer: &Peer) -> Outlet {
        self.outlet_of(HolderId(peer.id()))
    }

    /// For a call that came over no connection.
    pub(crate) fn outlet_of_none(&self) -> Outlet {
        self.outlet_of(HolderId(u64::MAX))
    }

    fn outlet_of(&self, holder: HolderId) -> Outlet {
        let outflow = self.clone();
        Outlet { outflow, holder }
    }

    /// For what is counted without a turn.
    fn no_turn(&self, holder: HolderId) -> FairHold {
        self.shared.share.nothing(holder)
    }

    /// The turn of a connection, if it has it now.
    fn try_turn(&self, holder: HolderId, need: Need) -> Option<FairHold> {
        self.shared.share.try_hold(holder, need)
    }

    /// Waits for the turn of a connection. Meanwhile those who take nothing give way.
    async fn turn(self, holder: HolderId, need: Need) -> FairHold {
        let shared = &self.shared;
        let mut turn = pin!(shared.share.hold(holder, need));
        loop {
            tokio::select! {
                biased;
                hold = &mut turn => return hold,
                () = shared.clock.sleep(shared.stall_timeout / STALL_CHECKS) => self.close_stalled(),
            }
        }
    }

    fn close_stalled(&self) {
        let shared = &self.shared;
        let now = shared.clock.now();
        let stalled: Vec<Arc<Peer>> = shared
            .holders
            .lock()
            .values()
            .filter(|holder| holder.bytes.load(Ordering::Relaxed) > 0)
            .filter(|holder| {
                let moved_at = holder.moved_at.load(Ordering::Relaxed);
                since(now, moved_at) >= shared.stall_timeout
            })
            .map(|holder| Arc::clone(&holder.peer))
            .collect();
        for peer in stalled {
            shared.connections.close(&peer, Closed::Stalled);
        }
    }
}

/// The place of a call among those that hold memory.
#[derive(Debug)]
struct Place {
    outflow: Outflow,
    id: u64,
    holder: Arc<Holder>,
}

impl Place {
    fn new(outflow: &Outflow, peer: &Arc<Peer>) -> Self {
        let shared = &outflow.shared;
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let holder = Arc::new(Holder {
            peer: Arc::clone(peer),
            moved_at: AtomicU64::new(millis(shared.clock.now())),
            bytes: AtomicU64::new(0),
        });
        shared.holders.lock().insert(id, Arc::clone(&holder));
        Self {
            outflow: outflow.clone(),
            id,
            holder,
        }
    }

    fn moved(&self) {
        let now = millis(self.outflow.shared.clock.now());
        self.holder.moved_at.store(now, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.outflow.shared.holders.lock().remove(&self.id);
    }
}

/// Bytes that are counted until the last reference to them is gone.
struct Counted {
    bytes: Bytes,
    place: Arc<Place>,
    _hold: FairHold,
}

impl Counted {
    fn count(bytes: Bytes, place: &Arc<Place>, hold: FairHold) -> Bytes {
        let length = bytes.len() as u64;
        place
            .outflow
            .shared
            .metrics
            .answer_bytes
            .inc_by(gauge(length));
        place.holder.bytes.fetch_add(length, Ordering::Relaxed);
        let place = Arc::clone(place);
        place.moved();
        Bytes::from_owner(Self {
            bytes,
            place,
            _hold: hold,
        })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let place = &self.place;
        let length = self.bytes.len() as u64;
        place
            .outflow
            .shared
            .metrics
            .answer_bytes
            .dec_by(gauge(length));
        place.holder.bytes.fetch_sub(length, Ordering::Relaxed);
    }
}

fn gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
