//! The stream of a group consumer.

use std::collections::VecDeque;

use tidelog_api::v1::subscribe_request::Kind;
use tidelog_api::{ApiError, v1};
use tidelog_env::clock::timeout;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Client;

/// Messages that wait for the transport, which has windows of its own.
const MESSAGES_QUEUED: usize = 2;

/// An open stream.
pub(super) struct Link {
    /// None once the client has ended its side.
    requests: Option<mpsc::Sender<v1::SubscribeRequest>>,
    answers: Streaming<v1::SubscribeResponse>,
    /// What is still to be said.
    unsaid: VecDeque<v1::SubscribeRequest>,
    ends: bool,
}

impl Link {
    /// Opens a stream and joins.
    pub(super) async fn open(client: &Client, join: v1::SubscribeJoin) -> Result<Self, ApiError> {
        let (requests, receiver) = mpsc::channel(MESSAGES_QUEUED);
        let mut service = client.group_service();
        let opening = service.subscribe(ReceiverStream::new(receiver));
        let options = client.options();
        match timeout(options.env.clock.as_ref(), options.request_timeout, opening).await {
            Ok(Ok(response)) => {
                let mut link = Self {
                    requests: Some(requests),
                    answers: response.into_inner(),
                    unsaid: VecDeque::new(),
                    ends: false,
                };
                link.say(Kind::Join(join));
                Ok(link)
            }
            Ok(Err(status)) => Err(client.trouble().read(&status)),
            Err(elapsed) => Err(client.trouble().silence(elapsed.0)),
        }
    }

    /// Says something, in order. It is sent while answers are awaited.
    pub(super) fn say(&mut self, kind: Kind) {
        self.unsaid
            .push_back(v1::SubscribeRequest { kind: Some(kind) });
    }

    /// Nothing more is said after what was.
    pub(super) const fn end(&mut self) {
        self.ends = true;
    }

    /// The next message; `None` at the end. Cancel-safe.
    pub(super) async fn next(
        &mut self,
        client: &Client,
    ) -> Result<Option<v1::SubscribeResponse>, ApiError> {
        loop {
            if self.ends && self.unsaid.is_empty() {
                self.requests = None;
            }
            let Self {
                requests,
                answers,
                unsaid,
                ..
            } = self;
            let room = async {
                match requests {
                    Some(requests) if !unsaid.is_empty() => requests.reserve().await.ok(),
                    _ => None,
                }
            };
            tokio::select! {
                biased;
                // If there is no room for ever, the answers tell why.
                Some(room) = room => {
                    if let Some(message) = unsaid.pop_front() {
                        room.send(message);
                    }
                }
                answer = answers.message() => {
                    return answer.map_err(|status| client.trouble().read(&status));
                }
            }
        }
    }
}
