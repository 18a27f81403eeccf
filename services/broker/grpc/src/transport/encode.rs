//! Messages with data on their way out.
//!
//! They are encoded here instead of in the transport's own encoder, which would copy them, and keep its
//! buffer for the next message, so that a thousand idle streams would hold a thousand of their largest ones.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use tidelog_broker_engine::Need;
use tonic::Status;
use tonic::body::Body;

use crate::answer::{DataAnswer, Encoded};

type Messages = Pin<Box<dyn Stream<Item = Result<Encoded, Status>> + Send>>;

/// Messages that travel with the header of an answer, in its extensions.
#[derive(Clone)]
pub(crate) struct Outgoing {
    messages: Arc<Mutex<Option<Messages>>>,
    /// What the next one needs, unless they come with their turns.
    need: Option<Need>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Outgoing {
    /// The messages of `stream`, encoded one by one as they are asked for. Those that are large have had
    /// their turn.
    pub(crate) fn new<S>(stream: S) -> Self
    where
        S: Stream<Item = Result<DataAnswer, Status>> + Send + 'static,
    {
        Self::with(stream, None)
    }

    /// One message that is there already.
    pub(crate) fn one(message: DataAnswer) -> Self {
        let need = Need::Exactly(message.encoded_len() as u64);
        let need = message.turn.is_none().then_some(need);
        Self::with(futures::stream::iter([Ok(message)]), need)
    }

    fn with<S>(stream: S, need: Option<Need>) -> Self
    where
        S: Stream<Item = Result<DataAnswer, Status>> + Send + 'static,
    {
        let messages = stream.map(|message| message.and_then(DataAnswer::encode));
        Self {
            messages: Arc::new(Mutex::new(Some(messages.boxed()))),
            need,
        }
    }
}

/// Where the bytes of an answer come from.
pub(super) enum Source {
    /// The transport's encoder.
    Body(Body),
    /// Messages in pieces, `None` when all is said, and what the next one needs.
    Messages(Option<Messages>, Option<Need>),
}

/// What comes next of an answer.
pub(super) enum Next {
    /// Bytes that are in memory together.
    Data(Encoded),
    /// What stands behind the data.
    Trailers(HeaderMap),
}

impl Source {
    /// The messages that travel beside a body, or the body. They are sent once.
    pub(super) fn new(body: Body, outgoing: Option<Outgoing>) -> Self {
        match outgoing {
            Some(outgoing) => {
                let messages = outgoing.messages.lock().take();
                Self::Messages(messages, outgoing.need)
            }
            None => Self::Body(body),
        }
    }

    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Next, Status>>> {
        match self {
            Self::Body(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map(next_of)))
            }
            Self::Messages(None, _) => Poll::Ready(None),
            Self::Messages(Some(messages), need) => {
                let status = match ready!(messages.as_mut().poll_next(context)) {
                    Some(Ok(encoded)) => {
                        // Behind the one that was there comes nothing more.
                        *need = None;
                        return Poll::Ready(Some(Ok(Next::Data(encoded))));
                    }
                    Some(Err(status)) => status,
                    None => Status::ok(""),
                };
                *self = Self::Messages(None, None);
                let mut trailers = status.into_http::<()>().into_parts().0.headers;
                trailers.remove(http::header::CONTENT_TYPE);
                Poll::Ready(Some(Ok(Next::Trailers(trailers))))
            }
        }
    }

    /// What a message with data needs that may come next.
    pub(super) const fn need(&self) -> Option<Need> {
        match self {
            Self::Messages(Some(_), need) => *need,
            Self::Messages(None, _) | Self::Body(_) => None,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Body(body) => body.is_end_stream(),
            Self::Messages(messages, _) => messages.is_none(),
        }
    }
}

fn next_of(frame: Frame<Bytes>) -> Next {
    match frame.into_data() {
        Ok(data) => Next::Data(Encoded {
            pieces: [data].into(),
            turn: None,
        }),
        Err(frame) => Next::Trailers(frame.into_trailers().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn messages_come_one_by_one_and_the_status_behind_them() {
        let message = || DataAnswer {
            token: Bytes::from_static(b"token"),
            ..DataAnswer::default()
        };
        let items = [Ok(message()), Err(Status::aborted("over"))];
        let outgoing = Outgoing::new(futures::stream::iter(items));
        let mut source = Source::new(Body::empty(), Some(outgoing.clone()));
        let data = poll_fn(|context| source.poll_next(context)).await;
        let Some(Ok(Next::Data(encoded))) = data else {
            panic!("no data");
        };
        assert_eq!(encoded.pieces, message().encode().unwrap().pieces);
        let trailers = poll_fn(|context| source.poll_next(context)).await;
        let Some(Ok(Next::Trailers(trailers))) = trailers else {
            panic!("no trailers");
        };
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "over"));
        assert!(source.is_end());
        assert!(
            Source::new(Body::empty(), Some(outgoing)).is_end(),
            "they are sent once"
        );
    }
}
