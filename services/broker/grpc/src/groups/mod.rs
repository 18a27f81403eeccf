//! `GroupService`: groups as operators see them.

mod convert;
mod offsets;

use tidelog_api::{ApiError, v1};
use tidelog_metadata_api::{GroupDescription, GroupFilter, GroupName, GroupsError};
use tidelog_runtime::access::{Caller, Operation, Resource};

use crate::errors::group_error;
use crate::front::{Front, ONE_REQUEST};
use crate::settings::REQUEST_GROUPS_MAX;
use crate::topics::{hex, page_token};
pub(crate) use convert::Topics;
use convert::{kind, state, to_summary};

/// Groups in a page that does not say how many.
const PAGE_SIZE_DEFAULT: u32 = 100;
/// Groups in a page, at most.
const PAGE_SIZE_MAX: u32 = 1_000;

/// The name of a group as it came over the wire.
pub(crate) fn group_name(name: &str) -> Result<GroupName, ApiError> {
    GroupName::new(name).map_err(|error| ApiError::invalid(error.to_string()))
}

/// What was asked for, without what is unknown; none at all if only that was asked for.
fn known<W: TryFrom<i32>, T>(wanted: &[i32], read: impl Fn(W) -> Option<T>) -> Option<Vec<T>> {
    let found = wanted
        .iter()
        .filter_map(|raw| read(W::try_from(*raw).ok()?));
    let found: Vec<T> = found.collect();
    (wanted.is_empty() || !found.is_empty()).then_some(found)
}

impl Front {
    pub(crate) async fn list_groups(
        &self,
        caller: &Caller,
        request: v1::ListGroupsRequest,
    ) -> Result<v1::ListGroupsResponse, ApiError> {
        let (on, token) = (Resource::Cluster, &request.token);
        let tokens = self.enter(caller, Operation::Describe, on, token).await?;
        let size = match request.page_size {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let after = page_token(&request.page_token)?;
        let mut response = v1::ListGroupsResponse::default();
        let filter = known(&request.states, state).zip(known(&request.protocols, kind));
        if let Some((states, kinds)) = filter {
            let filter = GroupFilter { states, kinds };
            let groups = self.engine().groups();
            let page = groups.list_groups(&filter, &after, size).await;
            let page = page.map_err(|error| group_error(&error))?;
            let visible = page.groups.iter().filter(|listing| {
                let on = Resource::Group(listing.group.as_str());
                let authorizer = &self.parts.authorizer;
                authorizer
                    .authorize(caller, Operation::Describe, on)
                    .is_ok()
            });
            response.groups = visible.map(to_summary).collect();
            response.next_page_token = hex(&page.next);
        }
        response.token = self.token(tokens);
        Ok(response)
    }

    /// The names that the caller may do something to, and for each why not.
    async fn allowed_groups(
        &self,
        caller: &Caller,
        operation: Operation,
        names: &[String],
    ) -> Result<Vec<Result<GroupName, ApiError>>, ApiError> {
        if names.is_empty() || names.len() > REQUEST_GROUPS_MAX {
            let message = format!("a request has 1 to {REQUEST_GROUPS_MAX} groups");
            return Err(ApiError::invalid(message));
        }
        let mut checked = Vec::with_capacity(names.len());
        for name in names {
            let on = Resource::Group(name);
            let allowed = self.allow(caller, operation, on, ONE_REQUEST).await;
            checked.push(allowed.and_then(|()| group_name(name)));
        }
        Ok(checked)
    }

    pub(crate) async fn describe_groups(
        &self,
        caller: &Caller,
        request: v1::DescribeGroupsRequest,
    ) -> Result<v1::DescribeGroupsResponse, ApiError> {
        let operation = Operation::Describe;
        let checked = self
            .allowed_groups(caller, operation, &request.names)
            .await?;
        let tokens = self.catch_up(&request.token).await?;
        let names: Vec<GroupName> = checked.iter().flatten().cloned().collect();
        let described = self.engine().groups().describe_groups(&names).await;
        let mut described = described.into_iter();
        let mut results = Vec::with_capacity(checked.len());
        for (name, checked) in request.names.into_iter().zip(checked) {
            let group = match checked {
                Ok(_) => {
                    let description = described.next().unwrap_or(Err(GroupsError::Unknown));
                    self.described(&name, description).await
                }
                Err(error) => Err(error),
            };
            let (group, error) = match group {
                Ok(group) => (Some(group), None),
                Err(error) => (None, Some(error.to_proto())),
            };
            results.push(v1::DescribeGroupResult { name, group, error });
        }
        Ok(v1::DescribeGroupsResponse {
            results,
            token: self.token(tokens),
        })
    }

    async fn described(
        &self,
        name: &str,
        description: Result<GroupDescription, GroupsError>,
    ) -> Result<v1::Group, ApiError> {
        match description.map_err(|error| group_error(&error))? {
            GroupDescription::Classic(classic) => Ok(convert::classic(name, classic)),
            GroupDescription::Consumer(consumer) => convert::consumer(self, name, consumer).await,
        }
    }

    pub(crate) async fn delete_groups(
        &self,
        caller: &Caller,
        request: v1::DeleteGroupsRequest,
    ) -> Result<v1::DeleteGroupsResponse, ApiError> {
        let operation = Operation::Delete;
        let checked = self
            .allowed_groups(caller, operation, &request.names)
            .await?;
        let tokens = self.catch_up(&request.token).await?;
        let names: Vec<GroupName> = checked.iter().flatten().cloned().collect();
        let deleted = self.engine().groups().delete_groups(&names).await;
        let mut deleted = deleted.into_iter();
        let results = request
            .names
            .into_iter()
            .zip(checked)
            .map(|(name, checked)| {
                let result = checked.and_then(|_| {
                    let result = deleted.next().unwrap_or(Err(GroupsError::Unknown));
                    result.map_err(|error| group_error(&error))
                });
                let error = result.err().map(|error| error.to_proto());
                v1::DeleteGroupResult { name, error }
            });
        Ok(v1::DeleteGroupsResponse {
            results: results.collect(),
            token: self.token(tokens),
        })
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::GroupState;

    use super::*;

    #[test]
    fn a_filter_of_unknown_states_alone_matches_nothing() {
        let stable = i32::from(v1::GroupState::Stable);
        assert_eq!(known(&[], state), Some(Vec::new()));
        assert_eq!(known(&[stable, 99], state), Some(vec![GroupState::Stable]));
        assert_eq!(known(&[99], state), None);
        assert_eq!(known(&[0], state), None);
    }
}
