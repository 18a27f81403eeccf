//! The body of an answer on its way to the transport.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tidelog_broker_engine::{FairHold, HolderId};
use tonic::Status;

use super::super::connections::{OpenCall, Turn};
use super::super::encode::{Next, Source};
use super::{Counted, Outflow, Place};
use crate::answer::Encoded;

/// Answers go to the transport in pieces of this size, so that it asks for the next one only when the
/// reader has taken those before.
const PIECE_BYTES: usize = 64 * 1024;
/// Answers of this size are not worth counting: they fit beside the header of their call.
const UNCOUNTED_BYTES: usize = 1024;

/// Whose answers they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Answers {
    /// Those end when the server goes and has told what it knows.
    OurServices,
    /// Health and reflection, whose streams go on until the client ends them.
    OtherServices,
}

impl Answers {
    /// By the path of the call.
    pub(in super::super) fn to(path: &str) -> Self {
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
    /// Memory for what comes next.
    turn: Option<FairHold>,
    waiting: Option<BoxFuture<'static, FairHold>>,
}

impl MeteredAnswer {
    pub(super) fn new(outflow: Outflow, source: Source, call: Arc<OpenCall>, of: Answers) -> Self {
        Self {
            outflow,
            source,
            call,
            of,
            rest: VecDeque::new(),
            place: None,
            turn: None,
            waiting: None,
        }
    }

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

    fn count(&mut self, encoded: Encoded) -> VecDeque<Bytes> {
        let Encoded { pieces, turn } = encoded;
        let (outflow, peer) = (&self.outflow, &self.call.peer);
        let turn = turn.or(self.turn.take());
        let mut turn = turn.unwrap_or_else(|| outflow.no_turn(HolderId(peer.id())));
        let counts = |piece: &Bytes| piece.len() > UNCOUNTED_BYTES;
        let bytes: u64 = pieces
            .iter()
            .filter(|piece| counts(piece))
            .map(|piece| piece.len() as u64)
            .sum();
        turn.add(bytes.saturating_sub(turn.bytes()));
        let place = &mut self.place;
        let counted = pieces.into_iter().map(|piece| {
            if !counts(&piece) {
                return piece;
            }
            let place = place.get_or_insert_with(|| Arc::new(Place::new(outflow, peer)));
            let hold = turn.split(piece.len() as u64);
            Counted::count(piece, place, hold)
        });
        counted.collect()
    }

    /// Waits until it is the call's turn to put the next answer together, unless answers come with their
    /// turns. What is no data is small, and lets calls end that hold memory.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(need) = self.source.need().filter(|_| self.turn.is_none()) else {
            return Poll::Ready(());
        };
        let holder = HolderId(self.call.peer.id());
        if self.waiting.is_none() {
            self.turn = self.outflow.try_turn(holder, need);
            if self.turn.is_some() {
                return Poll::Ready(());
            }
        }
        let outflow = &self.outflow;
        let waiting = self
            .waiting
            .get_or_insert_with(|| outflow.clone().turn(holder, need).boxed());
        self.turn = Some(ready!(waiting.poll_unpin(context)));
        self.waiting = None;
        Poll::Ready(())
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.next_piece()))));
            }
            ready!(self.poll_turn(context));
            let Poll::Ready(next) = self.source.poll_next(context) else {
                // It is somebody else's turn while there is nothing.
                self.turn = None;
                return Poll::Pending;
            };
            match next {
                Some(Ok(Next::Data(encoded))) => self.rest = self.count(encoded),
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
