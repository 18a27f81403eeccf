//! Consumer groups, as operators look after them.

use tidelog_api::v1;

use crate::call::{Retry, call};
use crate::log::checked;
use crate::{Client, ClientError};

/// Lists, describes and deletes groups, and shows and sets how far they have come.
///
/// All requests say what shall be, not what shall change, so all are tried again when they fail.
#[derive(Clone, Debug)]
pub struct GroupAdmin {
    client: Client,
}

/// Makes one call of the group service with the token of the client.
macro_rules! group_call {
    ($self:ident, $method:ident, $request:expr) => {{
        let request = $request;
        let service = $self.client.group_service();
        let response = call(&$self.client, Retry::Always, || {
            let (mut service, request) = (service.clone(), request.clone());
            async move { service.$method(request).await }
        })
        .await?;
        $self.client.token().set(response.token.clone());
        response
    }};
}

impl GroupAdmin {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists all groups in one of these states and of one of these protocols, where empty stands for all; ordered
    /// by name.
    pub async fn list(
        &self,
        states: &[v1::GroupState],
        protocols: &[v1::GroupProtocol],
    ) -> Result<Vec<v1::GroupSummary>, ClientError> {
        let mut groups = Vec::new();
        let mut request = v1::ListGroupsRequest {
            page_size: 1_000,
            states: states.iter().map(|state| (*state).into()).collect(),
            protocols: protocols.iter().map(|it| (*it).into()).collect(),
            token: self.client.token().get(),
            ..v1::ListGroupsRequest::default()
        };
        loop {
            let page = group_call!(self, list_groups, request.clone());
            groups.extend(page.groups);
            if page.next_page_token.is_empty() {
                groups.sort_by(|one, other| one.name.cmp(&other.name));
                return Ok(groups);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Describes at most 100 groups; answers one result for each, in their order.
    pub async fn describe(
        &self,
        names: &[String],
    ) -> Result<Vec<v1::DescribeGroupResult>, ClientError> {
        let request = v1::DescribeGroupsRequest {
            names: names.to_vec(),
            token: self.client.token().get(),
        };
        checked(
            group_call!(self, describe_groups, request).results,
            names.len(),
        )
    }

    /// The committed offsets of a group, with its lag. A group that does not exist has none.
    pub async fn offsets(&self, group: &str) -> Result<Vec<v1::GroupOffset>, ClientError> {
        let mut offsets = Vec::new();
        let mut request = v1::ListGroupOffsetsRequest {
            group: group.to_owned(),
            page_size: 10_000,
            token: self.client.token().get(),
            ..v1::ListGroupOffsetsRequest::default()
        };
        loop {
            let page = group_call!(self, list_group_offsets, request.clone());
            offsets.extend(page.offsets);
            if page.next_page_token.is_empty() {
                return Ok(offsets);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Sets or deletes at most 10,000 committed offsets of a group without members; answers one result for each
    /// change, in their order.
    pub async fn alter_offsets(
        &self,
        group: &str,
        changes: Vec<v1::GroupOffsetChange>,
    ) -> Result<Vec<v1::AlterGroupOffsetResult>, ClientError> {
        let asked = changes.len();
        let request = v1::AlterGroupOffsetsRequest {
            group: group.to_owned(),
            changes,
            token: self.client.token().get(),
        };
        checked(
            group_call!(self, alter_group_offsets, request).results,
            asked,
        )
    }

    /// Deletes at most 100 groups without members, with their offsets; answers one result for each, in their
    /// order. A deletion that was tried again may say that there is no such group.
    pub async fn delete(
        &self,
        names: &[String],
    ) -> Result<Vec<v1::DeleteGroupResult>, ClientError> {
        let request = v1::DeleteGroupsRequest {
            names: names.to_vec(),
            token: self.client.token().get(),
        };
        checked(
            group_call!(self, delete_groups, request).results,
            names.len(),
        )
    }
}
