//! Users, of which there are none: `DescribeUserScramCredentials`, `AlterUserScramCredentials` and the requests of
//! delegation tokens.

use std::collections::BTreeSet;

use tidelog_kafka_codec::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use tidelog_kafka_codec::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use tidelog_kafka_codec::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    CreateDelegationTokenResponse, DescribeDelegationTokenResponse,
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    ExpireDelegationTokenResponse, RenewDelegationTokenResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::errors::Refusal;

/// Who everybody is that has not said who they are.
const ANONYMOUS: (&str, &str) = ("User", "ANONYMOUS");

fn unknown(user: &str) -> Refusal {
    let message = format!("there is no user `{user}`");
    Refusal::new(ErrorCode::ResourceNotFound, message)
}

impl Call {
    pub(crate) fn describe_user_scram_credentials(
        &self,
        request: DescribeUserScramCredentialsRequest,
    ) -> DescribeUserScramCredentialsResponse {
        let allowed = self.may(Operation::Describe, Resource::Cluster);
        if let Err(refusal) = allowed {
            let (error_code, error_message) = self.refused(Some(&refusal));
            return DescribeUserScramCredentialsResponse {
                error_code,
                error_message,
                ..DescribeUserScramCredentialsResponse::default()
            };
        }
        let users = request.users.unwrap_or_default().into_iter();
        let users: BTreeSet<ByteString> = users.map(|user| user.name).collect();
        let results = users.into_iter().map(|user| {
            let (error_code, error_message) = self.refused(Some(&unknown(&user)));
            DescribeUserScramCredentialsResult {
                user,
                error_code,
                error_message,
                ..DescribeUserScramCredentialsResult::default()
            }
        });
        DescribeUserScramCredentialsResponse {
            results: results.collect(),
            ..DescribeUserScramCredentialsResponse::default()
        }
    }

    pub(crate) fn alter_user_scram_credentials(
        &self,
        request: AlterUserScramCredentialsRequest,
    ) -> AlterUserScramCredentialsResponse {
        let allowed = self.may(Operation::Alter, Resource::Cluster);
        let deleted = request.deletions.into_iter().map(|it| {
            let refusal = unknown(&it.name);
            (it.name, refusal)
        });
        let set = request.upsertions.into_iter().map(|it| {
            let message = "clients of this listener do not say who they are";
            (it.name, Refusal::new(ErrorCode::SecurityDisabled, message))
        });
        let results = deleted.chain(set).map(|(user, refusal)| {
            let refusal = allowed.as_ref().err().unwrap_or(&refusal);
            let (error_code, error_message) = self.refused(Some(refusal));
            AlterUserScramCredentialsResult {
                user,
                error_code,
                error_message,
            }
        });
        AlterUserScramCredentialsResponse {
            results: results.collect(),
            ..AlterUserScramCredentialsResponse::default()
        }
    }

    /// What everybody hears of tokens. They stand for users, so who is none has nothing to do with them.
    fn no_tokens(&self) -> i16 {
        let code = ErrorCode::DelegationTokenRequestNotAllowed;
        let refusal = self.never(Operation::Describe, code, "there are no users");
        self.code(refusal.code)
    }

    pub(crate) fn create_delegation_token(&self) -> CreateDelegationTokenResponse {
        let (kind, name) = ANONYMOUS;
        let mut response = CreateDelegationTokenResponse {
            error_code: self.no_tokens(),
            principal_type: ByteString::from_static(kind),
            principal_name: ByteString::from_static(name),
            issue_timestamp_ms: -1,
            expiry_timestamp_ms: -1,
            max_timestamp_ms: -1,
            ..CreateDelegationTokenResponse::default()
        };
        if self.version >= 3 {
            response.token_requester_principal_type = ByteString::from_static(kind);
            response.token_requester_principal_name = ByteString::from_static(name);
        }
        response
    }

    pub(crate) fn renew_delegation_token(&self) -> RenewDelegationTokenResponse {
        RenewDelegationTokenResponse {
            error_code: self.no_tokens(),
            expiry_timestamp_ms: -1,
            ..RenewDelegationTokenResponse::default()
        }
    }

    pub(crate) fn expire_delegation_token(&self) -> ExpireDelegationTokenResponse {
        ExpireDelegationTokenResponse {
            error_code: self.no_tokens(),
            expiry_timestamp_ms: -1,
            ..ExpireDelegationTokenResponse::default()
        }
    }

    pub(crate) fn describe_delegation_token(&self) -> DescribeDelegationTokenResponse {
        DescribeDelegationTokenResponse {
            error_code: self.no_tokens(),
            ..DescribeDelegationTokenResponse::default()
        }
    }
}
