//! Messages of a stream on their way out.
//!
//! Each is encoded into memory of its own size, which goes when its last byte has. The transport's own
//! encoder keeps its buffer for the next message, so that a thousand idle streams would hold a thousand of
//! their largest messages.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http_body::Frame;
use parking_lot::Mutex;
use prost::Message;
use tonic::Status;

/// Bytes before each message: a flag and the length.
const PREFIX_BYTES: usize = 5;

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// A stream of encoded messages that travels with the header of an answer, in its extensions.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Mutex<Option<Messages>>>);

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Outgoing {
    /// The messages of `stream`, encoded one by one as they are asked for.
    pub(crate) fn new<S, M>(stream: S) -> Self
    where
        S: Stream<Item = Result<M, Status>> + Send + 'static,
        M: Message,
    {
        let messages = stream.map(|message| message.and_then(|message| encoded(&message)));
        Self(Arc::new(Mutex::new(Some(messages.boxed()))))
    }

    /// The body that sends them; they are sent once.
    pub(super) fn into_body(self) -> Encoded {
        Encoded {
            messages: self.0.lock().take(),
        }
    }
}

fn encoded(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let Ok(announced) = u32::try_from(length) else {
        return Err(Status::internal("an answer is larger than gRPC allows"));
    };
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(announced);
    message
        .encode(&mut bytes)
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes.freeze())
}

/// A body of encoded messages, with the status behind them.
pub(crate) struct Encoded {
    messages: Option<Messages>,
}

impl http_body::Body for Encoded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let status = match ready!(messages.as_mut().poll_next(context)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.messages = None;
        let mut trailers = status.into_http::<()>().into_parts().0.headers;
        trailers.remove(http::header::CONTENT_TYPE);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use tidelog_api::v1;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn messages_come_with_their_lengths_and_the_status_behind_them() {
        let message = v1::TailResponse {
            token: Bytes::from_static(b"token"),
            ..v1::TailResponse::default()
        };
        let items = [Ok(message.clone()), Err(Status::aborted("over"))];
        let outgoing = Outgoing::new(futures::stream::iter(items));
        let mut body = outgoing.clone().into_body();
        let mut frames =
            futures::stream::poll_fn(move |context| Pin::new(&mut body).poll_frame(context));
        let data = frames.next().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(usize::from(data[4]) + PREFIX_BYTES, data.len());
        assert_eq!(
            v1::TailResponse::decode(&data[PREFIX_BYTES..]).unwrap(),
            message
        );
        let trailers = frames
            .next()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "over"));
        assert!(frames.next().await.is_none());
        assert!(outgoing.into_body().is_end_stream(), "they are sent once");
    }
}
