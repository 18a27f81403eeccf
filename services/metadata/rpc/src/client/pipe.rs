//! The commit pipe: one stream to one process, on which calls keep their order.
//!
//! A call hands its messages over before it returns, so that the order of calls is that of the stream. When
//! the stream breaks, whatever was put on it is answered as unknown and whatever was not as unavailable;
//! nothing is ever sent twice from here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _};
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_env::CancellationToken;
use tidelog_metadata_api::{CommitAnswer, CommitError, ShardCommit};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::peer::Peer;
use crate::rpc::Rpc;
use crate::settings::{COMMIT_BYTES_TARGET, COMMIT_ITEMS_TARGET, COMMITS_MAX, MESSAGE_BYTES_MAX};
use crate::wire::{commit_to, results_from};

/// Messages that wait for the transport to take them.
const OUTGOING_MAX: usize = 8;

type Answers = Vec<Result<CommitAnswer, CommitError>>;

/// A message on its way.
#[derive(Debug)]
struct Sending {
    commits: Vec<v1::ShardCommit>,
    answer: Awaiting,
}

/// Who awaits the answer to a message.
#[derive(Debug)]
struct Awaiting {
    /// Batches of each manifest.
    batch_counts: Vec<usize>,
    answer: oneshot::Sender<Answers>,
    _room: Room,
}

impl Awaiting {
    fn fail(self, error: &CommitError) {
        let answers = self.batch_counts.iter().map(|_| Err(error.clone()));
        // Whoever asked may have gone.
        let _ = self.answer.send(answers.collect());
    }
}

/// What messages without an answer take of the memory that they have.
#[derive(Debug, Default)]
struct Use {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// The place of one message; given back when it is dropped.
#[derive(Debug)]
struct Room {
    of: Arc<Use>,
    peer: Peer,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.messages.fetch_sub(1, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.peer.metrics.commits_in_flight.dec();
    }
}

/// The handle on a pipe.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    peer: Peer,
    in_use: Arc<Use>,
    /// Unbounded, but each message in it holds room.
    mailbox: mpsc::UnboundedSender<Sending>,
}

impl Pipe {
    /// Starts the pipe, which connects with the first call and ends with `stop` or its last handle.
    pub(super) fn start(peer: Peer, stop: CancellationToken) -> Self {
        let (mailbox, receiver) = mpsc::unbounded_channel();
        let worker = Worker {
            peer: peer.clone(),
            mailbox: receiver,
            next_id: 0,
        };
        let supervisor = peer.env.supervisor.clone();
        drop(supervisor.spawn("commit pipe", async move {
            stop.run_until_cancelled(worker.run()).await;
        }));
        Self {
            peer,
            in_use: Arc::default(),
            mailbox,
        }
    }

    /// Sends commits; they have their places when this returns.
    pub(super) fn commit(&self, commits: &[ShardCommit]) -> BoxFuture<'static, Answers> {
        let mut answers = Vec::new();
        let mut message = Message::default();
        for commit in commits {
            let proto = commit_to(commit);
            let bytes = proto.encoded_len();
            let size = Size {
                bytes,
                items: commit.conditions.len()
                    + commit.orders.len()
                    + commit.dropped.len()
                    + commit.after.len(),
            };
            if !message.has_room(size) {
                answers.push(self.send(std::mem::take(&mut message)));
            }
            message.push(proto, size, commit.manifest.batch_count());
        }
        answers.push(self.send(message));
        async move { join_all(answers).await.concat() }.boxed()
    }

    fn send(&self, message: Message) -> BoxFuture<'static, Answers> {
        let count = message.commits.len();
        let fail = |error: CommitError| {
            let answers = (0..count).map(|_| Err(error.clone())).collect();
            futures::future::ready(answers).boxed()
        };
        if count == 0 {
            return futures::future::ready(Vec::new()).boxed();
        }
        if message.size.bytes > MESSAGE_BYTES_MAX - 1024 {
            let reason = "it is larger than a message between processes may be".to_owned();
            return fail(CommitError::Malformed { reason });
        }
        let Some(room) = self.room(message.size.bytes) else {
            let address = self.peer.address();
            let reason = format!("`{address}` has too many commits to answer");
            return fail(CommitError::Unavailable { reason });
        };
        let (sender, receiver) = oneshot::channel();
        let sending = Sending {
            commits: message.commits,
            answer: Awaiting {
                batch_counts: message.batch_counts,
                answer: sender,
                _room: room,
            },
        };
        if self.mailbox.send(sending).is_err() {
            let reason = "this process is going away".to_owned();
            return fail(CommitError::Unavailable { reason });
        }
        let unknown = move || (0..count).map(|_| Err(CommitError::Unknown)).collect();
        receiver
            .map(move |answers| answers.unwrap_or_else(|_| unknown()))
            .boxed()
    }

    fn room(&self, bytes: usize) -> Option<Room> {
        let settings = &self.peer.settings;
        let messages = self.in_use.messages.fetch_add(1, Ordering::Relaxed);
        let before = self.in_use.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.peer.metrics.commits_in_flight.inc();
        let room = Room {
            of: Arc::clone(&self.in_use),
            peer: self.peer.clone(),
            bytes,
        };
        let fits = messages < settings.commits_open_max && before < settings.commit_bytes_open_max;
        fits.then_some(room)
    }
}

/// What of a message is limited.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    bytes: usize,
    items: usize,
}

/// A message that is being put together.
#[derive(Debug, Default)]
struct Message {
    commits: Vec<v1::ShardCommit>,
    batch_counts: Vec<usize>,
    size: Size,
}

impl Message {
    fn has_room(&self, size: Size) -> bool {
        self.commits.is_empty()
            || (self.commits.len() < COMMITS_MAX
                && self.size.bytes + size.bytes <= COMMIT_BYTES_TARGET
                && self.size.items + size.items <= COMMIT_ITEMS_TARGET)
    }

    fn push(&mut self, commit: v1::ShardCommit, size: Size, batch_count: usize) {
        self.commits.push(commit);
        self.batch_counts.push(batch_count);
        self.size.bytes += size.bytes;
        self.size.items += size.items;
    }
}

/// Carries the messages of one pipe.
struct Worker {
    peer: Peer,
    mailbox: mpsc::UnboundedReceiver<Sending>,
    next_id: u64,
}

/// An open stream.
struct Open {
    outgoing: mpsc::Sender<v1::CommitRequest>,
    incoming: Streaming<v1::CommitResponse>,
}

impl Worker {
    async fn run(mut self) {
        while let Some(first) = self.mailbox.recv().await {
            match self.open().await {
                Ok(open) => self.carry(open, first).await,
                Err(error) => {
                    let reason = format!("`{}`: {error}", self.peer.address());
                    let error = CommitError::Unavailable { reason };
                    first.answer.fail(&error);
                    self.fail_waiting(&error);
                }
            }
        }
    }

    async fn open(&self) -> Result<Open, String> {
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let within = self.peer.settings.connect_timeout + self.peer.settings.silence;
        let mut client = self.peer.sequencer();
        let opening = client.commit(ReceiverStream::new(receiver));
        let incoming = self.peer.open(Rpc::Commit, within, opening).await;
        let incoming = incoming.map_err(|error| error.into_log().to_string())?;
        Ok(Open { outgoing, incoming })
    }

    /// Carries messages until the stream breaks or nobody sends any more. Then nothing is left unanswered.
    async fn carry(&mut self, open: Open, first: Sending) {
        let Open {
            outgoing,
            mut incoming,
        } = open;
        let mut waiting = HashMap::new();
        let mut next = Some(first);
        let mut is_asked = true;
        while is_asked || !waiting.is_empty() {
            tokio::select! {
                biased;
                response = incoming.next() => match response {
                    Some(Ok(response)) => answer(&mut waiting, response),
                    Some(Err(status)) => {
                        tracing::debug!(address = self.peer.address(), %status, "commits broke");
                        break;
                    }
                    None => break,
                },
                room = outgoing.reserve(), if next.is_some() => {
                    let (Ok(room), Some(sending)) = (room, next.take()) else { break };
                    let request_id = self.next_id;
                    self.next_id += 1;
                    waiting.insert(request_id, sending.answer);
                    room.send(v1::CommitRequest { request_id, commits: sending.commits });
                }
                sending = self.mailbox.recv(), if next.is_none() && is_asked => {
                    // Without handles there are no more, but those that are open want their answers.
                    is_asked = sending.is_some();
                    next = sending;
                }
            }
        }
        for awaiting in waiting.into_values() {
            awaiting.fail(&CommitError::Unknown);
        }
        let reason = format!("the connection to `{}` broke", self.peer.address());
        let error = CommitError::Unavailable { reason };
        if let Some(sending) = next {
            sending.answer.fail(&error);
        }
        // What was asked for after something that is open now would overtake it.
        self.fail_waiting(&error);
        self.peer.metrics.reconnect(Rpc::Commit);
    }

    /// Gives back whatever waits for the stream.
    fn fail_waiting(&mut self, error: &CommitError) {
        while let Ok(sending) = self.mailbox.try_recv() {
            sending.answer.fail(error);
        }
    }
}

/// Hands an answer to whoever awaits it.
fn answer(waiting: &mut HashMap<u64, Awaiting>, response: v1::CommitResponse) {
    // An answer to something that was not asked is a bug of the peer that harms nobody.
    if let Some(awaiting) = waiting.remove(&response.request_id) {
        let answers = results_from(response.results, &awaiting.batch_counts);
        let _ = awaiting.answer.send(answers);
    }
}
