//! `Tail`: partitions of one topic as a stream.

mod start;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{FetchError, FetchPartition, FetchRequest, Isolation};
use tidelog_metadata_api::{LogError, PartitionBounds, TopicInfo};
use tidelog_runtime::access::{Caller, Operation};
use tidelog_types::{ErrorCode, Offset, OffsetRange, PartitionIndex, TopicPartition};
use tokio::sync::{Notify, mpsc};
use tonic::Status;

use crate::answer::{DataAnswer, PartitionAnswer};
use crate::data::{Form, isolation, shell};
use crate::decode::Wanted;
use crate::errors::log_error;
use crate::front::{Front, ONE_REQUEST};
use crate::produce::going_away;
use crate::room::Room;
use crate::rpc::Call;
use crate::token::TokenSet;
use crate::transport::{Outgoing, Outlet};
use start::partitions;

/// Answers that wait for the client to read them.
const ANSWERS_WAITING_MAX: usize = 1;
/// Bytes of a message for a client that does not say how many.
const TAIL_BYTES_DEFAULT: u32 = 1024 * 1024;
/// Bytes of a message, at most.
const TAIL_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// How long a read waits for news before it looks whether the topic has grown.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How long to wait before a failed read is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Where a stream is in one partition.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    at: TopicPartition,
    next: Offset,
    /// Where to stop, if anywhere.
    end: Option<Offset>,
    /// As it was when the stream began.
    bounds: PartitionBounds,
    /// Whether it is to be read from its first record on, wherever that is by now: nothing of it was read yet.
    is_at_first: bool,
}

impl Cursor {
    /// Begins where the log begins by now, if that is what was asked for: what went before anything of it was read is
    /// nobody's loss.
    fn begins_later(&mut self, error: &FetchError) -> bool {
        let FetchError::Log(LogError::OffsetOutOfRange { valid, .. }) = error else {
            return false;
        };
        let is_later = self.is_at_first && valid.base > self.next;
        if is_later {
            self.next = valid.base;
        }
        is_later
    }

    /// Why there is nothing to read up to the end: there is nothing yet where reading shall begin.
    fn beyond_end(&self) -> Option<v1::Error> {
        self.end?;
        let end = self.bounds.high_watermark;
        if self.next <= end {
            return None;
        }
        let error = LogError::OffsetOutOfRange {
            offset: self.next,
            valid: OffsetRange {
                base: self.bounds.log_start,
                next: end,
            },
        };
        Some(log_error(&error).to_proto())
    }
}

/// A stream.
struct Tail {
    front: Front,
    caller: Caller,
    topic: Arc<TopicInfo>,
    cursors: BTreeMap<u32, Cursor>,
    /// Whether partitions that are added later are read too.
    grows: bool,
    form: Form,
    isolation: Isolation,
    bytes_max: u32,
}

impl Front {
    /// Checks a request, resolves where it begins, and starts to read.
    pub(crate) async fn tail(mut call: Call, request: v1::TailRequest) -> Result<Outgoing, Status> {
        let front = call.front().clone();
        let caller = call.caller.clone();
        let opened = tokio::select! {
            biased;
            opened = front.open_tail(caller, request) => opened,
            () = call.deadline_passed() => Err(call.too_late()),
        };
        let (tail, tokens) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                call.count(Some(error.code));
                return Err(call.refused(&error));
            }
        };
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let wanted = Arc::new(Notify::new());
        let stream = Answers {
            receiver,
            wanted: Arc::clone(&wanted),
        };
        let gauge = front.parts.metrics.streams.clone();
        gauge.inc();
        drop(front.parts.env.supervisor.spawn("tail stream", async move {
            let reader = Reader { answers, wanted };
            tail.run(call, tokens, reader).await;
            gauge.dec();
        }));
        Ok(Outgoing::new(stream))
    }

    async fn open_tail(
        &self,
        caller: Caller,
        request: v1::TailRequest,
    ) -> Result<(Tail, TokenSet), ApiError> {
        let form = Form::of(request.record_format)?;
        let isolation = isolation(request.isolation)?;
        let mut tokens = self.catch_up(&request.token).await?;
        let topic = self
            .topic(&caller, Operation::Read, &request.topic, ONE_REQUEST)
            .await?;
        let mut cursors = BTreeMap::new();
        for index in partitions(&topic, &request)? {
            let cursor = self.cursor(&topic, &request, index).await?;
            cursors.insert(index, cursor);
        }
        for part in self.engine().seen() {
            tokens.add(part);
        }
        let bytes_max = match request.max_bytes {
            0 => TAIL_BYTES_DEFAULT,
            asked => asked.min(TAIL_BYTES_MAX),
        };
        let tail = Tail {
            front: self.clone(),
            caller,
            topic,
            cursors,
            grows: request.partitions.is_empty() && !request.until_end,
            form,
            isolation,
            bytes_max,
        };
        Ok((tail, tokens))
    }
}

/// What the client is sent, as it asks for it.
pub(crate) struct Answers {
    pub(crate) receiver: mpsc::Receiver<Result<DataAnswer, Status>>,
    pub(crate) wanted: Arc<Notify>,
}

impl Stream for Answers {
    type Item = Result<DataAnswer, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = this.receiver.poll_recv(context);
        if next.is_pending() {
            this.wanted.notify_one();
        }
        next
    }
}

/// The client, as the stream sees it.
pub(crate) struct Reader {
    pub(crate) answers: mpsc::Sender<Result<DataAnswer, Status>>,
    /// Told each time the client wants more: nothing is read ahead for one who takes nothing.
    pub(crate) wanted: Arc<Notify>,
}

/// How a stream ends without an error.
enum End {
    /// Everything was sent.
    Done,
    /// The caller has gone.
    Gone,
}

impl Tail {
    async fn run(mut self, mut call: Call, tokens: TokenSet, reader: Reader) {
        match self.read_all(&call, tokens, &reader).await {
            // The caller has gone, or has everything.
            Ok(End::Gone) => {}
            Ok(End::Done) => call.count(None),
            Err(error) => {
                call.count(Some(error.code));
                let _ = reader.answers.send(Err(call.refused(&error))).await;
            }
        }
    }

    async fn read_all(
        &mut self,
        call: &Call,
        tokens: TokenSet,
        reader: &Reader,
    ) -> Result<End, ApiError> {
        let Reader { answers, wanted } = reader;
        let mut is_wanted = false;
        let mut answer = self.beginning();
        let stop = self.front.stop.clone();
        loop {
            if !answer.partitions.is_empty() {
                answer.token = self.front.token(tokens.clone());
                tokio::select! {
                    biased;
                    sent = answers.send(Ok(answer)) => if sent.is_err() { return Ok(End::Gone) },
                    () = stop.cancelled() => return Err(going_away()),
                    () = call.deadline_passed() => return Err(call.too_late()),
                }
                is_wanted = false;
            }
            self.cursors
                .retain(|_, cursor| cursor.end.is_none_or(|end| cursor.next < end));
            if self.cursors.is_empty() {
                return Ok(End::Done);
            }
            answer = tokio::select! {
                biased;
                () = answers.closed() => return Ok(End::Gone),
                () = stop.cancelled() => return Err(going_away()),
                () = call.deadline_passed() => return Err(call.too_late()),
                () = wanted.notified(), if !is_wanted => {
                    is_wanted = true;
                    DataAnswer::default()
                }
                read = self.read_once(&call.outlet), if is_wanted => read?,
            };
        }
    }

    /// Where reading begins, for every partition.
    fn beginning(&self) -> DataAnswer {
        let cursors = self.cursors.iter();
        let data = cursors.map(|(partition, cursor)| v1::PartitionData {
            error: cursor.beyond_end(),
            ..shell(String::new(), *partition, cursor.next, cursor.bounds)
        });
        DataAnswer {
            partitions: data.map(PartitionAnswer::from).collect(),
            ..DataAnswer::default()
        }
    }

    /// Reads once. Empty if there was no news for a while.
    async fn read_once(&mut self, outlet: &Outlet) -> Result<DataAnswer, ApiError> {
        // Nothing is read for those who would only wait with it.
        outlet.beginning().await;
        let mut room = Room::new(outlet, self.form);
        let mut answer = self.read_with(&mut room).await?;
        while room.is_short() && answer.partitions.is_empty() {
            room = room.again();
            answer = self.read_with(&mut room).await?;
        }
        answer.turn = room.into_turn();
        Ok(answer)
    }

    /// Reads with the room that there is.
    async fn read_with(&mut self, room: &mut Room) -> Result<DataAnswer, ApiError> {
        let wanted: Vec<(u32, Cursor)> = self
            .cursors
            .iter()
            .map(|(index, cursor)| (*index, *cursor))
            .collect();
        let bytes_max = u64::from(self.front.answer_bytes(self.bytes_max));
        let request = FetchRequest {
            partitions: wanted
                .iter()
                .map(|(_, cursor)| FetchPartition {
                    partition: cursor.at,
                    offset: cursor.next,
                    bytes_max,
                })
                .collect(),
            bytes_max,
            bytes_min: 1,
            wait_max: LOOK_AROUND,
            isolation: self.isolation,
        };
        let (found, hold) = self.front.read_in_turn(request, room).await;
        let mut partitions: Vec<PartitionAnswer> = Vec::new();
        let mut may_pass = false;
        let mut bytes = 0;
        for ((index, cursor), result) in wanted.into_iter().zip(found) {
            let result = result.map_err(|(_, error)| error);
            match &result {
                Ok(found) if found.next_offset == cursor.next => continue,
                Err(error) if error.code().is_retriable() || self.begins_later(index, error) => {
                    may_pass = true;
                    continue;
                }
                Ok(_) | Err(_) => {}
            }
            let length = result.as_ref().map_or(0, |found| found.batches.len());
            partitions.extend(self.deliver(index, cursor, result, room).await);
            if room.is_short() {
                break;
            }
            bytes += length as u64;
        }
        let topic = self.topic.name.as_str();
        self.front.charge_read(&self.caller, topic, bytes).await?;
        if !partitions.is_empty() {
            return Ok(DataAnswer {
                partitions,
                hold,
                ..DataAnswer::default()
            });
        }
        drop(hold);
        room.give_back();
        if room.is_short() {
            return Ok(DataAnswer::default());
        }
        if may_pass {
            self.front.parts.env.clock.sleep(RETRY_AFTER).await;
        }
        self.look_around().await?;
        Ok(DataAnswer::default())
    }

    fn begins_later(&mut self, index: u32, error: &FetchError) -> bool {
        let cursor = self.cursors.get_mut(&index);
        cursor.is_some_and(|cursor| cursor.begins_later(error))
    }

    /// Turns what was found into an answer and moves on. A partition whose error will not pass is told
    /// of once and read no more; one for whose records there is no memory now is left for the next answer.
    async fn deliver(
        &mut self,
        index: u32,
        cursor: Cursor,
        result: Result<tidelog_broker_engine::FetchedPartition, FetchError>,
        room: &mut Room,
    ) -> Option<PartitionAnswer> {
        let wanted = Wanted {
            topic: String::new(),
            partition: index,
            from: cursor.next,
            form: self.form,
        };
        let mut answer = self.front.take_apart(wanted, result, room).await;
        let data = &mut answer.data;
        // Where nothing of it is handed out, the client hears that reading goes on further on.
        if data.error.is_none() && data.next_offset == cursor.next.get() {
            return None;
        }
        if let (Some(v1::partition_data::Data::Records(records)), Some(end)) =
            (&mut data.data, cursor.end)
        {
            records.records.retain(|record| record.offset < end.get());
        }
        if data.error.is_some() {
            self.cursors.remove(&index);
        } else if let Some(cursor) = self.cursors.get_mut(&index) {
            cursor.next = Offset::new(data.next_offset);
            cursor.is_at_first = false;
        }
        Some(answer)
    }

    /// Finds out whether the topic is still there and has grown.
    async fn look_around(&mut self) -> Result<(), ApiError> {
        let name = self.topic.name.as_str();
        let topic = self
            .front
            .topic(&self.caller, Operation::Read, name, ONE_REQUEST)
            .await?;
        if topic.id != self.topic.id {
            let message = format!("topic `{name}` was deleted and created again");
            return Err(ApiError::new(ErrorCode::UnknownTopic, message));
        }
        if self.grows {
            for index in self.topic.partition_count()..topic.partition_count() {
                if let Ok((at, _)) = topic.partition(PartitionIndex::new(index)) {
                    let (next, bounds) = (Offset::ZERO, PartitionBounds::default());
                    self.cursors.insert(
                        index,
                        Cursor {
                            at,
                            next,
                            end: None,
                            bounds,
                            is_at_first: true,
                        },
                    );
                }
            }
        }
        self.topic = topic;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::TopicNumber;

    use super::*;

    #[test]
    fn who_asked_for_the_first_record_begins_where_the_log_begins_by_now_and_nobody_else_does() {
        let offset = Offset::new;
        let begun = |is_at_first| Cursor {
            at: TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(0)),
            next: offset(3),
            end: None,
            bounds: PartitionBounds::default(),
            is_at_first,
        };
        let gone = |base, next| {
            FetchError::Log(LogError::OffsetOutOfRange {
                offset: offset(3),
                valid: OffsetRange {
                    base: offset(base),
                    next: offset(next),
                },
            })
        };
        let mut cursor = begun(true);
        assert!(cursor.begins_later(&gone(7, 9)));
        assert_eq!(cursor.next, offset(7));
        assert!(!begun(true).begins_later(&gone(0, 2)), "beyond the end");
        assert!(!begun(false).begins_later(&gone(7, 9)), "it was read");
        let at = cursor.at;
        let other = FetchError::Log(LogError::UnknownPartition(at));
        assert!(!begun(true).begins_later(&other));
    }
}
