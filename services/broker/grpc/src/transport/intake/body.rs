//! A request's body on its way in.

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
use super::{Granted, Intake, RETRY_AFTER, Received};
use crate::metrics::GivenUp;
use crate::transport::connections::OpenCall;

/// A message that comes piece by piece.
pub(super) struct Piecemeal {
    began: MonoTime,
    moved: MonoTime,
    /// When to look whether it gets on.
    look: BoxFuture<'static, ()>,
    _one: Option<OwnedSemaphorePermit>,
}

/// A request's body whose messages wait for their turn.
pub(crate) struct MeteredBody<B> {
    pub(super) intake: Intake,
    pub(super) body: B,
    pub(super) call: Arc<OpenCall>,
    pub(super) received: Received,
    pub(super) framing: Framing,
    /// What stood in a frame behind the end of a message that came piece by piece.
    pub(super) behind: Bytes,
    /// A frame that waits with the messages that begin in it, and how many these are.
    pub(super) waiting: Option<(Bytes, usize, BoxFuture<'static, Granted>)>,
    /// The message that is coming in.
    pub(super) piecemeal: Option<Piecemeal>,
}

impl<B> MeteredBody<B> {
    /// Waits for the share with the frame in which messages begin.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let Some((_, messages, turn)) = &mut self.waiting else {
            return Poll::Ready(None);
        };
        let turn = match ready!(turn.poll_unpin(context)) {
            Ok(turn) => turn,
            Err(status) => {
                self.waiting = None;
                return Poll::Ready(Some(Err(status)));
            }
        };
        self.received.push(*messages, turn.hold);
        if self.framing.left > 0 {
            let clock = &self.intake.clock;
            self.piecemeal = Some(Piecemeal {
                began: clock.now(),
                moved: clock.now(),
                look: clock.sleep(self.intake.stall_timeout),
                _one: turn.one,
            });
        }
        Poll::Ready(self.waiting.take().map(|(frame, ..)| Ok(frame)))
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

    /// Takes note of a frame; keeps it if it has to wait.
    fn pass(&mut self, mut frame: Bytes) -> Option<Bytes> {
        // The end of a message goes first: it must not wait, holding memory, for what begins behind it.
        let left = usize::try_from(self.framing.left).unwrap_or(usize::MAX);
        if left > 0 && left < frame.len() {
            self.behind = frame.split_off(left);
        }
        self.call.peer.lane.frame_came();
        let brings = self.framing.pass(&frame);
        if brings.ended > 0 {
            self.piecemeal = None;
            self.call.works();
        } else if let Some(coming) = &mut self.piecemeal {
            coming.moved = self.intake.clock.now();
        }
        // A message over the limit is refused by the transport, before it is gathered.
        if brings.begun == 0 || brings.longest > self.intake.message_bytes_max {
            return Some(frame);
        }
        if self.framing.left > 0 {
            let turn = self.intake.turn(&self.call, brings.bytes);
            self.waiting = Some((frame, brings.begun, turn));
            return None;
        }
        if let Ok(hold) = self.intake.whole.try_hold(brings.bytes) {
            self.received.push(brings.begun, hold);
            return Some(frame);
        }
        let turn = self.intake.whole(brings.bytes);
        self.waiting = Some((frame, brings.begun, turn));
        None
    }
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
            if let Some(turn) = ready!(this.poll_turn(context)) {
                return Poll::Ready(Some(turn.map(Frame::data).map_err(Into::into)));
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
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.behind.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // No hint: what waits is part of the body as well.
        SizeHint::default()
    }
}
