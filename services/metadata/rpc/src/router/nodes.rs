//! The processes that are known by their addresses, and the news of each.

use std::collections::HashMap;
use std::sync::Arc;

use tidelog_env::CancellationToken;
use tidelog_metadata_api::ClusterView;
use tidelog_types::MemberId;

use super::local::others;
use super::{LocalMember, Router};
use crate::client::{Peer, RemoteNode, SetupError, Source, follow};
use crate::server::Parts;

/// A process that can be asked.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) parts: Parts,
    pub(super) peer: Peer,
    pub(super) stop: CancellationToken,
}

/// The processes that can be asked.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_address: HashMap<String, Node>,
    /// Who is followed, at which address, until when.
    followed: HashMap<(MemberId, String), CancellationToken>,
    /// Where the view comes from.
    pub(super) home: Option<String>,
}

impl Nodes {
    pub(super) fn get(&self, address: &str) -> Option<Node> {
        self.by_address.get(address).cloned()
    }
}

impl Router {
    /// The process at an address; nothing is sent to it.
    pub(super) fn node(&self, address: &str) -> Result<Node, SetupError> {
        let mut nodes = self.inner.nodes.lock();
        if let Some(node) = nodes.by_address.get(address) {
            return Ok(node.clone());
        }
        let inner = &self.inner;
        let stop = inner.stop.child_token();
        let identity = (inner.cluster, inner.following.generation());
        let remote = RemoteNode::quiet(
            &inner.env,
            address,
            &inner.settings,
            &inner.metrics,
            identity,
            stop.clone(),
        )?;
        let peer = remote.peer().clone();
        let parts = Parts::of(Arc::new(remote));
        let node = Node { parts, peer, stop };
        nodes.by_address.insert(address.to_owned(), node.clone());
        Ok(node)
    }

    /// Whom to ask what anybody can answer: this process, then the one that the view comes from, then the
    /// others in the order of the view.
    pub(super) fn anybody(&self) -> Vec<Parts> {
        let local = self.inner.local.iter().filter_map(LocalMember::parts);
        let remote = self.remote_nodes().into_iter().map(|node| node.parts);
        local.chain(remote).collect()
    }

    /// The connections to other metadata processes, the one that the view comes from first.
    pub(super) fn remote_nodes(&self) -> Vec<Node> {
        let view = self.view();
        let home = self.inner.nodes.lock().home.clone();
        let mut addresses: Vec<String> = home.into_iter().collect();
        let members = others(self.inner.local.as_ref(), &view);
        for address in members.map(|(_, address)| address) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let nodes = addresses.iter().map(|address| self.node(address));
        nodes.filter_map(Result::ok).collect()
    }

    /// Opens what a view names anew and lets go of what it does not name any more.
    pub(super) fn settle_nodes(&self, view: &ClusterView) {
        let wanted: Vec<_> = others(self.inner.local.as_ref(), view).collect();
        for key in &wanted {
            match self.node(&key.1) {
                Ok(node) => self.follow_remote(key.clone(), node),
                Err(error) => {
                    let error = tidelog_env::error_chain(&error);
                    tracing::warn!(member = %key.0, error, "a metadata process cannot be reached");
                }
            }
        }
        let mut nodes = self.inner.nodes.lock();
        nodes.followed.retain(|key, stop| {
            let stays = wanted.contains(key);
            if !stays {
                stop.cancel();
            }
            stays
        });
        let home = nodes.home.clone();
        nodes.by_address.retain(|address, node| {
            let is_named = wanted.iter().any(|(_, named)| named == address);
            let stays = is_named || home.as_ref() == Some(address);
            if !stays {
                node.stop.cancel();
            }
            stays
        });
    }

    fn follow_remote(&self, key: (MemberId, String), node: Node) {
        let inner = &self.inner;
        let stop = node.stop.child_token();
        let mut nodes = inner.nodes.lock();
        if nodes.followed.contains_key(&key) {
            return;
        }
        let following = follow(
            inner.env.clone(),
            Source::Remote(node.peer),
            key.0,
            inner.following.clone(),
            stop.clone(),
        );
        nodes.followed.insert(key, stop);
        drop(nodes);
        drop(
            inner
                .env
                .supervisor
                .spawn("news of a metadata process", following),
        );
    }
}
