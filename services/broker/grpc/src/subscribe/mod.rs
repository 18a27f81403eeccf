//! `Subscribe`: reads as a member of a group.
//!
//! ```text
//!   client == stream == session -- heartbeats, commits --> coordinator of the group
//!                          |------ reads ----------------> engine
//! ```
//!
//! The broker that has the stream is the member's agent: it speaks the consumer protocol (KIP-848) for it, so that
//! members of this kind and Kafka's consumers share groups. All that it knows of the member ends with the stream.

mod commits;
mod credit;
mod holdings;
mod member;
mod reading;
mod session;
mod starts;
mod wish;
mod work;

use std::sync::Arc;

use tidelog_api::codec::within_budget;
use tidelog_api::{ApiError, v1};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::ErrorCode;
use tokio::sync::{Notify, mpsc};
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};

use self::session::{End, Session};
use self::wish::Wish;
use crate::front::Front;
use crate::produce::going_away;
use crate::rpc::Call;
use crate::tail::{Answers, Reader};
use crate::transport::Outgoing;

/// Answers that wait for the client to read them.
const ANSWERS_WAITING_MAX: usize = 1;

type Requests = Streaming<v1::SubscribeRequest>;

impl Front {
    /// Takes a subscription.
    pub(crate) fn subscribe(call: Call, requests: Requests) -> Outgoing {
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let wanted = Arc::new(Notify::new());
        let stream = Answers {
            receiver,
            wanted: Arc::clone(&wanted),
        };
        let front = call.front();
        let gauge = front.parts.metrics.streams.clone();
        gauge.inc();
        drop(
            front
                .parts
                .env
                .supervisor
                .clone()
                .spawn("subscription", async move {
                    let budget = Arc::new(call.received.clone());
                    let reader = Reader { answers, wanted };
                    within_budget(budget, Box::pin(run(call, requests, reader))).await;
                    gauge.dec();
                }),
        );
        Outgoing::new(stream)
    }

    /// Whether the caller may subscribe so.
    fn may_subscribe(&self, call: &Call, join: &v1::SubscribeJoin) -> Result<(), ApiError> {
        let operation = Operation::Read;
        for topic in &join.topics {
            let on = Resource::Topic(topic);
            let allowed = self.parts.authorizer.authorize(&call.caller, operation, on);
            allowed
                .map_err(|denied| ApiError::new(ErrorCode::PermissionDenied, denied.to_string()))?;
        }
        Ok(())
    }
}

async fn run(mut call: Call, mut requests: Requests, reader: Reader) {
    let end = match open(&call, &mut requests, &reader).await {
        Ok(mut session) => {
            let end = session.serve(&call, &mut requests, &reader).await;
            session.close(&end).await;
            end
        }
        Err(end) => end,
    };
    let status = match end {
        // Who is gone needs no word.
        End::Gone => return,
        End::Done => {
            call.count(None);
            return;
        }
        End::Error(error) => {
            call.count(Some(error.code));
            call.refused(&error)
        }
        End::Broken(status) => {
            call.count(Some(ApiError::from_status(&status).code));
            status
        }
    };
    let _ = reader.answers.send(Err(status)).await;
}

/// Waits for the first message, and checks what it asks for.
async fn open(call: &Call, requests: &mut Requests, reader: &Reader) -> Result<Session, End> {
    let front = call.front();
    let patience = front.parts.settings.greeting_timeout;
    let opened = async {
        let request = tokio::select! {
            biased;
            request = requests.next() => request,
            () = front.parts.env.clock.sleep(patience) => {
                let message = "the first message of the stream did not come in time";
                return Err(ApiError::new(ErrorCode::DeadlineExceeded, message).into());
            }
        };
        let request = request
            .transpose()
            .map_err(End::Broken)?
            .and_then(|request| request.kind);
        call.received.taken();
        let Some(v1::subscribe_request::Kind::Join(join)) = request else {
            return Err(ApiError::invalid("the first message of the stream joins").into());
        };
        let (on, token) = (Resource::Group(&join.group), &join.token);
        let entered = front.enter(&call.caller, Operation::Read, on, token);
        let tokens = entered.await?;
        front.may_subscribe(call, &join)?;
        let wish = Wish::of(&join)?;
        Ok(Session::new(call, wish, &join, tokens))
    };
    tokio::select! {
        biased;
        () = reader.answers.closed() => Err(End::Gone),
        () = front.stop.cancelled() => Err(going_away().into()),
        () = call.deadline_passed() => Err(call.too_late().into()),
        opened = opened => opened,
    }
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Broken(status)
    }
}
