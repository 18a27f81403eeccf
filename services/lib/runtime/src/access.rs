//! Who may do what, and how much of it: the two questions that every request is asked.
//!
//! Both are answered from memory, so that they can stand on the path of each request: an implementation
//! that keeps its rules elsewhere follows changes of them in the background. A front end asks
//! [`Authorizer`] before it does anything for the caller and [`Quota`] once it knows the size of what is
//! asked for. The implementations that allow everything are for a cluster without access control.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tidelog_types::Tenant;

/// Who asks, as far as the front end knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who the caller has proved to be.
    pub principal: Principal,
    /// Whose data the caller works on.
    pub tenant: Tenant,
    /// What the client calls itself; not proved, for quotas and logs.
    pub client_id: String,
    /// The zone that the client says it is in; empty if it does not say.
    pub zone: String,
}

impl Caller {
    /// A caller who has proved nothing and said nothing.
    pub fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            tenant: Tenant::new(0),
            client_id: String::new(),
            zone: String::new(),
        }
    }
}

/// Who a caller has proved to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody in particular.
    Anonymous,
    /// A user by name.
    User(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// The cluster as a whole.
    Cluster,
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group or queue by name.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Group(name) => write!(f, "group `{name}`"),
            Self::TransactionalId(name) => write!(f, "transactional id `{name}`"),
        }
    }
}

/// What a request wants to do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Read records, or take part in a group.
    Read,
    /// Append records.
    Write,
    /// Make a topic.
    Create,
    /// Delete a topic or records, or take a deletion back.
    Delete,
    /// Add partitions.
    Alter,
    /// See that something exists, and its partitions and offsets.
    Describe,
    /// See configuration.
    DescribeConfigs,
    /// Change configuration.
    AlterConfigs,
    /// Ask for a producer id.
    IdempotentWrite,
}

impl Operation {
    /// The name in errors, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Alter => "alter",
            Self::Describe => "describe",
            Self::DescribeConfigs => "describe configs of",
            Self::AlterConfigs => "alter configs of",
            Self::IdempotentWrite => "write idempotently to",
        }
    }
}

/// The caller may not do this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{principal}` may not {operation} {resource}")]
pub struct Denied {
    /// Who.
    pub principal: String,
    /// What they wanted.
    pub operation: &'static str,
    /// To what.
    pub resource: String,
}

impl Denied {
    /// Says that `caller` may not do `operation` to `resource`.
    pub fn new(caller: &Caller, operation: Operation, resource: Resource<'_>) -> Self {
        Self {
            principal: caller.principal.to_string(),
            operation: operation.as_str(),
            resource: resource.to_string(),
        }
    }
}

/// Decides who may do what.
pub trait Authorizer: fmt::Debug + Send + Sync + 'static {
    /// Whether `caller` may do `operation` to `resource`. Never blocks.
    fn authorize(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), Denied>;
}

/// What a request takes from the caller's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Requests.
    pub requests: u32,
    /// Bytes that come in.
    pub bytes_in: u64,
    /// Bytes that go out.
    pub bytes_out: u64,
}

/// How a quota answers a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Go on.
    Granted,
    /// The charge is taken, but the next request shall wait this long: the answer says so, and the front
    /// end reads nothing from the connection until then.
    Throttled(Duration),
    /// The charge is not taken; the request is refused and may be tried again after this long.
    Refused(Duration),
}

/// Decides how much a caller may do.
pub trait Quota: fmt::Debug + Send + Sync + 'static {
    /// Takes `charge` from what `caller` has on `resource`. Never blocks.
    fn charge(&self, caller: &Caller, resource: Resource<'_>, charge: Charge) -> Allowance;
}

/// Everyone may do everything, as much as they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn authorize(&self, _: &Caller, _: Operation, _: Resource<'_>) -> Result<(), Denied> {
        Ok(())
    }
}

impl Quota for AllowAll {
    fn charge(&self, _: &Caller, _: Resource<'_>, _: Charge) -> Allowance {
        Allowance::Granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_who_what_and_to_which_resource() {
        let caller = Caller {
            principal: Principal::User("ann".to_owned()),
            ..Caller::anonymous()
        };
        let denied = Denied::new(&caller, Operation::Write, Resource::Topic("orders"));
        assert_eq!(
            denied.to_string(),
            "`user:ann` may not write topic `orders`"
        );
    }

    #[test]
    fn allow_all_allows() {
        let caller = Caller::anonymous();
        assert_eq!(
            AllowAll.authorize(&caller, Operation::Delete, Resource::Cluster),
            Ok(())
        );
        let charge = Charge {
            requests: 1,
            bytes_in: u64::MAX,
            bytes_out: 0,
        };
        assert_eq!(
            AllowAll.charge(&caller, Resource::Cluster, charge),
            Allowance::Granted
        );
    }
}
