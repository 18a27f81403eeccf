//! Every call on its way in and out: counted, its bodies metered.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use tidelog_api::ApiError;
use tidelog_api::codec::within_budget;
use tidelog_types::ErrorCode;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use super::connections::{Connections, Peer, Turn};
use super::encode::{Outgoing, Source};
use super::intake::Intake;
use super::outflow::{Answers, MeteredAnswer, Outflow};

/// When a call that found no place may be tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The services behind the limits. Clones share them.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) routes: Routes,
    pub(crate) connections: Connections,
    pub(crate) intake: Intake,
    pub(crate) outflow: Outflow,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    /// The services as one connection sees them.
    pub(super) fn of(&self, peer: Arc<Peer>, address: IpAddr) -> PeerCalls {
        PeerCalls {
            calls: self.clone(),
            peer,
            address: ClientAddress(address.to_canonical()),
        }
    }
}

/// The services for one connection.
#[derive(Clone, Debug)]
pub(super) struct PeerCalls {
    calls: Calls,
    peer: Arc<Peer>,
    address: ClientAddress,
}

/// Where a request comes from, or a proxy before the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl Service<Request<Incoming>> for PeerCalls {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let calls = &mut self.calls;
        let Some(call) = calls.connections.open_call(&self.peer) else {
            return futures::future::ready(Ok(refused())).boxed();
        };
        let call = Arc::new(call);
        let of = Answers::to(request.uri().path());
        let (mut head, body) = request.into_parts();
        let (body, received) = calls.intake.meter(body, &call);
        let budget = Arc::new(received.clone());
        head.extensions.insert(received);
        head.extensions.insert(self.address);
        head.extensions.insert(calls.outflow.outlet(&self.peer));
        let answer = calls.routes.call(Request::from_parts(head, body));
        let outflow = calls.outflow.clone();
        async move {
            let mut answer = within_budget(budget, answer).await?;
            call.turns_to(Turn::Theirs);
            let outgoing = answer.extensions_mut().remove::<Outgoing>();
            Ok(answer.map(|body| {
                let source = Source::new(body, outgoing);
                Answer::Metered(Box::new(outflow.meter(source, call, of)))
            }))
        }
        .boxed()
    }
}

fn refused() -> Response<Answer> {
    let message = "too many calls are open; try again when some have ended";
    let error = ApiError::new(ErrorCode::ResourceExhausted, message);
    error
        .with_retry_after(RETRY_AFTER)
        .to_status()
        .into_http::<Body>()
        .map(|_| Answer::Empty)
}

/// The body of an answer.
pub(super) enum Answer {
    Metered(Box<MeteredAnswer>),
    /// The header says it all.
    Empty,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Metered(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Metered(body) => body.is_end_stream(),
            Self::Empty => true,
        }
    }
}
