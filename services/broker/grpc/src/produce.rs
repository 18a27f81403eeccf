//! `Produce` and `ProduceStream`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, Stream, StreamExt as _};
use parking_lot::Mutex;
use tidelog_api::codec::within_budget;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{MemoryHold, MemoryShare};
use tidelog_metadata_api::OrderKey;
use tidelog_runtime::access::Caller;
use tidelog_types::ErrorCode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::entry::{OpenEntry, entry_bytes};
use crate::front::Front;
use crate::rpc::Call;
use crate::settings::PRODUCE_ENTRIES_MAX;
use crate::transport::Received;

/// Answers of a stream that wait for the client to read them. Beyond it the server stops reading.
const ANSWERS_WAITING_MAX: usize = 64;

pub(crate) type ProduceAnswers =
    Pin<Box<dyn Stream<Item = Result<v1::ProduceStreamResponse, Status>> + Send>>;

/// The answer to one message.
type Answer = BoxFuture<'static, v1::ProduceStreamResponse>;

fn check_count(entries: &[v1::ProduceEntry]) -> Result<(), ApiError> {
    if entries.len() > PRODUCE_ENTRIES_MAX {
        let message = format!("a message has at most {PRODUCE_ENTRIES_MAX} entries");
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

impl Front {
    pub(crate) async fn produce(
        &self,
        caller: &Caller,
        received: &Received,
        request: v1::ProduceRequest,
    ) -> Result<v1::ProduceResponse, ApiError> {
        check_count(&request.entries)?;
        if request.entries.is_empty() {
            return Err(ApiError::invalid("`entries` has at least one entry"));
        }
        let mut tokens = self.catch_up(&request.token).await?;
        let bytes = request.entries.iter().map(entry_bytes).sum();
        let hold = Arc::new(self.engine().reserve(bytes).await);
        let order = self.new_order();
        let unheard = Mutex::default();
        let taking = (order, &unheard, bytes);
        let open = self
            .take_entries(caller, request.entries, taking, hold)
            .await;
        // Its batches have their own memory now.
        received.taken();
        let mut results = Vec::with_capacity(open.len());
        for entry in open {
            results.push(entry.answered(&mut tokens).await.0);
        }
        Ok(v1::ProduceResponse {
            results,
            token: self.token(tokens),
        })
    }

    async fn take_entries(
        &self,
        caller: &Caller,
        entries: Vec<v1::ProduceEntry>,
        (order, unheard, bytes): (OrderKey, &Mutex<Unheard>, u64),
        hold: Arc<MemoryHold>,
    ) -> Vec<OpenEntry> {
        let mut open = Vec::with_capacity(entries.len());
        let mut keys = self.engine().key_check(bytes);
        for entry in entries {
            let before = unheard.lock().refusal(order, &entry.topic);
            if let Some(error) = before {
                open.push(OpenEntry::refused(&entry, error));
                continue;
            }
            let topic = entry.topic.clone();
            let taken = self
                .take_entry(caller, entry, order, &hold, &mut keys)
                .await;
            if let Some(error) = taken.passing_refusal() {
                unheard.lock().note(order, topic, error);
            }
            open.push(taken);
        }
        open
    }

    /// Takes a stream of entries.
    pub(crate) fn produce_stream(
        call: Call,
        requests: Streaming<v1::ProduceStreamRequest>,
    ) -> ProduceAnswers {
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let front = call.front().clone();
        let stream = ProduceStream {
            caller: call.caller.clone(),
            received: call.received.clone(),
            order: Arc::new(Mutex::new(front.new_order())),
            unheard: Arc::default(),
            in_flight: MemoryShare::new(front.parts.settings.stream_bytes_in_flight),
            front: front.clone(),
        };
        let gauge = front.parts.metrics.streams.clone();
        gauge.inc();
        drop(
            front
                .parts
                .env
                .supervisor
                .spawn("produce stream", async move {
                    let budget = Arc::new(stream.received.clone());
                    within_budget(budget, stream.run(call, requests, answers)).await;
                    gauge.dec();
                }),
        );
        Box::pin(ReceiverStream::new(receiver))
    }
}

/// One stream. Clones share it.
#[derive(Clone)]
struct ProduceStream {
    front: Front,
    caller: Caller,
    received: Received,
    /// Batches behind a failed one fail as well, until the client was told: from then on its entries
    /// have another key.
    order: Arc<Mutex<OrderKey>>,
    unheard: Arc<Mutex<Unheard>>,
    in_flight: MemoryShare,
}

/// What was refused before the engine has seen it, although the same may be taken later: what comes behind it under the same key
/// is refused as well, or it would be in the log before it.
#[derive(Debug, Default)]
struct Unheard {
    order: Option<OrderKey>,
    topics: HashMap<String, ApiError>,
    /// Why all topics are refused: there are too many.
    all: Option<ApiError>,
}

/// Topics that are known apart.
const UNHEARD_TOPICS_MAX: usize = 1_000;

impl Unheard {
    fn refusal(&self, order: OrderKey, topic: &str) -> Option<ApiError> {
        let is_it = self.order == Some(order);
        let error = self.all.as_ref().or_else(|| self.topics.get(topic));
        error.filter(|_| is_it).cloned()
    }

    fn note(&mut self, order: OrderKey, topic: String, error: &ApiError) {
        if self.order != Some(order) {
            self.order = Some(order);
            self.topics.clear();
            self.all = None;
        }
        if self.topics.len() >= UNHEARD_TOPICS_MAX {
            self.all = Some(error.clone());
            return;
        }
        self.topics.insert(topic, error.clone());
    }
}

/// How a stream ends.
enum End {
    /// The client has said all, and has heard all.
    Done,
    /// With an error, after what was taken is answered.
    Error(ApiError),
    /// The client is gone, or has sent what is no message: the transport says which.
    Broken(Status),
}

impl ProduceStream {
    async fn run(
        self,
        mut call: Call,
        mut requests: Streaming<v1::ProduceStreamRequest>,
        answers: mpsc::Sender<Result<v1::ProduceStreamResponse, Status>>,
    ) {
        let end = self.answer_all(&call, &mut requests, &answers).await;
        // Who is gone needs no word.
        let status = match end {
            None => return,
            Some(End::Done) => {
                call.count(None);
                return;
            }
            Some(End::Error(error)) => {
                call.count(Some(error.code));
                call.refused(&error)
            }
            Some(End::Broken(status)) => {
                call.count(Some(ApiError::from_status(&status).code));
                status
            }
        };
        let _ = answers.send(Err(status)).await;
    }

    /// Takes messages and answers them in their order. Answers go on while a message waits for memory,
    /// since it is they that give memory back. `None` when the client is gone; what was taken goes on
    /// without it.
    async fn answer_all(
        &self,
        call: &Call,
        requests: &mut Streaming<v1::ProduceStreamRequest>,
        answers: &mpsc::Sender<Result<v1::ProduceStreamResponse, Status>>,
    ) -> Option<End> {
        let mut open = FuturesOrdered::new();
        let mut taking: OptionFuture<BoxFuture<'static, Result<Answer, ApiError>>> = None.into();
        let mut busy = false;
        let mut end = None;
        let stop = &self.front.stop;
        loop {
            if open.is_empty() && !busy && end.is_some() {
                return end;
            }
            tokio::select! {
                biased;
                () = answers.closed() => return None,
                () = call.deadline_passed() => return Some(End::Error(call.too_late())),
                Some(answer) = open.next(), if !open.is_empty() => {
                    answers.send(Ok(answer)).await.ok()?;
                }
                Some(taken) = &mut taking, if busy => {
                    busy = false;
                    match taken {
                        Ok(answer) => open.push_back(answer),
                        Err(error) => end = Some(End::Error(error)),
                    }
                }
                () = stop.cancelled(), if end.is_none() => end = Some(End::Error(going_away())),
                request = requests.next(), if end.is_none() && !busy => match request {
                    Some(Ok(request)) => {
                        busy = true;
                        taking = Some(self.clone().take(request).boxed()).into();
                    }
                    Some(Err(status)) => end = Some(End::Broken(status)),
                    None => end = Some(End::Done),
                },
            }
        }
    }

    /// Hands the entries of a message to the engine once there is memory for them.
    async fn take(self, request: v1::ProduceStreamRequest) -> Result<Answer, ApiError> {
        check_count(&request.entries)?;
        let mut tokens = self.front.catch_up(&request.token).await?;
        let bytes = request.entries.iter().map(entry_bytes).sum();
        let share = self.in_flight.hold(bytes).await;
        let hold = Arc::new(self.front.engine().reserve(bytes).await);
        let order = *self.order.lock();
        let taking = (order, &*self.unheard, bytes);
        let open = self
            .front
            .take_entries(&self.caller, request.entries, taking, hold)
            .await;
        self.received.taken();
        Ok(Box::pin(async move {
            let mut results = Vec::with_capacity(open.len());
            let mut any_failed = false;
            for entry in open {
                let (result, failed) = entry.answered(&mut tokens).await;
                any_failed |= failed;
                results.push(result);
            }
            if any_failed {
                let mut current = self.order.lock();
                if *current == order {
                    *current = self.front.new_order();
                }
            }
            drop(share);
            v1::ProduceStreamResponse {
                results,
                token: self.front.token(tokens),
            }
        }))
    }
}

/// What clients of streams hear when the broker is stopped.
pub(crate) fn going_away() -> ApiError {
    ApiError::new(
        ErrorCode::Unavailable,
        "this broker is shutting down; connect again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_a_refusal_that_passes_is_refused_until_the_client_has_another_key() {
        let mut unheard = Unheard::default();
        let busy = ApiError::new(ErrorCode::Unavailable, "busy");
        let (first, second) = (OrderKey(1), OrderKey(2));
        assert_eq!(unheard.refusal(first, "t"), None);
        unheard.note(first, "t".to_owned(), &busy);
        assert_eq!(unheard.refusal(first, "t"), Some(busy.clone()));
        assert_eq!(unheard.refusal(first, "other"), None);
        assert_eq!(unheard.refusal(second, "t"), None);
        unheard.note(second, "other".to_owned(), &busy);
        assert_eq!(unheard.refusal(second, "t"), None);
        for topic in 0..=UNHEARD_TOPICS_MAX {
            unheard.note(second, topic.to_string(), &busy);
        }
        assert_eq!(unheard.topics.len(), UNHEARD_TOPICS_MAX);
        assert_eq!(unheard.refusal(second, "t"), Some(busy));
        unheard.note(
            first,
            "t".to_owned(),
            &ApiError::new(ErrorCode::Unavailable, "again"),
        );
        assert_eq!(unheard.refusal(first, "other"), None);
    }
}
