//! The view of one process, and whether it is there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_env::clock::timeout;
use tidelog_env::{Clock, Env};
use tidelog_metadata_api::ClusterView;
use tonic::Streaming;

use super::peer::Peer;
use crate::metrics::RpcMetrics;
use crate::rpc::Rpc;
use crate::settings::ClientSettings;
use crate::status::{CallError, Reach};
use crate::wire::{WireError, view_from};

/// Why a process that was asked for its view does not tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// It runs, and another one is active.
    Standby {
        /// Where that one is, as far as the standby knows.
        active: Option<String>,
    },
    /// Nobody listens there: the process is gone, unless the address is wrong.
    Refused,
    /// It does not answer, or with something that makes no sense: it may be gone, or just not reachable.
    Silent {
        /// What happened instead, for the log.
        reason: String,
    },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standby {
                active: Some(active),
            } => write!(f, "standby; active is `{active}`"),
            Self::Standby { active: None } => f.write_str("standby"),
            Self::Refused => f.write_str("nobody listens there"),
            Self::Silent { reason } => f.write_str(reason),
        }
    }
}

impl Probe {
    fn of(error: CallError) -> Self {
        match (error.kind, error.reach) {
            (Some(v1::failure::Kind::Standby(standby)), _) => {
                let active = standby.active_address;
                Self::Standby {
                    active: (!active.is_empty()).then_some(active),
                }
            }
            (None, Reach::Refused) => Self::Refused,
            (_, _) => Self::Silent {
                reason: error.message,
            },
        }
    }
}

/// Follows the view of one active process, which beats when there is nothing to tell.
///
/// A standby keeps one at the active process: when it ends, the active one is silent.
pub struct PeerWatch {
    stream: Streaming<v1::WatchResponse>,
    clock: Arc<dyn Clock>,
    silence: Duration,
    first: Option<Arc<ClusterView>>,
}

impl fmt::Debug for PeerWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerWatch")
            .field("silence", &self.silence)
            .finish_non_exhaustive()
    }
}

impl PeerWatch {
    /// Asks the process at `host:port` for its view, on a connection of its own.
    ///
    /// # Errors
    /// What the process is instead of an active one, known within `connect_timeout` and `silence`.
    pub async fn open(
        env: &Env,
        address: &str,
        settings: &ClientSettings,
        metrics: &RpcMetrics,
    ) -> Result<Self, Probe> {
        let peer = Peer::new(env.clone(), address, settings, metrics.clone());
        let peer = peer.map_err(|error| Probe::Silent {
            reason: tidelog_env::error_chain(&error),
        })?;
        Self::of(&peer).await
    }

    pub(crate) async fn of(peer: &Peer) -> Result<Self, Probe> {
        let silence = peer.settings.silence;
        let within = peer.settings.connect_timeout + silence;
        let mut client = peer.cluster();
        let opening = client.watch(v1::WatchRequest {});
        let stream = peer.open(Rpc::Watch, within, opening).await;
        let mut watch = Self {
            stream: stream.map_err(Probe::of)?,
            clock: Arc::clone(&peer.env.clock),
            silence,
            first: None,
        };
        let first = watch.receive().await.map_err(Probe::of)?;
        // The first message is a view, never a beat.
        let missing = || Probe::of(CallError::from(WireError::Missing("view")));
        watch.first = Some(first.ok_or_else(missing)?);
        Ok(watch)
    }

    /// The next view, the first one at once; `None` when the stream broke or the process has said nothing
    /// for too long. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<ClusterView>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            match self.receive().await {
                Ok(Some(view)) => return Some(view),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error = error.message, "the view of a peer ended");
                    return None;
                }
            }
        }
    }

    /// A view, or nothing but a beat.
    async fn receive(&mut self) -> Result<Option<Arc<ClusterView>>, CallError> {
        let message = timeout(self.clock.as_ref(), self.silence, self.stream.message()).await;
        let silent = |elapsed: tidelog_env::clock::Elapsed| {
            CallError::timed_out(format!("it was silent for `{:?}`", elapsed.0))
        };
        let message = message.map_err(silent)?;
        let message = message.map_err(|status| CallError::from_status(&status))?;
        let message =
            message.ok_or_else(|| CallError::timed_out("it ended the stream".to_owned()))?;
        let view = message.view.map(view_from).transpose();
        let view = view.map_err(CallError::from)?;
        Ok(view.map(Arc::new))
    }
}
