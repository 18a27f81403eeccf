//! One stream of a member: what it does next, and what comes of it.

mod begin;
mod close;
mod outcomes;
mod requests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tidelog_api::{ApiError, v1};
use tidelog_env::MonoTime;
use tidelog_metadata_api::{ConsumerHeartbeatAnswer, GroupsError};
use tidelog_runtime::access::Caller;
use tidelog_types::TopicPartition;
use tokio_stream::StreamExt as _;
use tonic::Status;
use v1::subscribe_response::Event;

use super::Requests;
use super::commits::{Batch, Commits, Outcome};
use super::credit::Credit;
use super::holdings::Holdings;
use super::member::Member;
use super::reading::Read;
use super::starts::Start;
use super::wish::Wish;
use super::work::Work;
use crate::answer::DataAnswer;
use crate::front::Front;
use crate::rpc::Call;
use crate::tail::Reader;
use crate::token::TokenSet;
use crate::transport::{Outlet, Received};

/// How long to wait before what failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long clients may finish when the broker goes away.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// Answers that wait. Beyond it nothing more is read from the client.
const OUTBOX_MAX: usize = 8;

/// How a stream ends.
pub(super) enum End {
    /// The client has said all, and has heard all.
    Done,
    /// The client is gone.
    Gone,
    /// With an error.
    Error(ApiError),
    /// The stream is broken, or the client has sent what is no message: the transport says which.
    Broken(Status),
}

/// What happens next.
enum Happened {
    Gone,
    Late,
    Stop,
    Sent,
    Wanted,
    Tick,
    Beaten(Result<ConsumerHeartbeatAnswer, GroupsError>),
    Committed(Batch, Outcome),
    Started(Vec<(TopicPartition, Start)>),
    Charged(Result<(), ApiError>),
    Read(Read),
    Asked(Option<Result<v1::SubscribeRequest, Status>>),
}

/// The heartbeats of a member.
struct Pulse {
    /// When the next one is due.
    at: MonoTime,
    /// When the last one began.
    began: MonoTime,
    /// Whether there was news for the coordinator while it was being told the last.
    again: bool,
    /// Whether the coordinator is to say everything anew.
    asks_all: bool,
    /// Whether the member was one before, on another stream.
    comes_back: bool,
}

/// A stream of a member.
pub(super) struct Session {
    front: Front,
    caller: Caller,
    received: Received,
    outlet: Outlet,
    wish: Arc<Wish>,
    member: Member,
    holdings: Holdings,
    credit: Credit,
    /// What the next record takes, if it is more than the credit.
    stalled: Option<Credit>,
    commits: Commits,
    /// A commit that waits for the member's epoch.
    retry: Option<Batch>,
    outbox: VecDeque<DataAnswer>,
    tokens: TokenSet,
    /// Whether the client takes what it is sent.
    is_wanted: bool,
    /// Whether the client has ended its side.
    is_ended: bool,
    /// Whether the coordinator has said that the member is none.
    is_out: bool,
    /// Until when the client may finish, since the broker goes away.
    drains_until: Option<MonoTime>,
    pulse: Pulse,
    start_at: MonoTime,
    beating: Work<Result<ConsumerHeartbeatAnswer, GroupsError>>,
    committing: Work<(Batch, Outcome)>,
    starting: Work<Vec<(TopicPartition, Start)>>,
    charging: Work<Result<(), ApiError>>,
    reading: Work<Read>,
}

impl Session {
    pub(in crate::subscribe) fn new(
        call: &Call,
        wish: Wish,
        join: &v1::SubscribeJoin,
        tokens: TokenSet,
    ) -> Self {
        let front = call.front().clone();
        let comes_back = !join.member_id.is_empty();
        let id = if comes_back {
            join.member_id.clone()
        } else {
            new_id(front.parts.env.rng.bytes_16())
        };
        let now = front.now();
        Self {
            member: Member::new(&wish, call, id),
            caller: call.caller.clone(),
            received: call.received.clone(),
            outlet: call.outlet.clone(),
            wish: Arc::new(wish),
            holdings: Holdings::default(),
            credit: Credit::beginning(join.credit),
            stalled: None,
            commits: Commits::default(),
            retry: None,
            outbox: VecDeque::new(),
            tokens,
            is_wanted: false,
            is_ended: false,
            is_out: false,
            drains_until: None,
            pulse: Pulse {
                at: now,
                began: now,
                again: false,
                asks_all: true,
                comes_back,
            },
            start_at: now,
            beating: Work::default(),
            committing: Work::default(),
            starting: Work::default(),
            charging: Work::default(),
            reading: Work::default(),
            front,
        }
    }

    /// Serves the client until the stream ends.
    pub(in crate::subscribe) async fn serve(
        &mut self,
        call: &Call,
        requests: &mut Requests,
        reader: &Reader,
    ) -> End {
        loop {
            self.begin_work();
            let is_idle = self.commits.is_empty() && self.retry.is_none();
            if self.is_ended && is_idle && self.committing.is_free() && self.outbox.is_empty() {
                return End::Done;
            }
            let happened = self.next(call, requests, reader).await;
            if let Err(end) = self.take(happened, call) {
                return end;
            }
        }
    }

    /// Waits for the next thing to happen.
    async fn next(&mut self, call: &Call, requests: &mut Requests, reader: &Reader) -> Happened {
        let Reader { answers, wanted } = reader;
        let clock = Arc::clone(&self.front.parts.env.clock);
        let (wake, stop) = (self.wake(), self.front.stop.clone());
        let drains = self.drains_until.is_some();
        let waits = self.commits.is_full() || self.outbox.len() >= OUTBOX_MAX;
        tokio::select! {
            biased;
            () = answers.closed() => Happened::Gone,
            () = call.deadline_passed() => Happened::Late,
            () = stop.cancelled(), if !drains => Happened::Stop,
            room = answers.reserve(), if !self.outbox.is_empty() => match room {
                Ok(room) => {
                    if let Some(mut answer) = self.outbox.pop_front() {
                        answer.token = self.front.token(self.tokens.clone());
                        room.send(Ok(answer));
                    }
                    Happened::Sent
                }
                Err(_) => Happened::Gone,
            },
            answer = self.beating.done() => Happened::Beaten(answer),
            (batch, outcome) = self.committing.done() => Happened::Committed(batch, outcome),
            found = self.starting.done() => Happened::Started(found),
            charged = self.charging.done() => Happened::Charged(charged),
            () = clock.sleep_until(wake) => Happened::Tick,
            request = requests.next(), if !self.is_ended && !waits => Happened::Asked(request),
            () = wanted.notified(), if !self.is_wanted => Happened::Wanted,
            read = self.reading.done() => Happened::Read(read),
        }
    }

    /// Takes what has happened.
    fn take(&mut self, happened: Happened, call: &Call) -> Result<(), End> {
        match happened {
            Happened::Gone => return Err(End::Gone),
            Happened::Late => return Err(call.too_late().into()),
            Happened::Stop => self.drain(),
            Happened::Sent => self.is_wanted = false,
            Happened::Wanted => self.is_wanted = true,
            Happened::Tick => return self.on_tick(),
            Happened::Beaten(answer) => return self.on_beaten(answer),
            Happened::Committed(batch, outcome) => self.on_committed(batch, outcome),
            Happened::Started(found) => self.on_started(found),
            Happened::Charged(charged) => charged?,
            Happened::Read(read) => self.on_read(read),
            Happened::Asked(None) => self.is_ended = true,
            Happened::Asked(Some(request)) => {
                let request = request?;
                let asked = self.on_request(request);
                self.received.taken();
                asked?;
            }
        }
        Ok(())
    }

    /// When to look around, if nothing happens before.
    fn wake(&self) -> MonoTime {
        let beat = self.beating.is_free().then_some(self.pulse.at);
        let start = self.starting.is_free().then_some(self.start_at);
        let start = start.filter(|_| self.holdings.starts());
        let times = [
            beat,
            start,
            self.holdings.next_deadline(),
            self.drains_until,
        ];
        let times = times.into_iter().flatten();
        times.min().unwrap_or(self.pulse.at)
    }
}

/// An answer that only says what happened.
fn said(event: Event) -> DataAnswer {
    let message = v1::SubscribeResponse {
        event: Some(event),
        ..v1::SubscribeResponse::default()
    };
    DataAnswer {
        more: message.encode_to_vec().into(),
        ..DataAnswer::default()
    }
}

/// An id that no other member has.
fn new_id(bytes: [u8; 16]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(32), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        })
}
