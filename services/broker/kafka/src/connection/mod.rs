//! A connection, from its first byte to its last: one task.
//!
//! ```text
//!   socket -> frame -> pending -> taking -> in flight -> outbox -> socket
//!             (one)    (one)     (produce)  (in order)  (in order)
//! ```
//!
//! Answers go out in the order of requests. Requests to produce that follow each other overlap: the next is
//! taken in while those before it are being stored. Anything else waits for all before it.

mod read;
mod write;

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use tidelog_broker_engine::{Claim, FairHold, HolderId, MemoryHold};
use tidelog_kafka_codec::{ApiKey, Incoming, RequestFrame, Rope, response_frame};
use tidelog_metadata_api::OrderKey;
use tidelog_runtime::access::Caller;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::apis::{served, unknown_version};
use crate::brokers::client_zone;
use crate::call::{Answered, Call};
use crate::dispatch;
use crate::fetch::{self, Current};
use crate::front::Front;
use crate::metrics::Closed;
use crate::produce;
use read::{Frame, FrameReader, ReadError};

/// Longest client id that is taken note of.
const CLIENT_ID_MAX: usize = 128;

/// What a request has come to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answered: Answered,
    /// Memory of the answer, until it is sent.
    pub(crate) holds: Vec<Hold>,
    pub(crate) throttle: Duration,
    /// The request failed, wants no answer, and the end of the connection is how the client learns of it.
    pub(crate) fails_silently: bool,
}

/// Memory that is given back by dropping it.
#[derive(Debug)]
pub(crate) enum Hold {
    Answer(#[expect(dead_code, reason = "held, not read")] FairHold),
    Copies(#[expect(dead_code, reason = "held, not read")] MemoryHold),
}

/// An answer on its way.
struct Outgoing {
    rope: Rope,
    holds: Vec<Hold>,
}

type Reading = BoxFuture<'static, (FrameReader, Result<Frame, ReadError>)>;
type Writing = BoxFuture<'static, Result<OwnedWriteHalf, Closed>>;
type InFlight = BoxFuture<'static, Outcome>;

/// The state of a connection.
pub(crate) struct Connection {
    front: Arc<Front>,
    peer: SocketAddr,
    holder: HolderId,
    /// Batches without a producer id behind a failed one fail as well, until the client was told: from then
    /// on they have another key.
    order: Arc<Mutex<OrderKey>>,
    session: Current,
    reader: Option<FrameReader>,
    reading: Option<Reading>,
    /// A request that is read and not begun.
    next: Option<(RequestFrame, Option<Arc<Claim>>)>,
    /// A request to produce whose batches are being handed over.
    taking: Option<BoxFuture<'static, InFlight>>,
    in_flight: FuturesOrdered<InFlight>,
    /// Whether what is in flight is alone there.
    is_alone: bool,
    outbox: VecDeque<Outgoing>,
    writer: Option<OwnedWriteHalf>,
    writing: Option<Writing>,
    /// Ends when the client may be heard again.
    muted: Option<BoxFuture<'static, ()>>,
    /// Nothing more is read.
    is_ending: Option<Closed>,
}

/// Waits for what may not be there.
async fn of<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

impl Connection {
    pub(crate) fn new(front: &Arc<Front>, stream: TcpStream, peer: SocketAddr) -> Self {
        let (half, writer) = stream.into_split();
        let holder = front.new_holder();
        Self {
            holder,
            order: Arc::new(Mutex::new(front.new_order())),
            session: Current::default(),
            reader: Some(FrameReader::new(front, half)),
            front: Arc::clone(front),
            peer,
            reading: None,
            next: None,
            taking: None,
            in_flight: FuturesOrdered::new(),
            is_alone: false,
            outbox: VecDeque::new(),
            writer: Some(writer),
            writing: None,
            muted: None,
            is_ending: None,
        }
    }

    /// Serves until the client goes, breaks the protocol, or the server stops.
    pub(crate) async fn run(mut self) {
        let why = loop {
            self.begin();
            if let Some(why) = self.is_ending
                && self.is_at_rest()
            {
                break why;
            }
            if let Err(why) = self.step().await {
                break why;
            }
        };
        tracing::debug!(peer = %self.peer, why = why.as_str(), "kafka connection ended");
        self.front.parts.metrics.closed(why);
    }

    fn is_at_rest(&self) -> bool {
        self.next.is_none()
            && self.taking.is_none()
            && self.in_flight.is_empty()
            && self.outbox.is_empty()
            && self.writing.is_none()
    }

    /// Begins whatever can be begun.
    fn begin(&mut self) {
        self.begin_next();
        if self.writing.is_none()
            && let Some(writer) = self.writer.take_if(|_| !self.outbox.is_empty())
            && let Some(Outgoing { rope, holds }) = self.outbox.pop_front()
        {
            let front = Arc::clone(&self.front);
            self.writing = Some(write::write(front, writer, rope, holds).boxed());
        }
        let has_room = self.in_flight.len() + self.outbox.len()
            < self.front.parts.settings.in_flight_max.max(1);
        let may_read = self.next.is_none() && self.is_ending.is_none() && self.muted.is_none();
        if has_room
            && may_read
            && let Some(mut reader) = self.reader.take()
        {
            let reading = async move {
                let frame = reader.next().await;
                (reader, frame)
            };
            self.reading = Some(reading.boxed());
        }
    }

    /// Begins the request that was read, if it is its turn.
    fn begin_next(&mut self) {
        let produces = |frame: &RequestFrame| frame.key == ApiKey::Produce;
        let is_turn = match &self.next {
            None => false,
            Some(_) if self.muted.is_some() => false,
            Some((frame, _)) if produces(frame) => self.taking.is_none() && !self.is_alone,
            Some(_) => self.taking.is_none() && self.in_flight.is_empty(),
        };
        if !is_turn {
            return;
        }
        let Some((frame, hold)) = self.next.take() else {
            return;
        };
        let call = self.call(&frame);
        if produces(&frame) {
            let order = Arc::clone(&self.order);
            self.taking = Some(produce::take(call, frame, hold, order).boxed());
        } else {
            self.is_alone = true;
            let session = Arc::clone(&self.session);
            let answer = alone(call, frame, hold, session);
            self.in_flight.push_back(answer.boxed());
        }
    }

    fn call(&self, frame: &RequestFrame) -> Call {
        let client_id = frame.caller.client_id.as_deref().unwrap_or_default();
        let client_id: String = client_id.chars().take(CLIENT_ID_MAX).collect();
        Call {
            front: Arc::clone(&self.front),
            caller: Caller {
                zone: client_zone(&client_id).unwrap_or_default().to_owned(),
                client_id,
                ..Caller::anonymous()
            },
            peer: self.peer,
            holder: self.holder,
            key: frame.key,
            version: frame.version,
            correlation_id: frame.caller.correlation_id,
            throttle: Duration::ZERO,
        }
    }

    /// Waits for the next thing to happen.
    async fn step(&mut self) -> Result<(), Closed> {
        let clock = &self.front.parts.env.clock;
        let is_quiet = self.is_at_rest();
        let idle = is_quiet.then(|| clock.sleep(self.front.parts.settings.idle_timeout));
        let mut idle = idle;
        let stop = self.front.stop.clone();
        tokio::select! {
            biased;
            written = of(&mut self.writing) => {
                self.writing = None;
                self.writer = Some(written?);
            }
            Some(outcome) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                self.on_outcome(outcome)?;
            }
            open = of(&mut self.taking) => {
                self.taking = None;
                self.in_flight.push_back(open);
            }
            (reader, frame) = of(&mut self.reading) => {
                self.reading = None;
                self.on_frame(reader, frame)?;
            }
            () = of(&mut self.muted) => self.muted = None,
            () = stop.cancelled(), if self.is_ending.is_none() => self.end(Closed::Stopped),
            () = of(&mut idle) => return Err(Closed::Idle),
        }
        Ok(())
    }

    /// Reads nothing more; what was taken is still answered.
    fn end(&mut self, why: Closed) {
        self.is_ending = Some(why);
        self.reading = None;
        self.reader = None;
    }

    fn on_outcome(&mut self, outcome: Outcome) -> Result<(), Closed> {
        self.is_alone = false;
        match outcome.answered {
            Answered::With(rope) => {
                let holds = outcome.holds;
                self.outbox.push_back(Outgoing { rope, holds });
            }
            Answered::Silently if outcome.fails_silently => return Err(Closed::Unanswered),
            Answered::Silently => {}
            Answered::Broken(reason) => {
                tracing::debug!(peer = %self.peer, reason, "kafka request cannot be answered");
                return Err(Closed::Refused);
            }
        }
        if !outcome.throttle.is_zero() {
            let clock = &self.front.parts.env.clock;
            self.muted = Some(clock.sleep(outcome.throttle));
        }
        Ok(())
    }

    fn on_frame(
        &mut self,
        reader: FrameReader,
        frame: Result<Frame, ReadError>,
    ) -> Result<(), Closed> {
        let Frame { bytes, hold } = match frame {
            Ok(frame) => frame,
            // What waits for news waits for nobody any more. What produces goes on.
            Err(ReadError::Ended) if self.is_alone => return Err(Closed::Ended),
            Err(ReadError::Ended) => {
                self.end(Closed::Ended);
                return Ok(());
            }
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "kafka request was not read");
                return Err(error.why());
            }
        };
        self.front.parts.metrics.bytes_in.inc_by(bytes.len() as u64);
        self.reader = Some(reader);
        match Incoming::read(bytes) {
            Ok(Incoming::Request(frame))
                if served(frame.key).is_some_and(|all| all.contains(frame.version)) =>
            {
                self.next = Some((frame, hold));
                Ok(())
            }
            Ok(other) => self.on_unserved(other),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "kafka request has no header");
                Err(Closed::Refused)
            }
        }
    }

    /// Answers a client that asks for our versions in one that we do not know; ends it with any other.
    fn on_unserved(&mut self, request: Incoming) -> Result<(), Closed> {
        let (api, version, caller) = match request {
            Incoming::UnsupportedVersion {
                key: ApiKey::ApiVersions,
                caller,
                ..
            } => {
                let answer = response_frame(&unknown_version(), 0, caller.correlation_id);
                let rope = answer.map_err(|_| Closed::Refused)?;
                let outcome = Outcome {
                    answered: Answered::With(rope),
                    holds: Vec::new(),
                    throttle: Duration::ZERO,
                    fails_silently: false,
                };
                self.in_flight
                    .push_back(futures::future::ready(outcome).boxed());
                return Ok(());
            }
            Incoming::Request(frame) => (frame.key.code(), frame.version, frame.caller),
            Incoming::UnsupportedVersion {
                key,
                version,
                caller,
            } => (key.code(), version, caller),
            Incoming::UnknownApi {
                code,
                version,
                caller,
            } => (code, version, caller),
        };
        let client = caller.client_id.as_deref().unwrap_or_default();
        tracing::debug!(peer = %self.peer, client, api, version, "kafka request is not served");
        Err(Closed::Refused)
    }
}

/// Answers a request that has the connection for itself.
async fn alone(
    call: Call,
    frame: RequestFrame,
    hold: Option<Arc<Claim>>,
    session: Current,
) -> Outcome {
    let front = Arc::clone(&call.front);
    let (key, holder) = (call.key, call.holder);
    let began = front.parts.env.clock.now();
    let outcome = if key == ApiKey::Fetch {
        let outcome = Box::pin(fetch::answer(call, frame, session)).await;
        drop(hold);
        outcome
    } else {
        // What waits for others keeps nothing of its request in memory.
        let hold = hold.filter(|_| !matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup));
        let (answered, throttle) = Box::pin(dispatch::answer(call, frame)).await;
        let mut turn = front.answers.nothing(holder);
        if let Answered::With(rope) = &answered {
            turn.add(rope.len() as u64);
        }
        drop(hold);
        Outcome {
            answered,
            holds: vec![Hold::Answer(turn)],
            throttle,
            fails_silently: false,
        }
    };
    let took = front.parts.env.clock.now() - began;
    front.parts.metrics.request(key, took);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<I, F: Future>(_: impl FnOnce(I) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_at_rest_takes_little_memory() {
        let reading = size_of_future(|mut reader: FrameReader| async move {
            let frame = reader.next().await;
            (reader, frame)
        });
        let running = size_of_future(Connection::run);
        assert!(running + reading < 4096, "{running} and {reading} bytes");
    }
}
