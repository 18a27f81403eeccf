//! Follows the events of one process for as long as it is asked to.

use std::sync::Arc;
use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_env::{BackoffPolicy, CancellationToken, Env};
use tidelog_metadata_api::{Cluster, Log};
use tidelog_types::MemberId;
use tonic::Streaming;

use super::peer::Peer;
use crate::events::{Event, Events};
use crate::following::Following;
use crate::rpc::Rpc;
use crate::wire::event_from;

/// The waits between attempts to follow again.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(20), Duration::from_secs(1), u32::MAX);

/// Where events come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A service in this process.
    Local {
        /// Its sequencers.
        log: Arc<dyn Log>,
        /// Its view.
        cluster: Arc<dyn Cluster>,
    },
    /// Another process.
    Remote(Peer),
}

/// An open stream of events.
enum Stream {
    Local(Events),
    Remote(Streaming<v1::SubscribeResponse>),
}

/// Follows the events of `member` until `stop` is cancelled; opens the stream anew when it breaks.
pub(crate) async fn follow(
    env: Env,
    source: Source,
    member: MemberId,
    following: Following,
    stop: CancellationToken,
) {
    let mut backoff = RETRY.start();
    loop {
        let followed = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            followed = follow_once(&env, &source, member, &following) => followed,
        };
        if followed {
            following.on_broken(member);
            backoff = RETRY.start();
            if let Source::Remote(peer) = &source {
                peer.metrics.reconnect(Rpc::Subscribe);
                tracing::info!(address = peer.address(), "the stream of news broke");
            }
        }
        let wait = backoff.next_wait(env.rng.as_ref()).unwrap_or(RETRY.max);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = env.clock.sleep(wait) => {}
        }
    }
    following.on_broken(member);
}

/// Follows one stream to its end; tells whether there was one.
async fn follow_once(env: &Env, source: &Source, member: MemberId, following: &Following) -> bool {
    let mut stream = match source {
        Source::Local { log, cluster } => {
            let clock = Arc::clone(&env.clock);
            Stream::Local(Events::new(clock, Arc::clone(log), cluster.as_ref()))
        }
        Source::Remote(peer) => {
            let within = peer.settings.connect_timeout + peer.settings.silence;
            let mut client = peer.sequencer();
            let opening = client.subscribe(v1::SubscribeRequest {});
            match peer.open(Rpc::Subscribe, within, opening).await {
                Ok(stream) => Stream::Remote(stream),
                Err(error) => {
                    let address = peer.address();
                    tracing::debug!(address, error = error.message, "no news of a peer");
                    return false;
                }
            }
        }
    };
    while let Some(event) = stream.next().await {
        following.on_event(member, event);
    }
    true
}

impl Stream {
    /// The next event; `None` at the end, also when the peer talks nonsense.
    async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Local(events) => events.next().await,
            Self::Remote(stream) => {
                let response = stream.message().await.ok()??;
                let event = event_from(response);
                event
                    .inspect_err(|error| tracing::warn!(%error, "news of a peer makes no sense"))
                    .ok()
            }
        }
    }
}
