//! Keeps a member in the cluster by a stream to some metadata process, and by another one when it breaks.

use std::pin::pin;
use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_env::clock::timeout;
use tidelog_env::{BackoffPolicy, CancellationToken, Env};
use tidelog_metadata_api::{ClusterError, Member, Membership};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::peer::Peer;
use crate::rpc::Rpc;
use crate::status::CallError;
use crate::wire::{WireError, member_to};

/// The waits between attempts to join again: all of them fit the time for which a lost member stays listed.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(50),
    Duration::from_millis(500),
    u32::MAX,
);
/// How long a member waits to hear that its word that it leaves has arrived.
const FAREWELL: Duration = Duration::from_secs(1);

/// A stream on which the member is listed.
struct Joined {
    requests: mpsc::Sender<v1::JoinRequest>,
    answers: Streaming<v1::JoinResponse>,
}

/// How a stream of a membership ended.
enum Ended {
    /// By the member.
    Over,
    /// By itself.
    Broken,
}

/// Joins at one of the peers that `peers` names whenever it is asked, and stays joined until the membership
/// ends or `stop` is cancelled.
///
/// # Errors
/// The last peer's, when nobody lists the member within the time for requests.
pub(crate) async fn join<P>(
    env: &Env,
    stop: CancellationToken,
    within: Duration,
    member: Member,
    peers: P,
) -> Result<Membership, ClusterError>
where
    P: Fn() -> Vec<Peer> + Send + Sync + 'static,
{
    let clock = env.clock.as_ref();
    let mut last = None;
    let joined = timeout(
        clock,
        within,
        join_somewhere(env, &member, &peers, &mut last),
    )
    .await;
    let joined = joined.map_err(|elapsed| {
        last.map_or_else(
            || ClusterError::Unavailable {
                reason: format!("no metadata process answered within `{:?}`", elapsed.0),
            },
            CallError::into_cluster,
        )
    })?;
    let (membership, mut ended) = Membership::new();
    let task_env = env.clone();
    drop(env.supervisor.spawn("cluster membership", async move {
        let mut joined = joined;
        let keeping = async {
            while let Ended::Broken = keep(&task_env, joined, &mut ended).await {
                tracing::info!(member = %member.id, "the stream of the membership broke; joining again");
                match rejoin(&task_env, &member, &peers, &mut ended).await {
                    Some(again) => joined = again,
                    None => return,
                }
            }
        };
        stop.run_until_cancelled(keeping).await;
    }));
    Ok(membership)
}

/// Joins after a break, unless the membership ends meanwhile. A member that leaves now says so to whoever
/// lists it within the time for farewells.
async fn rejoin(
    env: &Env,
    member: &Member,
    peers: &(impl Fn() -> Vec<Peer> + Sync),
    ended: &mut oneshot::Receiver<()>,
) -> Option<Joined> {
    let mut last = None;
    let mut joining = pin!(join_somewhere(env, member, peers, &mut last));
    let left = tokio::select! {
        biased;
        left = &mut *ended => left,
        joined = &mut joining => return Some(joined),
    };
    if left.is_ok()
        && let Ok(joined) = timeout(env.clock.as_ref(), FAREWELL, joining).await
    {
        leave(env, joined).await;
    }
    None
}

/// Asks one peer after the other until one lists the member.
async fn join_somewhere(
    env: &Env,
    member: &Member,
    peers: &(impl Fn() -> Vec<Peer> + Sync),
    last: &mut Option<CallError>,
) -> Joined {
    let mut backoff = RETRY.start();
    loop {
        for peer in peers() {
            match join_at(&peer, member).await {
                Ok(joined) => return joined,
                Err(error) => {
                    let (address, why) = (peer.address(), error.message.as_str());
                    tracing::debug!(address, error = why, "could not join");
                    *last = Some(error);
                }
            }
        }
        let wait = backoff.next_wait(env.rng.as_ref()).unwrap_or(RETRY.max);
        env.clock.sleep(wait).await;
    }
}

async fn join_at(peer: &Peer, member: &Member) -> Result<Joined, CallError> {
    let (requests, receiver) = mpsc::channel(2);
    let first = v1::JoinRequest {
        request: Some(v1::join_request::Request::Member(member_to(member))),
    };
    // There is room for two.
    let _ = requests.try_send(first);
    let within = peer.settings.connect_timeout + peer.settings.silence;
    let mut client = peer.cluster();
    let opening = client.join(ReceiverStream::new(receiver));
    let mut answers = peer.open(Rpc::Join, within, opening).await?;
    let listed = timeout(peer.env.clock.as_ref(), within, answers.message()).await;
    let listed = listed.map_err(|elapsed| {
        CallError::timed_out(format!("it did not list us within `{:?}`", elapsed.0))
    })?;
    match listed {
        Ok(Some(_)) => Ok(Joined { requests, answers }),
        Ok(None) => Err(CallError::from(WireError::Missing("view"))),
        Err(status) => Err(CallError::from_status(&status)),
    }
}

/// Stays listed until the member leaves or the stream ends.
async fn keep(env: &Env, mut joined: Joined, ended: &mut oneshot::Receiver<()>) -> Ended {
    loop {
        let clock = env.clock.as_ref();
        let silence = crate::settings::BEAT * 4;
        let message = timeout(clock, silence, joined.answers.message());
        tokio::select! {
            biased;
            left = &mut *ended => {
                if left.is_ok() {
                    leave(env, joined).await;
                }
                return Ended::Over;
            }
            message = message => match message {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None) | Err(_)) | Err(_) => return Ended::Broken,
            }
        }
    }
}

/// Says that the member leaves, and waits until the stream has ended.
async fn leave(env: &Env, mut joined: Joined) {
    let request = v1::JoinRequest {
        request: Some(v1::join_request::Request::Leave(v1::Leave {})),
    };
    if joined.requests.try_send(request).is_err() {
        return;
    }
    let ended = async { while let Ok(Some(_)) = joined.answers.message().await {} };
    if timeout(env.clock.as_ref(), FAREWELL, ended).await.is_err() {
        tracing::debug!("nobody answered the word that this member leaves");
    }
}
