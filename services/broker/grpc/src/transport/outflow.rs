//! Bounds the memory of answers that their readers have not taken yet, over all connections.
//!
//! The transport takes an answer whole and sends it as far as the reader's window goes. What is left stays
//! in memory for as long as the reader likes. So answers are counted until their last byte has gone to
//! the socket, and beyond the share no answer is put together any more. While somebody waits for that,
//! connections that take nothing of what they have are closed.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tidelog_env::Clock;
use tokio::sync::Notify;
use tonic::Status;

use super::connections::{Connections, OpenCall, Peer, Turn, millis, since};
use super::encode::{Next, Source};
use crate::front::GrpcParts;
use crate::metrics::{Closed, GrpcMetrics};

/// Answers go to the transport in pieces of this size, so that it asks for the next one only when the
/// reader has taken those before.
const PIECE_BYTES: usize = 64 * 1024;
/// Answers of this size are not worth counting: they fit beside the header of their call.
const UNCOUNTED_BYTES: usize = 1024;
/// Whatever the share, an answer may be this large.
const ROOM_MIN: u64 = 64 * 1024;
/// An answer takes at most this part of what is free, so that some are left for others.
const ROOM_PART: u64 = 8;

/// The share. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Outflow {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
    /// Calls that hold memory.
    holders: Mutex<HashMap<u64, Arc<Holder>>>,
    next: AtomicU64,
    connections: Connections,
    clock: Arc<dyn Clock>,
    stall_timeout: Duration,
    metrics: GrpcMetrics,
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
        Self {
            shared: Arc::new(Shared {
                limit: parts.settings.answer_bytes,
                used: AtomicU64::new(0),
                freed: Notify::new(),
                holders: Mutex::new(HashMap::new()),
                next: AtomicU64::new(0),
                connections,
                clock: Arc::clone(&parts.env.clock),
                stall_timeout: parts.settings.stall_timeout,
                metrics: parts.metrics.clone(),
            }),
        }
    }

    /// How large an answer should be of which so many bytes were asked for: less when memory is short.
    pub(crate) fn room(&self, asked: u32) -> u32 {
        let used = self.shared.used.load(Ordering::Relaxed);
        let free = self.shared.limit.saturating_sub(used);
        let room = (free / ROOM_PART).max(ROOM_MIN);
        asked.min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    /// The body, put together only as the share allows.
    pub(super) fn meter(&self, source: Source, call: Arc<OpenCall>, of: Answers) -> MeteredAnswer {
        MeteredAnswer {
            outflow: self.clone(),
            source,
            call,
            of,
            rest: VecDeque::new(),
            place: None,
            waiting: None,
        }
    }

    fn is_full(&self) -> bool {
        self.shared.used.load(Ordering::Relaxed) >= self.shared.limit
    }

    /// Ends when the share has room. Meanwhile those who take nothing give way.
    async fn has_room(self) {
        let shared = &self.shared;
        loop {
            let freed = shared.freed.notified();
            if !self.is_full() {
                return;
            }
            tokio::select! {
                () = freed => {}
                () = shared.clock.sleep(shared.stall_timeout) => self.close_stalled(),
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
}

impl Counted {
    fn count(bytes: Bytes, place: &Arc<Place>) -> Bytes {
        let shared = &place.outflow.shared;
        let length = bytes.len() as u64;
        shared.used.fetch_add(length, Ordering::Relaxed);
        shared.metrics.answer_bytes.inc_by(gauge(length));
        place.holder.bytes.fetch_add(length, Ordering::Relaxed);
        let place = Arc::clone(place);
        place.moved();
        Bytes::from_owner(Self { bytes, place })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let shared = &self.place.outflow.shared;
        let length = self.bytes.len() as u64;
        let before = shared.used.fetch_sub(length, Ordering::Relaxed);
        shared.metrics.answer_bytes.dec_by(gauge(length));
        self.place.holder.bytes.fetch_sub(length, Ordering::Relaxed);
        if before >= shared.limit {
            shared.freed.notify_waiters();
        }
    }
}

fn gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Whose answers they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// Those end when the server goes and has told what it knows.
    OurServices,
    /// Health and reflection, whose streams go on until the client ends them.
    OtherServices,
}

impl Answers {
    /// By the path of the call.
    pub(super) fn to(path: &str) -> Self {
        if path.starts_with("/tidelog.v1.") {
            Self::OurServices
        } else {
            Self::OtherServices
        }
    }
}

/// An answer's body that is counted.
pub(crate) struct MeteredAnswer {
    outflow: Outflow,
    source: Source,
    /// The call is open until its answer is out.
    call: Arc<OpenCall>,
    of: Answers,
    /// What was put together and not yet handed to the transport.
    rest: VecDeque<Bytes>,
    /// Once the call has held memory.
    place: Option<Arc<Place>>,
    waiting: Option<BoxFuture<'static, ()>>,
}

impl MeteredAnswer {
    fn next_piece(&mut self) -> Bytes {
        if let Some(place) = &self.place {
            place.moved();
        }
        let Some(mut data) = self.rest.pop_front() else {
            return Bytes::new();
        };
        if data.len() <= PIECE_BYTES {
            return data;
        }
        let piece = data.split_to(PIECE_BYTES);
        self.rest.push_front(data);
        piece
    }

    fn count(&mut self, pieces: VecDeque<Bytes>) -> VecDeque<Bytes> {
        let (outflow, peer) = (&self.outflow, &self.call.peer);
        let place = &mut self.place;
        let counted = pieces.into_iter().map(|piece| {
            if piece.len() <= UNCOUNTED_BYTES {
                return piece;
            }
            let place = place.get_or_insert_with(|| Arc::new(Place::new(outflow, peer)));
            Counted::count(piece, place)
        });
        counted.collect()
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.next_piece()))));
            }
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.poll_unpin(context));
                self.waiting = None;
            }
            // What is no data is small, and lets calls end that hold memory.
            if self.source.is_data() && self.outflow.is_full() {
                self.waiting = Some(self.outflow.clone().has_room().boxed());
                continue;
            }
            match ready!(self.source.poll_next(context)) {
                Some(Ok(Next::Data(pieces))) => self.rest = self.count(pieces),
                Some(Ok(Next::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl http_body::Body for MeteredAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = this.poll_next(context);
        let is_ours = frame.is_pending() && this.of == Answers::OurServices;
        let turn = if is_ours { Turn::Ours } else { Turn::Theirs };
        this.call.turns_to(turn);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
