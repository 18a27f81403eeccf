//! Bounds the memory of messages that are being received, over all connections.
//!
//! The transport gathers a message before it hands it over, and any number of callers may send large ones at
//! once. So a message waits, with its first frame, until its whole length fits the share, and its memory is
//! held until its handler has it accounted for elsewhere. Where its length does not fit, it is gathered here,
//! in memory that it claims as it comes (see `claims` in the engine): what a client has promised and not sent
//! keeps nobody out. Messages that come in one frame have a part of the share for themselves: they never wait
//! for those that come slowly. Who sends slowly is refused: after a time limit, and much sooner while others
//! wait, each by the time of its own last bytes, so that all who stand still go together.

mod body;
mod framing;
mod lane;
mod received;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tidelog_api::ApiError;
use tidelog_broker_engine::{Claim, ClaimShare, Gathered, MemoryHold, MemoryShare};
use tidelog_env::Clock;
use tidelog_types::ErrorCode;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use self::body::MeteredBody;
use self::framing::Framing;
use self::lane::Place;
use super::connections::OpenCall;
use crate::decode::Decode;
use crate::front::GrpcParts;
use crate::metrics::{GivenUp, GrpcMetrics};

pub(crate) use lane::Lane;
pub(crate) use received::Received;

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
    pieces: ClaimShare,
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

impl Intake {
    pub(crate) fn new(parts: &GrpcParts, decode: &Decode) -> Self {
        let settings = &parts.settings;
        let whole = settings.intake_bytes / WHOLE_PART;
        Self {
            whole: MemoryShare::new(whole),
            pieces: ClaimShare::new(settings.intake_bytes - whole),
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
            ready: VecDeque::new(),
            waiting: None,
            piecemeal: None,
        };
        (body, received)
    }

    /// Waits for memory for a message that comes piece by piece, of which so many bytes are there: for all of it
    /// where nobody waits, otherwise for what is there. A connection has one such message at a time, so that no
    /// one takes the share for itself; of several that wait while nothing comes any more the newest is refused.
    fn turn(&self, call: &OpenCall, length: u64, there: usize) -> BoxFuture<'static, Granted> {
        let place = Arc::new(call.peer.lane.enter());
        let share = self.pieces.clone();
        let waiting = Waiting::new(&self.waiting);
        let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
        // Before the message that is coming in is given up because of those that wait.
        let still = self.stall_timeout / 2;
        async move {
            let granted = async {
                let one = place.alone().await;
                let claim = share.claim(length);
                if claim.try_whole() {
                    return Turn::All(Arc::new(claim), one);
                }
                let gathered = Gathered::new(claim);
                gathered.room(there).await;
                place.goes_on();
                let place = Arc::clone(&place);
                Turn::Part(Gathering { gathered, place }, one)
            };
            let turn = tokio::select! {
                biased;
                turn = granted => Ok(turn),
                () = place.in_the_way(clock.as_ref(), still) => {
                    metrics.given_up(GivenUp::InTheWay);
                    Err(in_the_way())
                }
            };
            drop(waiting);
            turn
        }
        .boxed()
    }

    /// Waits for memory for messages that are there.
    fn whole(&self, length: u64) -> BoxFuture<'static, Granted> {
        let share = self.whole.clone();
        async move { Ok(Turn::Whole(share.hold(length).await)) }.boxed()
    }

    /// Waits for memory for more of a message. What is there of it fills the window of its connection.
    fn room(&self, gathering: &Gathering, more: usize) -> BoxFuture<'static, ()> {
        let waiting = Waiting::new(&self.waiting);
        let room = gathering.gathered.room(more);
        let place = Arc::clone(&gathering.place);
        place.waits_again();
        async move {
            room.await;
            place.goes_on();
            drop(waiting);
        }
        .boxed()
    }
}

fn in_the_way() -> Status {
    let message = "memory is short, and large messages that wait for it fill the window of this \
                   connection; send fewer of them at the same time, or on several connections";
    ApiError::new(ErrorCode::ResourceExhausted, message)
        .with_retry_after(RETRY_AFTER)
        .to_status()
}

/// Memory for what begins in a frame. With that for a message in pieces comes the leave to be the only such one
/// of its connection.
enum Turn {
    /// For messages that are there.
    Whole(MemoryHold),
    /// For all of a message that comes piece by piece.
    All(Arc<Claim>, Option<OwnedSemaphorePermit>),
    /// For what is there of one.
    Part(Gathering, Option<OwnedSemaphorePermit>),
}

/// What has come of a message for which there is not all the memory, and its place among those of its connection
/// that wait.
struct Gathering {
    gathered: Gathered,
    place: Arc<Place>,
}

/// Memory, or why there is none.
type Granted = Result<Turn, Status>;
