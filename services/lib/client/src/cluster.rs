//! The cluster itself: its members and its shards.

use tidelog_api::v1;

use crate::call::{Retry, call};
use crate::{Client, ClientError};

/// Lists members and shards, and drains members.
#[derive(Clone, Debug)]
pub struct ClusterClient {
    client: Client,
}

/// Makes one call of the cluster service with the token of the client.
macro_rules! cluster_call {
    ($self:ident, $method:ident, $request:expr) => {{
        let request = $request;
        let service = $self.client.cluster_service();
        // Nothing here does harm when it is done twice.
        let response = call(&$self.client, Retry::Always, || {
            let (mut service, request) = (service.clone(), request.clone());
            async move { service.$method(request).await }
        })
        .await?;
        $self.client.token().set(response.token.clone());
        response
    }};
}

impl ClusterClient {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The processes that are alive, as the broker that answers knows them.
    pub async fn members(&self) -> Result<Vec<v1::Member>, ClientError> {
        let token = self.client.token().get();
        let request = v1::ListMembersRequest { token };
        Ok(cluster_call!(self, list_members, request).members)
    }

    /// The shards and their owners, as the broker that answers knows them.
    pub async fn shards(&self) -> Result<Vec<v1::Shard>, ClientError> {
        let token = self.client.token().get();
        let request = v1::ListShardsRequest { token };
        Ok(cluster_call!(self, list_shards, request).shards)
    }

    /// Drains a member: it serves on, but gives its shards to others.
    pub async fn drain(&self, member_id: &str) -> Result<(), ClientError> {
        let request = v1::DrainMemberRequest {
            member_id: member_id.to_owned(),
            token: self.client.token().get(),
        };
        cluster_call!(self, drain_member, request);
        Ok(())
    }

    /// Ends the draining of a member.
    pub async fn undrain(&self, member_id: &str) -> Result<(), ClientError> {
        let request = v1::UndrainMemberRequest {
            member_id: member_id.to_owned(),
            token: self.client.token().get(),
        };
        cluster_call!(self, undrain_member, request);
        Ok(())
    }
}
