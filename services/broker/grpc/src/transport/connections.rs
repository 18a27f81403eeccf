//! The seats: how many connections there are, how large their windows are, and who gives way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::{CancellationToken, Clock, MonoTime};
use tokio::sync::Semaphore;

use super::intake::Lane;
use crate::front::GrpcParts;
use crate::metrics::{Closed, GrpcMetrics};

/// The least window: what HTTP/2 gives every connection before anybody can object.
const WINDOW_BYTES_MIN: u64 = 64 * 1024;
/// The largest window of a connection: enough for 1 GB/s over a round trip of 16 ms.
const WINDOW_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A connection takes this part of what is left of the windows.
const WINDOW_PART: u64 = 4;
/// The smallest and the largest frame that HTTP/2 lets a server ask for, within reason: large ones cost
/// less per byte, and one is gathered whole before it is passed on.
const FRAME_BYTES: (u64, u64) = (16 * 1024, 256 * 1024);

/// All connections. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Calls that every connection may have, whatever the others do.
    own_calls: usize,
    /// Calls beyond those.
    more_calls: Arc<Semaphore>,
    connections_max: usize,
    clock: Arc<dyn Clock>,
    metrics: GrpcMetrics,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Arc<Peer>>,
    next: u64,
    /// What is left of the windows.
    window_bytes: u64,
}

/// One connection, as those see it who share the process with it.
#[derive(Debug)]
pub(crate) struct Peer {
    id: u64,
    /// What it has of the windows beyond the least.
    extra: u64,
    /// Asks it to end.
    pub(crate) close: CancellationToken,
    /// Its messages that come piece by piece.
    pub(super) lane: Lane,
    /// Calls that are open.
    calls: AtomicUsize,
    /// Of them, those that have sent a whole message.
    at_work: AtomicU32,
    /// When it was last at work, on the process's clock, in milliseconds.
    worked_at: AtomicU64,
    /// Calls in which it is the server's turn.
    ours: AtomicU32,
    /// Grows with every byte on the socket and every change of turns.
    moves: AtomicU64,
}

/// Who is to do something next in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The client: its first message has not come in whole.
    Asking = 0,
    /// The server: there is no answer yet, or no more of it.
    Ours = 1,
    /// The client: there is something for it to take.
    Theirs = 2,
}

/// The place of a connection. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Seat {
    connections: Connections,
    pub(crate) peer: Arc<Peer>,
}

/// An open call: a place among the calls of its connection or of all. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct OpenCall {
    connections: Connections,
    pub(crate) peer: Arc<Peer>,
    /// Whether it has sent a whole message.
    at_work: AtomicBool,
    /// A [`Turn`].
    turn: AtomicU8,
    _shared: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Time on the process's clock as a number that fits an atomic.
pub(super) fn millis(time: MonoTime) -> u64 {
    u64::try_from(time.since_start().as_millis()).unwrap_or(u64::MAX)
}

/// How long ago that was of which [`millis`] was kept.
pub(super) fn since(now: MonoTime, then: u64) -> Duration {
    Duration::from_millis(millis(now).saturating_sub(then))
}

/// How much connections may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    /// Calls that every connection may have, whatever the others do.
    pub(super) own_calls: usize,
    /// Calls beyond those, for all connections.
    pub(super) more_calls: usize,
    /// What the windows of all connections have beyond the least.
    pub(super) window_bytes: u64,
}

impl Connections {
    pub(crate) fn new(parts: &GrpcParts) -> Self {
        let settings = &parts.settings;
        // Half of the calls are kept for connections that have few.
        let own_calls = (settings.calls_max / 2 / settings.connections_max.max(1)).max(1);
        let own_in_all = own_calls.saturating_mul(settings.connections_max);
        let limits = Limits {
            connections_max: settings.connections_max,
            own_calls,
            more_calls: settings.calls_max.saturating_sub(own_in_all),
            window_bytes: settings.window_bytes,
        };
        Self::with(limits, Arc::clone(&parts.env.clock), parts.metrics.clone())
    }

    pub(super) fn with(limits: Limits, clock: Arc<dyn Clock>, metrics: GrpcMetrics) -> Self {
        let table = Table {
            window_bytes: limits.window_bytes,
            ..Table::default()
        };
        Self {
            shared: Arc::new(Shared {
                table: Mutex::new(table),
                own_calls: limits.own_calls,
                more_calls: Arc::new(Semaphore::new(limits.more_calls)),
                connections_max: limits.connections_max,
                clock,
                metrics,
            }),
        }
    }

    /// A seat for a new connection. If all are taken, whoever has not been at work for the longest time
    /// gives way; `None` if all are at work.
    pub(crate) fn admit(&self) -> Option<Seat> {
        let shared = &self.shared;
        let mut table = shared.table.lock();
        if table.open.len() >= shared.connections_max {
            let resting = table.open.values().filter(|peer| peer.is_resting());
            let longest = resting.min_by_key(|peer| peer.worked_at.load(Ordering::Relaxed));
            let Some(longest) = longest.map(|peer| peer.id) else {
                shared.metrics.refused_connections.inc();
                return None;
            };
            table.remove(longest, shared, Closed::Resting);
        }
        let extra = (table.window_bytes / WINDOW_PART).min(WINDOW_BYTES_MAX - WINDOW_BYTES_MIN);
        table.window_bytes -= extra;
        let id = table.next;
        table.next += 1;
        let peer = Arc::new(Peer {
            id,
            extra,
            close: CancellationToken::new(),
            lane: Lane::new(),
            calls: AtomicUsize::new(0),
            at_work: AtomicU32::new(0),
            worked_at: AtomicU64::new(millis(shared.clock.now())),
            ours: AtomicU32::new(0),
            moves: AtomicU64::new(0),
        });
        table.open.insert(id, Arc::clone(&peer));
        shared.metrics.connections.inc();
        drop(table);
        let connections = self.clone();
        Some(Seat { connections, peer })
    }

    /// Closes a connection that stands in the way of others.
    pub(crate) fn close(&self, peer: &Peer, why: Closed) {
        let shared = &self.shared;
        shared.table.lock().remove(peer.id, shared, why);
    }

    /// A place for a call; `None` if its connection has had its own and there are no others.
    pub(crate) fn open_call(&self, peer: &Arc<Peer>) -> Option<OpenCall> {
        let shared = &self.shared;
        let open = peer.calls.fetch_add(1, Ordering::Relaxed);
        let more = if open < shared.own_calls {
            None
        } else if let Ok(more) = Arc::clone(&shared.more_calls).try_acquire_owned() {
            Some(more)
        } else {
            peer.calls.fetch_sub(1, Ordering::Relaxed);
            shared.metrics.refused_calls.inc();
            return None;
        };
        Some(OpenCall {
            connections: self.clone(),
            peer: Arc::clone(peer),
            at_work: AtomicBool::new(false),
            turn: AtomicU8::new(Turn::Asking as u8),
            _shared: more,
        })
    }
}

impl Table {
    fn remove(&mut self, id: u64, shared: &Shared, why: Closed) {
        if let Some(peer) = self.open.remove(&id) {
            self.window_bytes += peer.extra;
            shared.metrics.connections.dec();
            shared.metrics.closed(why);
            if why != Closed::Ended {
                tracing::info!(connection = id, why = why.as_str(), "connection closed");
                peer.close.cancel();
            }
        }
    }
}

impl Seat {
    /// Closes the connection.
    pub(super) fn close(&self, why: Closed) {
        self.connections.close(&self.peer, why);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.close(&self.peer, Closed::Ended);
    }
}

impl Peer {
    /// No call of it has sent anything whole.
    fn is_resting(&self) -> bool {
        self.at_work.load(Ordering::Relaxed) == 0
    }

    /// Bytes have come or gone.
    pub(super) fn moved(&self, bytes: usize) {
        self.moves.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Grows with everything that gets on.
    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Whether the server has something to do for it.
    pub(super) fn awaits_us(&self) -> bool {
        self.ours.load(Ordering::Relaxed) > 0
    }

    /// A number of its own.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The window of the connection.
    pub(crate) fn window_bytes(&self) -> u32 {
        u32::try_from(WINDOW_BYTES_MIN + self.extra).unwrap_or(u32::MAX)
    }

    /// The largest frame it may send.
    pub(crate) fn frame_bytes(&self) -> u32 {
        let (least, most) = FRAME_BYTES;
        let bytes = (self.extra / 8).clamp(least, most);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl OpenCall {
    /// The call has sent a whole message: its connection is at work until the call ends.
    pub(crate) fn works(&self) {
        if !self.at_work.swap(true, Ordering::Relaxed) {
            self.peer.at_work.fetch_add(1, Ordering::Relaxed);
            let (asking, ours) = (Turn::Asking as u8, Turn::Ours as u8);
            let began =
                self.turn
                    .compare_exchange(asking, ours, Ordering::Relaxed, Ordering::Relaxed);
            if began.is_ok() {
                self.peer.ours.fetch_add(1, Ordering::Relaxed);
                self.peer.moved(1);
            }
        }
    }

    /// It is somebody's turn.
    pub(super) fn turns_to(&self, turn: Turn) {
        let before = self.turn.swap(turn as u8, Ordering::Relaxed);
        if before == turn as u8 {
            return;
        }
        if turn == Turn::Ours {
            self.peer.ours.fetch_add(1, Ordering::Relaxed);
        } else if before == Turn::Ours as u8 {
            self.peer.ours.fetch_sub(1, Ordering::Relaxed);
        }
        self.peer.moved(1);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.turns_to(Turn::Theirs);
        let peer = &self.peer;
        if self.at_work.load(Ordering::Relaxed) {
            let now = millis(self.connections.shared.clock.now());
            peer.worked_at.store(now, Ordering::Relaxed);
            peer.at_work.fetch_sub(1, Ordering::Relaxed);
        }
        peer.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tidelog_env::ManualClock;

    use super::*;

    fn connections(connections_max: usize, calls: (usize, usize)) -> (Connections, ManualClock) {
        let clock = ManualClock::default();
        let limits = Limits {
            connections_max,
            own_calls: calls.0,
            more_calls: calls.1,
            window_bytes: 1024 * 1024,
        };
        let metrics = GrpcMetrics::new(&mut Registry::default());
        let connections = Connections::with(limits, Arc::new(clock.clone()), metrics);
        (connections, clock)
    }

    #[test]
    fn the_one_that_rests_longest_gives_way_and_one_at_work_never() {
        let (connections, clock) = connections(2, (2, 0));
        let first = connections.admit().unwrap();
        clock.advance(Duration::from_secs(1));
        let second = connections.admit().unwrap();
        let call = connections.open_call(&first.peer).unwrap();
        call.works();
        let third = connections.admit().unwrap();
        assert!(second.peer.close.is_cancelled() && !first.peer.close.is_cancelled());
        let other = connections.open_call(&third.peer).unwrap();
        other.works();
        assert!(connections.admit().is_none());
        drop(call);
        assert!(connections.admit().is_some());
        assert!(first.peer.close.is_cancelled());
    }

    #[test]
    fn a_call_that_has_sent_nothing_whole_keeps_no_seat() {
        let (connections, _) = connections(1, (2, 0));
        let seat = connections.admit().unwrap();
        let _call = connections.open_call(&seat.peer).unwrap();
        assert!(connections.admit().is_some());
        assert!(seat.peer.close.is_cancelled());
    }

    #[test]
    fn the_first_connections_have_larger_windows_and_give_them_back() {
        let (connections, _) = connections(100, (1, 0));
        let mut seats: Vec<Seat> = (0..50).filter_map(|_| connections.admit()).collect();
        let windows: Vec<u32> = seats.iter().map(|seat| seat.peer.window_bytes()).collect();
        assert!(windows.is_sorted_by(|a, b| a >= b) && windows[0] > 300_000);
        let least = u32::try_from(WINDOW_BYTES_MIN).unwrap();
        assert!(windows.iter().all(|window| *window >= least));
        let extra: u64 = windows.iter().map(|window| u64::from(window - least)).sum();
        assert!(extra <= 1024 * 1024);
        seats.clear();
        assert_eq!(connections.admit().unwrap().peer.window_bytes(), windows[0]);
    }

    #[test]
    fn each_connection_has_calls_of_its_own_beside_those_that_all_share() {
        let (connections, _) = connections(2, (2, 3));
        let (greedy, modest) = (connections.admit().unwrap(), connections.admit().unwrap());
        let calls: Vec<OpenCall> = (0..10)
            .filter_map(|_| connections.open_call(&greedy.peer))
            .collect();
        assert_eq!(calls.len(), 5);
        assert!(connections.open_call(&modest.peer).is_some());
        drop(calls);
        assert!(connections.open_call(&greedy.peer).is_some());
    }
}
