//! The stream that a producer writes to.

use std::future::pending;

use tidelog_api::{ApiError, v1};
use tidelog_env::clock::timeout;
use tidelog_types::ErrorCode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Client;

/// How many messages wait for the transport; it has windows of its own.
const MESSAGES_QUEUED: usize = 2;

/// What came of waiting for the stream.
pub(super) enum LinkEvent {
    /// The service has answered.
    Answers(v1::ProduceStreamResponse),
    /// The message was handed to the transport.
    Room,
    /// The stream has ended, and why.
    Lost(ApiError),
}

/// An open stream, and a message that waits for room in the transport.
pub(super) struct Link {
    requests: mpsc::Sender<v1::ProduceStreamRequest>,
    answers: Streaming<v1::ProduceStreamResponse>,
    message: Option<v1::ProduceStreamRequest>,
    client: Client,
}

impl Link {
    /// Opens a stream.
    pub(super) async fn open(client: &Client) -> Result<Self, ApiError> {
        let (requests, receiver) = mpsc::channel(MESSAGES_QUEUED);
        let mut service = client.log_service();
        let opening = service.produce_stream(ReceiverStream::new(receiver));
        let options = client.options();
        match timeout(options.env.clock.as_ref(), options.request_timeout, opening).await {
            Ok(Ok(response)) => Ok(Self {
                requests,
                answers: response.into_inner(),
                message: None,
                client: client.clone(),
            }),
            Ok(Err(status)) => Err(client.trouble().read(&status)),
            Err(elapsed) => Err(client.trouble().silence(elapsed.0)),
        }
    }

    /// Whether [`Link::put`] may be called.
    pub(super) const fn is_free(&self) -> bool {
        self.message.is_none()
    }

    /// Takes the message to send next.
    pub(super) fn put(&mut self, message: v1::ProduceStreamRequest) {
        debug_assert!(self.is_free());
        self.message = Some(message);
    }

    /// Waits for the next thing to happen. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        let Self {
            requests,
            answers,
            message,
            client,
        } = self;
        let send = async {
            if message.is_some()
                && let Ok(permit) = requests.reserve().await
                && let Some(message) = message.take()
            {
                permit.send(message);
                return;
            }
            // Nothing to send, or the stream has ended, whose answers tell why.
            pending::<()>().await;
        };
        tokio::select! {
            biased;
            answer = answers.message() => match answer {
                Ok(Some(answers)) => LinkEvent::Answers(answers),
                Ok(None) => {
                    let text = "the service ended the stream";
                    LinkEvent::Lost(ApiError::new(ErrorCode::Unavailable, text))
                }
                Err(status) => LinkEvent::Lost(client.trouble().read(&status)),
            },
            () = send => LinkEvent::Room,
        }
    }
}
