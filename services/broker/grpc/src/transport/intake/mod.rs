//! Bounds the memory of messages that are being received, over all connections.
//!
//! The transport gathers a message before it hands it over, and any number of callers may send large ones at
//! once. So a message waits, with its first frame, until its whole length fits the share, and its memory is
//! held until its handler has it accounted for elsewhere. It asks for everything at once and while it has
//! nothing, so that no two wait for each other. Messages that come in one frame have a part of the share
//! for themselves: they never wait for those that come slowly. Who sends slowly is refused: after a time
//! limit, and much sooner while others wait.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tidelog_api::ApiError;
use tidelog_api::codec::DecodeBudget;
use tidelog_broker_engine::{MemoryHold, MemoryShare};
use tidelog_env::{Clock, MonoTime};
use tidelog_types::ErrorCode;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::connections::OpenCall;
use crate::decode::Decode;
use crate::front::GrpcParts;
use crate::metrics::{GivenUp, GrpcMetrics};

/// Bytes before each message: a flag and the length.
const PREFIX_BYTES: usize = 5;
/// The part of the share that is kept for messages that come in one frame.
const WHOLE_PART: u64 = 4;
/// When a message that was refused for want of memory may be sent again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The share. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// For messages that come in one frame.
    whole: MemoryShare,
    /// For those that come piece by piece.
    pieces: MemoryShare,
    /// For what messages grow by when they are decoded.
    decode: Decode,
    /// How many wait for either.
    waiting: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    stall_timeout: Duration,
    message_bytes_max: u64,
    metrics: GrpcMetrics,
}

/// One that waits; counted while it does.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory of the messages of a call that have come in or are coming in, oldest first. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    groups: Arc<Mutex<VecDeque<Group>>>,
    decode: MemoryShare,
}

/// Messages that began in one frame.
#[derive(Debug)]
struct Group {
    messages: usize,
    holds: Vec<MemoryHold>,
}

impl Received {
    /// For a call that nothing was counted of.
    pub(crate) fn of_none(decode: &Decode) -> Self {
        Self {
            groups: Arc::default(),
            decode: decode.share().clone(),
        }
    }

    fn push(&self, messages: usize, hold: MemoryHold) {
        let holds = vec![hold];
        self.groups.lock().push_back(Group { messages, holds });
    }

    /// The oldest message has its memory elsewhere now, or needs none.
    pub(crate) fn taken(&self) {
        let mut groups = self.groups.lock();
        if let Some(oldest) = groups.front_mut() {
            oldest.messages -= 1;
            if oldest.messages == 0 {
                groups.pop_front();
            }
        }
    }
}

impl DecodeBudget for Received {
    /// A message's growth is held with the message.
    fn take(&self, bytes: u64) -> Result<(), ApiError> {
        let hold = self.decode.try_hold(bytes).map_err(|error| {
            ApiError::new(ErrorCode::ResourceExhausted, error.to_string())
                .with_retry_after(RETRY_AFTER)
        })?;
        if let Some(oldest) = self.groups.lock().front_mut() {
            oldest.holds.push(hold);
        }
        Ok(())
    }
}

impl Intake {
    pub(crate) fn new(parts: &GrpcParts, decode: &Decode) -> Self {
        let settings = &parts.settings;
        let whole = settings.intake_bytes / WHOLE_PART;
        Self {
            whole: MemoryShare::new(whole),
            pieces: MemoryShare::new(settings.intake_bytes - whole),
            decode: decode.clone(),
            waiting: Arc::default(),
            clock: Arc::clone(&parts.env.clock),
            timeout: settings.intake_timeout,
            stall_timeout: settings.stall_timeout,
            message_bytes_max: settings.request_bytes_max as u64,
            metrics: parts.metrics.clone(),
        }
    }

    /// The body, read only as the share allows, and where its memory is held.
    pub(crate) fn meter<B>(&self, body: B, call: &Arc<OpenCall>) -> (MeteredBody<B>, Received) {
        let received = Received::of_none(&self.decode);
        let body = MeteredBody {
            intake: self.clone(),
            body,
            call: Arc::clone(call),
            received: received.clone(),
            framing: Framing::default(),
            behind: Bytes::new(),
            waiting: None,
            piecemeal: None,
        };
        (body, received)
    }

    /// Waits for memory for a message that comes piece by piece. A connection has one such message at a
    /// time, so that no one takes the share for itself.
    fn turn(&self, call: &OpenCall, length: u64) -> BoxFuture<'static, Turn> {
        let one = Arc::clone(&call.peer.receiving);
        let share = self.pieces.clone();
        let waiting = Waiting::new(&self.waiting);
        async move {
            let one = one.acquire_owned().await.ok();
            let hold = share.hold(length).await;
            drop(waiting);
            Turn { hold, one }
        }
        .boxed()
    }

    /// Waits for memory for messages that are there.
    fn whole(&self, length: u64) -> BoxFuture<'static, Turn> {
        let share = self.whole.clone();
        async move {
            let hold = share.hold(length).await;
            Turn { hold, one: None }
        }
        .boxed()
    }
}

/// Memory for what begins in a frame.
struct Turn {
    hold: MemoryHold,
    one: Option<OwnedSemaphorePermit>,
}

/// Where in the sequence of messages a body is.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// What is still to come of the message that has begun.
    left: u64,
    /// Its whole length.
    length: u64,
}

/// What a frame brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Brings {
    /// Messages that begin in it.
    begun: usize,
    /// Their lengths together.
    bytes: u64,
    /// The longest of them.
    longest: u64,
    /// Messages that end in it.
    ended: usize,
}

impl Framing {
    /// Passes over bytes.
    fn pass(&mut self, mut bytes: &[u8]) -> Brings {
        let mut brings = Brings::default();
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.left -= taken as u64;
                bytes = &bytes[taken..];
                brings.ended += usize::from(self.left == 0);
                continue;
            }
            let missing = (PREFIX_BYTES - self.prefix_len).min(bytes.len());
            let (taken, rest) = bytes.split_at(missing);
            self.prefix[self.prefix_len..self.prefix_len + missing].copy_from_slice(taken);
            self.prefix_len += missing;
            bytes = rest;
            if self.prefix_len == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.length = u64::from(u32::from_be_bytes(length));
                self.left = self.length;
                self.prefix_len = 0;
                brings.begun += 1;
                brings.bytes += self.length + PREFIX_BYTES as u64;
                brings.longest = brings.longest.max(self.length);
                brings.ended += usize::from(self.length == 0);
            }
        }
        brings
    }
}

/// A message that comes piece by piece.
struct Piecemeal {
    began: MonoTime,
    moved: MonoTime,
    /// When to look whether it gets on.
    look: BoxFuture<'static, ()>,
    _one: Option<OwnedSemaphorePermit>,
}

/// A request's body whose messages wait for their turn.
pub(crate) struct MeteredBody<B> {
    intake: Intake,
    body: B,
    call: Arc<OpenCall>,
    received: Received,
    framing: Framing,
    /// What stood in a frame behind the end of a message that came piece by piece.
    behind: Bytes,
    /// A frame that waits with the messages that begin in it, and how many these are.
    waiting: Option<(Bytes, usize, BoxFuture<'static, Turn>)>,
    /// The message that is coming in.
    piecemeal: Option<Piecemeal>,
}

impl<B> MeteredBody<B> {
    /// Waits for the share with the frame in which messages begin.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((_, messages, turn)) = &mut self.waiting else {
            return Poll::Ready(None);
        };
        let turn = ready!(turn.poll_unpin(context));
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
        Poll::Ready(self.waiting.take().map(|(frame, ..)| frame))
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
            if let Some(frame) = ready!(this.poll_turn(context)) {
                return Poll::Ready(Some(Ok(Frame::data(frame))));
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
