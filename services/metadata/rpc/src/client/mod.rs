//! One other process: its seams, called through a socket.

mod asks;
mod calls;
mod compactions;
mod follow;
mod groups;
mod janitor;
mod membership;
mod merges;
mod node;
mod peer;
mod pipe;
mod transactions;
mod watch;

pub use node::RemoteNode;
pub use peer::SetupError;
pub use watch::{PeerWatch, Probe};

pub(crate) use follow::{Source, follow};
pub(crate) use membership::join;
pub(crate) use peer::Peer;
