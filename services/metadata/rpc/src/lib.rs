//! The metadata service between processes: `tidelog.internal.v1` over the seams of `tidelog-metadata-api`.
//!
//! Whoever holds a [`Log`](tidelog_metadata_api::Log), a [`Catalogue`](tidelog_metadata_api::Catalogue), a
//! [`Cluster`](tidelog_metadata_api::Cluster) or [`Groups`](tidelog_metadata_api::Groups) cannot tell whether it is the service itself, a [`RemoteNode`]
//! that stands for it in another process, or a [`Router`] that finds the owner of each shard.
//!
//! ```text
//!  broker -- Router --+-- local service
//!                     +-- RemoteNode ==== HTTP/2 ==== serve() -- MetadataService
//!                     +-- RemoteNode ==== HTTP/2 ==== serve() -- MetadataService
//! ```
//!
//! Safety rests on the sequencers: a commit that is asked for twice, at whomever, has one result. What is
//! kept here is order (calls of one process reach an owner in the order in which they are made), and that no
//! bound is shown below one that was shown.

mod client;
mod events;
mod following;
mod metrics;
mod router;
mod rpc;
mod server;
mod settings;
mod status;
mod wire;

pub use client::{PeerWatch, Probe, RemoteNode, SetupError};
pub use metrics::RpcMetrics;
pub use router::{LocalMember, Router, RouterError, RouterParts};
pub use server::{
    AllowPeers, Parts, Peer, PeerAuthorizer, PeerDenied, ServeError, ServerParts, Standing, serve,
};
pub use settings::{ClientSettings, ServerSettings};
