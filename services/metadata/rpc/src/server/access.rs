//! Which peers may call what.

use std::fmt;
use std::net::SocketAddr;

use thiserror::Error;

/// Who calls, as far as the connection has proved it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The certificates that the peer has shown, its own first, each in DER; empty without mutual TLS. The
    /// connection has checked them against the authority of the cluster.
    pub certificates: Vec<Vec<u8>>,
    /// Where it calls from.
    pub address: Option<SocketAddr>,
}

impl Peer {
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        let certificates = request.peer_certs();
        let certificates = certificates.iter().flat_map(|shown| shown.iter());
        Self {
            certificates: certificates.map(|der| der.as_ref().to_vec()).collect(),
            address: request.remote_addr(),
        }
    }
}

/// The peer may not do this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("this peer may not call `{method}`")]
pub struct PeerDenied {
    /// Service and method.
    pub method: &'static str,
}

/// Decides which peers may call what. Every call asks before anything is done for it.
pub trait PeerAuthorizer: fmt::Debug + Send + Sync + 'static {
    /// Whether `peer` may call `method`, such as `SequencerService/Commit`. Never blocks.
    fn authorize(&self, peer: &Peer, method: &'static str) -> Result<(), PeerDenied>;
}

/// Whoever can connect may call everything: with mutual TLS these are the members of the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowPeers;

impl PeerAuthorizer for AllowPeers {
    fn authorize(&self, _: &Peer, _: &'static str) -> Result<(), PeerDenied> {
        Ok(())
    }
}
