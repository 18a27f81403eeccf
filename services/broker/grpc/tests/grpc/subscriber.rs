//! A subscriber that needs nothing but the proto files.

use std::collections::VecDeque;

use tidelog_api::v1;
use tidelog_api::v1::group_service_client::GroupServiceClient;
use tidelog_api::v1::subscribe_request::Kind;
use tidelog_api::v1::subscribe_response::Event;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use crate::world::{World, records, soon, value};

/// One stream.
pub(crate) struct Subscriber {
    requests: mpsc::UnboundedSender<v1::SubscribeRequest>,
    answers: Streaming<v1::SubscribeResponse>,
    /// What has come and was not asked for yet.
    ahead: VecDeque<v1::SubscribeResponse>,
    pub(crate) member_id: String,
}

/// Reads `t` in the group `g` from the earliest record.
pub(crate) fn join() -> v1::SubscribeJoin {
    v1::SubscribeJoin {
        group: "g".to_owned(),
        topics: vec!["t".to_owned()],
        offset_reset: v1::OffsetReset::Earliest.into(),
        ..v1::SubscribeJoin::default()
    }
}

pub(crate) fn credit(records: Option<u64>, bytes: Option<u64>) -> v1::SubscribeCredit {
    v1::SubscribeCredit { records, bytes }
}

pub(crate) fn commit(id: u64, offsets: &[(u32, u64)]) -> Kind {
    let offsets = offsets
        .iter()
        .map(|(partition, offset)| v1::SubscribeOffset {
            topic: "t".to_owned(),
            partition: *partition,
            offset: *offset,
            metadata: String::new(),
        });
    Kind::Commit(v1::SubscribeCommit {
        correlation_id: id,
        offsets: offsets.collect(),
    })
}

impl Subscriber {
    /// Opens a stream on a connection of its own and says something.
    pub(crate) async fn open(world: &World, first: Kind) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let first = v1::SubscribeRequest { kind: Some(first) };
        requests.send(first).unwrap();
        let mut groups = GroupServiceClient::new(world.channel().await);
        let stream = groups.subscribe(UnboundedReceiverStream::new(receiver));
        Self {
            requests,
            answers: stream.await.unwrap().into_inner(),
            ahead: VecDeque::new(),
            member_id: String::new(),
        }
    }

    /// Joins and is a member.
    pub(crate) async fn new(world: &World, join: v1::SubscribeJoin) -> Self {
        let mut this = Self::open(world, Kind::Join(join)).await;
        match this.next().await.event {
            Some(Event::Joined(joined)) => this.member_id = joined.member_id,
            other => panic!("{other:?}"),
        }
        this
    }

    pub(crate) fn say(&self, kind: Kind) {
        let said = v1::SubscribeRequest { kind: Some(kind) };
        self.requests.send(said).unwrap();
    }

    /// The next message, whatever it is; `None` at the end.
    pub(crate) async fn message(&mut self) -> Result<Option<v1::SubscribeResponse>, Status> {
        if let Some(ahead) = self.ahead.pop_front() {
            return Ok(Some(ahead));
        }
        soon(self.answers.message()).await
    }

    pub(crate) async fn next(&mut self) -> v1::SubscribeResponse {
        self.message().await.unwrap().unwrap()
    }

    /// The next event that `read` takes; what comes before stays for later.
    async fn event<T>(&mut self, read: impl Fn(&v1::SubscribeResponse) -> Option<T>) -> T {
        let before = std::mem::take(&mut self.ahead);
        let mut passed = VecDeque::new();
        let mut before = before.into_iter();
        loop {
            let message = match before.next() {
                Some(message) => message,
                None => soon(self.answers.message()).await.unwrap().unwrap(),
            };
            if let Some(found) = read(&message) {
                passed.extend(before);
                self.ahead = passed;
                return found;
            }
            passed.push_back(message);
        }
    }

    pub(crate) async fn assigned(&mut self) -> Vec<v1::SubscribedPartition> {
        self.event(|message| match &message.event {
            Some(Event::Assigned(assigned)) => Some(assigned.partitions.clone()),
            _ => None,
        })
        .await
    }

    /// Partitions and where they begin, once there are so many.
    pub(crate) async fn places(&mut self, count: usize) -> Vec<(u32, u64)> {
        let mut places = Vec::new();
        while places.len() < count {
            let assigned = self.assigned().await;
            assert!(assigned.iter().all(|it| it.error.is_none()), "{assigned:?}");
            places.extend(assigned.iter().map(|it| (it.partition, it.offset)));
        }
        places.sort_unstable();
        places
    }

    pub(crate) async fn revoked(&mut self) -> v1::SubscribeRevoked {
        self.event(|message| match &message.event {
            Some(Event::Revoked(revoked)) => Some(revoked.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn release(&self, revoked: &v1::SubscribeRevoked) {
        self.say(Kind::Release(v1::SubscribeRelease {
            revocation_id: revoked.revocation_id,
        }));
    }

    pub(crate) async fn stalled(&mut self) -> v1::SubscribeCredit {
        self.event(|message| match &message.event {
            Some(Event::Stalled(stalled)) => stalled.needed,
            _ => None,
        })
        .await
    }

    pub(crate) async fn seek(&mut self, partition: u32, offset: u64) -> Option<v1::Error> {
        self.say(Kind::Seek(v1::SubscribeSeek {
            topic: "t".to_owned(),
            partition,
            offset,
        }));
        self.event(|message| match &message.event {
            Some(Event::Sought(sought)) => Some(sought.error.clone()),
            _ => None,
        })
        .await
    }

    /// Commits and waits for the answer.
    pub(crate) async fn commit(
        &mut self,
        offsets: &[(u32, u64)],
    ) -> Vec<v1::SubscribeNotCommitted> {
        self.say(commit(77, offsets));
        self.event(|message| match &message.event {
            Some(Event::Committed(committed)) if committed.correlation_id == 77 => {
                Some(committed.failed.clone())
            }
            _ => None,
        })
        .await
    }

    /// The next message with records, which says what it took.
    pub(crate) async fn data(&mut self) -> (Vec<String>, v1::SubscribeCredit) {
        self.event(|message| {
            let data = &message.partitions;
            let values = data.iter().flat_map(records).map(|record| value(&record));
            let used = message.used_credit.unwrap_or_default();
            (!data.is_empty()).then(|| (values.collect(), used))
        })
        .await
    }

    /// So many records.
    pub(crate) async fn values(&mut self, count: usize) -> Vec<String> {
        let mut values = Vec::new();
        while values.len() < count {
            values.extend(self.data().await.0);
        }
        values
    }

    /// Ends its side and waits for the end.
    pub(crate) async fn leave(mut self) {
        drop(self.requests);
        while soon(self.answers.message()).await.unwrap().is_some() {}
    }

    /// Why the stream has ended.
    pub(crate) async fn broken(&mut self) -> Status {
        loop {
            match self.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it has ended without an error"),
                Err(status) => return status,
            }
        }
    }
}
