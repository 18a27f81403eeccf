//! Bounds the memory of messages that are being received, over all connections.
//!
//! The transport gathers a message before it hands it over, and any number of callers may send large ones at
//! once. So a message that does not come in one frame waits, with its first frame, until its whole length
//! fits the share. It asks for everything at once and while it has nothing, so that no two wait for each
//! other, and has a time limit, so that nobody keeps the share by sending slowly.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tidelog_api::ApiError;
use tidelog_broker_engine::{MemoryHold, MemoryShare};
use tidelog_env::Clock;
use tidelog_types::ErrorCode;
use tonic::Status;
use tonic::body::Body;

use crate::front::GrpcParts;

/// Bytes before each message: a flag and the length.
const PREFIX_BYTES: usize = 5;

/// The share. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    share: MemoryShare,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    message_bytes_max: u64,
}

impl Intake {
    pub(crate) fn new(parts: &GrpcParts) -> Self {
        Self {
            share: MemoryShare::new(parts.settings.intake_bytes),
            clock: Arc::clone(&parts.env.clock),
            timeout: parts.settings.intake_timeout,
            message_bytes_max: parts.settings.request_bytes_max as u64,
        }
    }

    /// The body, read only as the share allows.
    pub(crate) fn meter(&self, body: Body) -> MeteredBody {
        MeteredBody {
            intake: self.clone(),
            body,
            framing: Framing::default(),
            hold: None,
            waiting: None,
            too_late: None,
        }
    }
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

impl Framing {
    /// Passes over bytes; answers whether a message began in them that has not ended.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut begun = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.left -= taken as u64;
                bytes = &bytes[taken..];
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
                begun = true;
            }
        }
        begun && self.left > 0
    }
}

/// A request's body whose large messages wait for their turn.
pub(crate) struct MeteredBody {
    intake: Intake,
    body: Body,
    framing: Framing,
    /// For the message that is coming in.
    hold: Option<MemoryHold>,
    /// A frame that waits with the message that begins in it.
    waiting: Option<(Bytes, BoxFuture<'static, MemoryHold>)>,
    /// Ends when the message that is coming in has taken too long.
    too_late: Option<BoxFuture<'static, ()>>,
}

impl MeteredBody {
    /// Waits for the share with the frame in which a large message begins.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((_, turn)) = &mut self.waiting else {
            return Poll::Ready(None);
        };
        self.hold = Some(ready!(turn.poll_unpin(context)));
        let clock = &self.intake.clock;
        self.too_late = Some(clock.sleep(self.intake.timeout));
        Poll::Ready(self.waiting.take().map(|(frame, _)| frame))
    }

    fn is_too_late(&mut self, context: &mut Context<'_>) -> bool {
        self.too_late
            .as_mut()
            .is_some_and(|time| time.poll_unpin(context).is_ready())
    }

    /// Takes note of a frame; keeps it if it has to wait.
    fn pass(&mut self, frame: Bytes) -> Option<Bytes> {
        let begun = self.framing.pass(&frame);
        if begun || self.framing.left == 0 {
            // The message before has come in, and its bytes are the handler's to account for.
            self.hold = None;
            self.too_late = None;
        }
        // A message over the limit is refused by the transport, before it is gathered.
        if !begun || self.framing.length > self.intake.message_bytes_max {
            return Some(frame);
        }
        let share = self.intake.share.clone();
        let length = self.framing.length;
        self.waiting = Some((frame, async move { share.hold(length).await }.boxed()));
        None
    }
}

impl http_body::Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(frame) = ready!(this.poll_turn(context)) {
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending if this.is_too_late(context) => {
                    let message = "a message did not come in completely in time";
                    let error = ApiError::new(ErrorCode::DeadlineExceeded, message);
                    return Poll::Ready(Some(Err(error.to_status())));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(data) = this.pass(data) {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(end) => return Poll::Ready(end),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // No hint: what waits is part of the body as well.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use http_body::Body as _;
    use tidelog_env::ManualClock;

    use super::*;

    /// Frames of a test, then nothing more for ever.
    struct Frames(VecDeque<Bytes>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.pop_front().map_or(Poll::Pending, |data| {
                Poll::Ready(Some(Ok(Frame::data(data))))
            })
        }
    }

    fn intake(bytes: u64, clock: &ManualClock) -> Intake {
        Intake {
            share: MemoryShare::new(bytes),
            clock: Arc::new(clock.clone()),
            timeout: Duration::from_mins(1),
            message_bytes_max: 1 << 20,
        }
    }

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.resize(PREFIX_BYTES + length as usize, 7);
        bytes
    }

    fn body(intake: &Intake, frames: &[&[u8]]) -> MeteredBody {
        let frames = frames
            .iter()
            .map(|frame| Bytes::copy_from_slice(frame))
            .collect();
        intake.meter(Body::new(Frames(frames)))
    }

    /// The length of the next frame, or its error; `None` while it waits.
    fn poll(body: &mut MeteredBody) -> Option<Result<usize, ErrorCode>> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(frame))) => Some(Ok(frame.into_data().unwrap().len())),
            Poll::Ready(Some(Err(status))) => Some(Err(ApiError::from_status(&status).code)),
            Poll::Ready(None) => panic!("the body has no end"),
        }
    }

    #[test]
    fn a_large_message_waits_until_the_one_before_has_come_in() {
        let intake = intake(64 * 1024, &ManualClock::default());
        let large = message(50_000);
        let (head, tail) = large.split_at(1000);
        let mut first = body(&intake, &[head, tail, &message(1)]);
        let mut second = body(&intake, &[head, tail]);
        assert_eq!(poll(&mut first), Some(Ok(1000)));
        assert_eq!(poll(&mut second), None, "50,000 and 50,000 do not fit");
        assert_eq!(poll(&mut first), Some(Ok(tail.len())));
        assert_eq!(poll(&mut second), Some(Ok(1000)));
        assert_eq!(poll(&mut first), Some(Ok(6)), "small messages need no turn");
    }

    #[test]
    fn a_body_that_ends_early_gives_its_share_back() {
        let intake = intake(64 * 1024, &ManualClock::default());
        let large = message(60_000);
        let mut first = body(&intake, &[&large[..10]]);
        assert_eq!(poll(&mut first), Some(Ok(10)));
        assert!(intake.share.free_bytes() < 60_000);
        drop(first);
        assert_eq!(intake.share.free_bytes(), 64 * 1024);
    }

    #[test]
    fn who_sends_slowly_loses_the_share() {
        let clock = ManualClock::default();
        let intake = intake(64 * 1024, &clock);
        let mut slow = body(&intake, &[&message(60_000)[..10]]);
        assert_eq!(poll(&mut slow), Some(Ok(10)));
        assert_eq!(poll(&mut slow), None);
        clock.advance(Duration::from_mins(1));
        assert_eq!(poll(&mut slow), Some(Err(ErrorCode::DeadlineExceeded)));
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let sent = [message(0), message(3), message(300), message(5)].concat();
        for cut in 1..sent.len() {
            let mut framing = Framing::default();
            for frame in sent.chunks(cut) {
                framing.pass(frame);
            }
            assert_eq!(
                (framing.left, framing.prefix_len, framing.length),
                (0, 0, 5),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_message_over_the_limit_is_left_to_the_transport() {
        let intake = intake(64 * 1024, &ManualClock::default());
        let mut body = body(&intake, &[&message(2 << 20)[..100]]);
        assert_eq!(poll(&mut body), Some(Ok(100)));
        assert_eq!(intake.share.free_bytes(), 64 * 1024);
    }
}
