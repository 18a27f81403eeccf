//! What is the same for each call: who may, who answers, when it ends, and that it is counted.

use std::future::Future;
use std::sync::Arc;

use tidelog_env::{CancellationToken, Env, MonoTime};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::access::{Peer, PeerAuthorizer};
use super::{Parts, ServerParts, Standing};
use crate::metrics::{RpcMetrics, Side};
use crate::rpc::Rpc;
use crate::settings::ServerSettings;
use crate::status;

/// The server as its services see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) env: Env,
    pub(super) settings: ServerSettings,
    standing: watch::Receiver<Standing>,
    authorizer: Arc<dyn PeerAuthorizer>,
    metrics: RpcMetrics,
    stop: CancellationToken,
}

impl Front {
    pub(super) fn new(parts: ServerParts, stop: CancellationToken) -> Self {
        Self {
            env: parts.env,
            settings: parts.settings,
            standing: parts.standing,
            authorizer: parts.authorizer,
            metrics: parts.metrics,
            stop,
        }
    }

    /// Lets a call in, or says why not.
    pub(super) fn begin<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<Call, Status> {
        let mut call = Call {
            rpc,
            parts: None,
            standing: self.standing.clone(),
            stop: self.stop.clone(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            started: self.env.clock.now(),
            is_counted: false,
        };
        let let_in = self.let_in(rpc, request, &mut call);
        match let_in {
            Ok(()) => Ok(call),
            Err(status) => {
                call.count(status.code());
                Err(status)
            }
        }
    }

    fn let_in<T>(&self, rpc: Rpc, request: &Request<T>, call: &mut Call) -> Result<(), Status> {
        let peer = Peer::of(request);
        if let Err(denied) = self.authorizer.authorize(&peer, rpc.name()) {
            tracing::warn!(peer = ?peer.address, method = denied.method, "a peer was refused");
            return Err(Status::permission_denied(denied.to_string()));
        }
        if self.stop.is_cancelled() {
            return Err(status::of_standby(None, "this process is going away"));
        }
        match &*call.standing.borrow_and_update() {
            Standing::Active(parts) => call.parts = Some(parts.clone()),
            Standing::Standby { active, reason } => {
                return Err(status::of_standby(active.as_deref(), reason));
            }
        }
        Ok(())
    }
}

/// A call that has begun. Counted when it ends, also when its caller goes away.
#[derive(Debug)]
pub(super) struct Call {
    rpc: Rpc,
    parts: Option<Parts>,
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
    env: Env,
    metrics: RpcMetrics,
    started: MonoTime,
    is_counted: bool,
}

impl Call {
    /// Who answers it.
    pub(super) fn parts(&self) -> Result<Parts, Status> {
        let parts = self.parts.clone();
        parts.ok_or_else(|| status::of_standby(None, "this process is not active"))
    }

    /// Ends when streams must: the server stops, or another process answers from now on. Cancel-safe.
    pub(super) async fn closing(&self) {
        let mut standing = self.standing.clone();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = async {
                if standing.changed().await.is_err() {
                    // It will not change any more.
                    std::future::pending::<()>().await;
                }
            } => {}
        }
    }

    /// What a stream ends with when it must.
    pub(super) fn closed(&self) -> Status {
        match &*self.standing.borrow() {
            Standing::Standby { active, reason } => status::of_standby(active.as_deref(), reason),
            Standing::Active(_) => status::of_standby(None, "this process is going away"),
        }
    }

    /// Carries out a call that is no stream.
    pub(super) async fn run<T>(
        mut self,
        work: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<Response<T>, Status> {
        let result = work.await;
        self.end(result.as_ref().err());
        result.map(Response::new)
    }

    /// Counts the end, with its error if there was one.
    pub(super) fn end(&mut self, error: Option<&Status>) {
        if let Some(status) = error {
            tracing::debug!(method = self.rpc.name(), %status, "a call of a peer failed");
        }
        self.count(error.map_or(Code::Ok, Status::code));
    }

    fn count(&mut self, code: Code) {
        if !self.is_counted {
            self.is_counted = true;
            let took = self.env.clock.now() - self.started;
            self.metrics.call(Side::Server, self.rpc, code, took);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nobody has counted it, so its future was dropped: the caller went away or its time was up.
        self.count(Code::Cancelled);
    }
}
