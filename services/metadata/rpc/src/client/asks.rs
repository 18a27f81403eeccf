//! The pipe of requests to coordinators: one stream to one process, on which many wait together.
//!
//! Requests that wait for others, as those of members that join, may be open for minutes, and there may be thousands:
//! as calls of their own they would take the places of all others. When the stream breaks, nothing is known of what
//! was put on it; what was not may be asked for again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::ask_request::Request as Ask;
use tidelog_api::internal::v1::ask_response::Answer;
use tidelog_env::CancellationToken;
use tidelog_metadata_api::GroupsError;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::peer::Peer;
use crate::rpc::Rpc;
use crate::settings::{MESSAGE_BYTES_MAX, ask_limit};
use crate::wire::group_failure_from;

/// Messages that wait for the transport to take them.
const OUTGOING_MAX: usize = 8;

type Reply = oneshot::Sender<Result<Answer, GroupsError>>;

/// A request on its way.
#[derive(Debug)]
struct Sending {
    request: v1::AskRequest,
    reply: Reply,
    room: Room,
}

/// What requests without an answer take of what they may.
#[derive(Debug, Default)]
struct Use {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// The place of one request; given back when it is dropped.
#[derive(Debug)]
struct Room {
    of: Arc<Use>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.requests.fetch_sub(1, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The handle on a pipe.
#[derive(Clone, Debug)]
pub(super) struct Asks {
    peer: Peer,
    in_use: Arc<Use>,
    /// Unbounded, but each request in it holds room.
    mailbox: mpsc::UnboundedSender<Sending>,
}

fn unavailable(reason: String) -> GroupsError {
    GroupsError::Unavailable { reason }
}

impl Asks {
    /// Starts the pipe, which connects with the first request and ends with `stop` or its last handle.
    pub(super) fn start(peer: Peer, stop: CancellationToken) -> Self {
        let (mailbox, receiver) = mpsc::unbounded_channel();
        let worker = Worker {
            peer: peer.clone(),
            mailbox: receiver,
            next_id: 0,
        };
        let supervisor = peer.env.supervisor.clone();
        drop(supervisor.spawn("pipe to coordinators", async move {
            stop.run_until_cancelled(worker.run()).await;
        }));
        Self {
            peer,
            in_use: Arc::default(),
            mailbox,
        }
    }

    /// Asks, and waits as long as the coordinator does.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, GroupsError> {
        let request = v1::AskRequest {
            request_id: 0,
            request: Some(ask),
        };
        let bytes = request.encoded_len();
        if bytes > MESSAGE_BYTES_MAX - 1024 {
            let reason = "it is larger than a message between processes may be".to_owned();
            return Err(GroupsError::TooLarge { reason });
        }
        let address = self.peer.address();
        let room = self.room(&request, bytes);
        let room = room
            .ok_or_else(|| unavailable(format!("`{address}` has too many requests to answer")))?;
        let (reply, answer) = oneshot::channel();
        let sending = Sending {
            request,
            reply,
            room,
        };
        if self.mailbox.send(sending).is_err() {
            return Err(unavailable("this process is going away".to_owned()));
        }
        answer.await.unwrap_or(Err(GroupsError::Unknown))
    }

    fn room(&self, request: &v1::AskRequest, bytes: usize) -> Option<Room> {
        let settings = &self.peer.settings;
        let ask = request.request.as_ref();
        let requests = self.in_use.requests.fetch_add(1, Ordering::Relaxed);
        let before = self.in_use.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room {
            of: Arc::clone(&self.in_use),
            bytes,
        };
        let fits = requests < ask_limit(settings.asks_open_max, ask)
            && before < ask_limit(settings.ask_bytes_open_max, ask);
        fits.then_some(room)
    }
}

/// Carries the requests of one pipe.
struct Worker {
    peer: Peer,
    mailbox: mpsc::UnboundedReceiver<Sending>,
    next_id: u64,
}

/// An open stream.
struct Open {
    outgoing: mpsc::Sender<v1::AskRequest>,
    incoming: Streaming<v1::AskResponse>,
}

impl Worker {
    async fn run(mut self) {
        while let Some(first) = self.mailbox.recv().await {
            match self.open().await {
                Ok(open) => self.carry(open, first).await,
                Err(reason) => {
                    let error = unavailable(format!("`{}`: {reason}", self.peer.address()));
                    // Whoever asked may have gone, here and below.
                    let _ = first.reply.send(Err(error.clone()));
                    self.fail_waiting(&error);
                }
            }
        }
    }

    async fn open(&self) -> Result<Open, String> {
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let within = self.peer.settings.connect_timeout + self.peer.settings.silence;
        let mut client = self.peer.groups();
        let opening = client.ask(ReceiverStream::new(receiver));
        let incoming = self.peer.open(Rpc::Ask, within, opening).await;
        let incoming = incoming.map_err(|error| error.into_log().to_string())?;
        Ok(Open { outgoing, incoming })
    }

    /// Carries requests until the stream breaks or nobody sends any more. Then nothing is left unanswered.
    async fn carry(&mut self, open: Open, first: Sending) {
        let Open {
            outgoing,
            mut incoming,
        } = open;
        let mut waiting: HashMap<u64, (Reply, Room)> = HashMap::new();
        let mut next = Some(first);
        let mut is_asked = true;
        while is_asked || !waiting.is_empty() {
            tokio::select! {
                biased;
                response = incoming.next() => match response {
                    Some(Ok(response)) => answer(&mut waiting, response),
                    Some(Err(status)) => {
                        tracing::debug!(address = self.peer.address(), %status, "requests broke");
                        break;
                    }
                    None => break,
                },
                room = outgoing.reserve(), if next.is_some() => {
                    let (Ok(room), Some(sending)) = (room, next.take()) else { break };
                    let Sending { mut request, reply, room: held } = sending;
                    request.request_id = self.next_id;
                    self.next_id += 1;
                    waiting.insert(request.request_id, (reply, held));
                    room.send(request);
                }
                sending = self.mailbox.recv(), if next.is_none() && is_asked => {
                    // Without handles there are no more, but those that are open want their answers.
                    is_asked = sending.is_some();
                    next = sending;
                }
            }
        }
        for (reply, _) in waiting.into_values() {
            let _ = reply.send(Err(GroupsError::Unknown));
        }
        let error = unavailable(format!("the connection to `{}` broke", self.peer.address()));
        if let Some(sending) = next {
            let _ = sending.reply.send(Err(error.clone()));
        }
        self.fail_waiting(&error);
        self.peer.metrics.reconnect(Rpc::Ask);
    }

    /// Gives back whatever waits for the stream.
    fn fail_waiting(&mut self, error: &GroupsError) {
        while let Ok(sending) = self.mailbox.try_recv() {
            let _ = sending.reply.send(Err(error.clone()));
        }
    }
}

/// Hands an answer to whoever awaits it.
fn answer(waiting: &mut HashMap<u64, (Reply, Room)>, response: v1::AskResponse) {
    // An answer to something that was not asked is a bug of the peer that harms nobody.
    if let Some((reply, _)) = waiting.remove(&response.request_id) {
        let _ = reply.send(match response.answer {
            Some(Answer::Failure(failure)) => Err(group_failure_from(failure)),
            Some(answer) => Ok(answer),
            None => Err(GroupsError::Unknown),
        });
    }
}
