//! `ClusterService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tidelog_api::internal::v1;
use tidelog_env::{Clock, Env};
use tidelog_metadata_api::{Cluster, ClusterView, Member};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::call::{Call, Front};
use crate::rpc::Rpc;
use crate::settings::BEAT;
use crate::status;
use crate::wire::{WireError, member_from, member_id, view_to};

/// How long a member may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::cluster_service_server::ClusterService for Front {
    type JoinStream = Answers<v1::JoinResponse>;
    type WatchStream = Answers<v1::WatchResponse>;

    async fn join(
        &self,
        request: Request<Streaming<v1::JoinRequest>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let call = self.begin(Rpc::Join, &request)?;
        let cluster = call.parts()?.cluster;
        let answers = membership(call, self.env.clone(), cluster, request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let call = self.begin(Rpc::Watch, &request)?;
        let cluster = call.parts()?.cluster;
        let answers = views(call, &self.env, cluster.as_ref());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn set_draining(
        &self,
        request: Request<v1::SetDrainingRequest>,
    ) -> Result<Response<v1::SetDrainingResponse>, Status> {
        let call = self.begin(Rpc::SetDraining, &request)?;
        let cluster = call.parts()?.cluster;
        let request = request.into_inner();
        call.run(async move {
            let member = member_id(&request.member_id)?;
            let set = cluster.set_draining(member, request.draining).await;
            set.map_err(|error| status::of_cluster(&error))?;
            Ok(v1::SetDrainingResponse {})
        })
        .await
    }
}

/// The view at once and at each change, and beats between.
#[derive(Debug)]
struct Views {
    clock: Arc<dyn Clock>,
    view: watch::Receiver<Arc<ClusterView>>,
}

impl Views {
    fn new(env: &Env, cluster: &dyn Cluster) -> Self {
        let mut view = cluster.watch();
        view.mark_changed();
        Self {
            clock: Arc::clone(&env.clock),
            view,
        }
    }

    /// The next view, or nothing when it is time for a beat; `None` when there will be no more. Cancel-safe.
    async fn next(&mut self) -> Option<Option<v1::ClusterView>> {
        let tick = self.clock.sleep(BEAT);
        tokio::select! {
            biased;
            changed = self.view.changed() => {
                changed.ok()?;
                Some(Some(view_to(&self.view.borrow_and_update())))
            }
            () = tick => Some(None),
        }
    }
}

fn views(
    mut call: Call,
    env: &Env,
    cluster: &dyn Cluster,
) -> impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + use<> {
    let mut views = Views::new(env, cluster);
    async_stream::stream! {
        let status = loop {
            let view = tokio::select! {
                biased;
                () = call.closing() => break call.closed(),
                view = views.next() => view,
            };
            match view {
                Some(view) => yield Ok(v1::WatchResponse { view }),
                None => break call.closed(),
            }
        };
        call.end(Some(&status));
        yield Err(status);
    }
}

/// What happens to a membership next.
enum Step {
    Tell(Option<v1::ClusterView>),
    Leave,
    /// The stream ends without a word of the member, who counts as lost.
    Lost(Option<Status>),
}

fn membership(
    mut call: Call,
    env: Env,
    cluster: Arc<dyn Cluster>,
    mut requests: Streaming<v1::JoinRequest>,
) -> impl Stream<Item = Result<v1::JoinResponse, Status>> + Send {
    async_stream::stream! {
        let joined = async {
            let member = introduced(&env, &mut requests).await?;
            let joined = cluster.join(member).await;
            joined.map_err(|error| status::of_cluster(&error))
        };
        let membership = match joined.await {
            Ok(membership) => membership,
            Err(status) => {
                call.end(Some(&status));
                yield Err(status);
                return;
            }
        };
        let mut views = Views::new(&env, cluster.as_ref());
        let lost = loop {
            let step = tokio::select! {
                biased;
                () = call.closing() => Step::Lost(Some(call.closed())),
                request = requests.message() => match request {
                    Ok(Some(request)) if is_leave(&request) => Step::Leave,
                    Ok(Some(_)) => Step::Lost(Some(Status::from(WireError::Missing("leave")))),
                    Ok(None) => Step::Lost(None),
                    Err(status) => Step::Lost(Some(status)),
                },
                view = views.next() => view.map_or_else(|| Step::Lost(Some(call.closed())), Step::Tell),
            };
            match step {
                Step::Tell(view) => yield Ok(v1::JoinResponse { view }),
                Step::Leave => {
                    membership.leave();
                    break None;
                }
                Step::Lost(status) => {
                    drop(membership);
                    break status;
                }
            }
        };
        call.end(lost.as_ref());
        if let Some(status) = lost {
            yield Err(status);
        }
    }
}

async fn introduced(
    env: &Env,
    requests: &mut Streaming<v1::JoinRequest>,
) -> Result<Member, Status> {
    let first = tidelog_env::clock::timeout(env.clock.as_ref(), INTRODUCTION, requests.message());
    let first = first
        .await
        .map_err(|_| Status::from(WireError::Missing("member")))??;
    match first.and_then(|request| request.request) {
        Some(v1::join_request::Request::Member(member)) => Ok(member_from(member)?),
        _ => Err(Status::from(WireError::Missing("member"))),
    }
}

fn is_leave(request: &v1::JoinRequest) -> bool {
    matches!(
        request.request,
        Some(v1::join_request::Request::Leave(v1::Leave {}))
    )
}
