//! The stream of news.

use std::sync::Arc;

use futures::Stream;
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_env::Env;
use tidelog_metadata_api::Notice;
use tonic::Status;

use super::Parts;
use super::call::Call;
use crate::events::{Event, Events};
use crate::settings::MESSAGE_BYTES_MAX;
use crate::wire::event_to;

/// Positions, and then everything later. A caller who is slow misses some and is told so.
pub(super) fn news(
    mut call: Call,
    env: &Env,
    parts: Parts,
) -> impl Stream<Item = Result<v1::SubscribeResponse, Status>> + Send + use<> {
    // Subscribed to before the call is answered.
    let mut events = Events::new(Arc::clone(&env.clock), parts.log, parts.cluster.as_ref());
    async_stream::stream! {
        let status = loop {
            let event = tokio::select! {
                biased;
                () = call.closing() => break call.closed(),
                event = events.next() => event,
            };
            match event {
                Some(event) => yield Ok(fitting(event_to(&event))),
                None => break call.closed(),
            }
        };
        call.end(Some(&status));
        yield Err(status);
    }
}

/// News that no message can carry is news that was missed.
fn fitting(response: v1::SubscribeResponse) -> v1::SubscribeResponse {
    if response.encoded_len() <= MESSAGE_BYTES_MAX {
        return response;
    }
    event_to(&Event::Notice(Notice::Missed))
}
