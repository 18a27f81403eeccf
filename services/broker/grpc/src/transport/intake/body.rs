//! A request's body on its way in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tidelog_api::ApiError;
use tidelog_env::MonoTime;
use tidelog_types::ErrorCode;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::framing::Framing;
use super::received::Held;
use super::{Gathering, Granted, Intake, RETRY_AFTER, Received, Turn};
use crate::metrics::GivenUp;
use crate::transport::connections::OpenCall;

/// A message that comes piece by piece.
pub(super) struct Piecemeal {
    /// When it began, and later by all the time that it waited for us.
    began: MonoTime,
    moved: MonoTime,
    /// When to look whether it gets on.
    look: BoxFuture<'static, ()>,
    /// What has come of it, where there is no memory for all of it. Otherwise it is passed on as it comes.
    gathering: Option<Gathering>,
    _one: Option<OwnedSemaphorePermit>,
}

/// What a frame waits for.
pub(super) enum Wait {
    /// Memory for the messages that begin in it, which are so many.
    Turn(Bytes, usize, BoxFuture<'static, Granted>),
    /// Memory for it, which is a piece of the message that is gathered. Since then.
    Room(Bytes, MonoTime, BoxFuture<'static, ()>),
}

/// A request's body whose messages wait for their turn.
pub(crate) struct MeteredBody<B> {
    pub(super) intake: Intake,
    pub(super) body: B,
    pub(super) call: Arc<OpenCall>,
    pub(super) received: Received,
    pub(super) framing: Framing,
    /// What stood in a frame behind the end of a message that came piece by piece, or behind those that are
    /// whole.
    pub(super) behind: Bytes,
    /// A message that was gathered.
    pub(super) ready: VecDeque<Bytes>,
    /// A frame that waits.
    pub(super) waiting: Option<Wait>,
    /// The message that is coming in.
    pub(super) piecemeal: Option<Piecemeal>,
}

impl<B> MeteredBody<B> {
    /// Waits for memory for the frame that waits; the frame, if it is to be passed on.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        match self.waiting.take() {
            None => Poll::Ready(Ok(None)),
            Some(Wait::Turn(frame, messages, mut turn)) => match turn.poll_unpin(context) {
                Poll::Pending => {
                    self.waiting = Some(Wait::Turn(frame, messages, turn));
                    Poll::Pending
                }
                Poll::Ready(Ok(turn)) => Poll::Ready(Ok(self.begin(frame, messages, turn))),
                Poll::Ready(Err(status)) => Poll::Ready(Err(status)),
            },
            Some(Wait::Room(piece, since, mut room)) => {
                if room.poll_unpin(context).is_pending() {
                    self.waiting = Some(Wait::Room(piece, since, room));
                    return Poll::Pending;
                }
                if let Some(coming) = &mut self.piecemeal {
                    let now = self.intake.clock.now();
                    coming.began = coming.began + (now - since);
                }
                self.gather(&piece);
                Poll::Ready(Ok(None))
            }
        }
    }

    /// There is memory for what begins in a frame, which is passed on or gathered.
    fn begin(&mut self, frame: Bytes, messages: usize, turn: Turn) -> Option<Bytes> {
        let (gathering, one) = match turn {
            Turn::Whole(hold) => {
                self.received.push(messages, Held::Share(hold));
                return Some(frame);
            }
            Turn::All(claim, one) => {
                self.received.push(messages, Held::Claim(claim));
                (None, one)
            }
            Turn::Part(gathering, one) => (Some(gathering), one),
        };
        let clock = &self.intake.clock;
        let is_gathered = gathering.is_some();
        self.piecemeal = Some(Piecemeal {
            began: clock.now(),
            moved: clock.now(),
            look: clock.sleep(self.intake.stall_timeout),
            gathering,
            _one: one,
        });
        if !is_gathered {
            return Some(frame);
        }
        self.gather(&frame);
        None
    }

    /// Takes a piece for which there is memory to those that it belongs to.
    fn gather(&mut self, piece: &[u8]) {
        let Some(mut coming) = self.piecemeal.take() else {
            return;
        };
        coming.moved = self.intake.clock.now();
        let Some(mut gathering) = coming.gathering.take() else {
            return;
        };
        gathering.gathered.put(piece);
        if self.framing.left > 0 {
            coming.gathering = Some(gathering);
            self.piecemeal = Some(coming);
            return;
        }
        let (chunks, claim) = gathering.gathered.into_parts();
        self.received.push(1, Held::Claim(claim));
        self.ready = chunks.into();
        self.call.works();
    }

    /// Whether the message that is coming in is given up.
    fn is_given_up(&mut self, context: &mut Context<'_>) -> Option<Status> {
        let coming = self.piecemeal.as_mut()?;
        let intake = &self.intake;
        while coming.look.poll_unpin(context).is_ready() {
            let now = intake.clock.now();
            if now - coming.began >= intake.timeout {
                intake.metrics.given_up(GivenUp::Slow);
                let message = "a message did not come in completely in time";
                let error = ApiError::new(ErrorCode::DeadlineExceeded, message);
                return Some(error.to_status());
            }
            let others = intake.waiting.load(Ordering::Relaxed) > 0;
            if others && now - coming.moved >= intake.stall_timeout {
                intake.metrics.given_up(GivenUp::Stalled);
                let message = "a message did not come on while others waited for its memory";
                let error = ApiError::new(ErrorCode::ResourceExhausted, message);
                return Some(error.with_retry_after(RETRY_AFTER).to_status());
            }
            coming.look = intake.clock.sleep(intake.stall_timeout);
        }
        None
    }

    /// Whether some of a message is kept here.
    fn is_gathering(&self) -> bool {
        let coming = self.piecemeal.as_ref();
        coming.is_some_and(|coming| coming.gathering.is_some())
    }

    /// Takes note of a frame; keeps it if it has to wait.
    fn pass(&mut self, mut frame: Bytes) -> Option<Bytes> {
        // The end of a message goes first: it must not wait, holding memory, for what begins behind it.
        let left = usize::try_from(self.framing.left).unwrap_or(usize::MAX);
        if left > 0 && left < frame.len() {
            self.behind = frame.split_off(left);
        }
        self.call.peer.lane.frame_came();
        let before = self.framing.clone();
        let mut brings = self.framing.pass(&frame);
        if brings.begun > 1 && self.framing.left > 0 {
            // So do those that are whole.
            self.behind = frame.split_off(brings.whole);
            self.framing = before;
            brings = self.framing.pass(&frame);
        }
        if self.is_gathering() {
            self.piece(frame);
            return None;
        }
        if let Some(coming) = &mut self.piecemeal {
            coming.moved = self.intake.clock.now();
        }
        if brings.ended > 0 {
            self.piecemeal = None;
            self.call.works();
        }
        // A message over the limit is refused by the transport, before it is gathered.
        if brings.begun == 0 || brings.longest > self.intake.message_bytes_max {
            return Some(frame);
        }
        if self.framing.left > 0 {
            let turn = self.intake.turn(&self.call, brings.bytes, frame.len());
            self.waiting = Some(Wait::Turn(frame, brings.begun, turn));
            return None;
        }
        if let Ok(hold) = self.intake.whole.try_hold(brings.bytes) {
            self.received.push(brings.begun, Held::Share(hold));
            return Some(frame);
        }
        let turn = self.intake.whole(brings.bytes);
        self.waiting = Some(Wait::Turn(frame, brings.begun, turn));
        None
    }

    /// Takes a piece of the message that is gathered, if there is room for it, or has it wait.
    fn piece(&mut self, piece: Bytes) {
        let coming = self.piecemeal.as_ref();
        let Some(gathering) = coming.and_then(|coming| coming.gathering.as_ref()) else {
            return;
        };
        if gathering.gathered.has_room(piece.len()) {
            self.gather(&piece);
        } else {
            let room = self.intake.room(gathering, piece.len());
            self.waiting = Some(Wait::Room(piece, self.intake.clock.now(), room));
        }
    }
}

/// The client has ended a call in the middle of a message.
fn cut_off() -> Status {
    let message = "the call ended in the middle of a message";
    ApiError::new(ErrorCode::InvalidArgument, message).to_status()
}

impl<B> http_body::Body for MeteredBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(chunk) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            match ready!(this.poll_waiting(context)) {
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Err(status) => return Poll::Ready(Some(Err(status.into()))),
            }
            if !this.ready.is_empty() {
                continue;
            }
            if !this.behind.is_empty() {
                let behind = std::mem::take(&mut this.behind);
                if let Some(data) = this.pass(behind) {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                continue;
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending => {
                    return match this.is_given_up(context) {
                        Some(status) => Poll::Ready(Some(Err(status.into()))),
                        None => Poll::Pending,
                    };
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(data) = this.pass(data) {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(_) if this.is_gathering() => {
                        return Poll::Ready(Some(Err(cut_off().into())));
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) if this.is_gathering() => {
                    return Poll::Ready(Some(Err(cut_off().into())));
                }
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let has_all_passed = self.waiting.is_none()
            && self.behind.is_empty()
            && self.ready.is_empty()
            && !self.is_gathering();
        has_all_passed && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // No hint: what waits is part of the body as well.
        SizeHint::default()
    }
}
