//! Errors as they cross the wire, in both of their forms.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tidelog_types::ErrorCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::code;
use crate::v1;

/// The domain of every `google.rpc.ErrorInfo` of this service.
pub const ERROR_DOMAIN: &str = "tidelog.dev";

/// Metadata key of a status that says that the request may have taken effect.
const OUTCOME_UNKNOWN: &str = "outcome_unknown";

/// Longest message that goes into a status: its trailer counts against the peer's header limit.
const MESSAGE_BYTES_MAX: usize = 2048;

/// An error of the service: the same facts whether it ends an RPC or concerns one item of it.
///
/// Round-trips through [`ApiError::to_status`] and [`ApiError::to_proto`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ApiError {
    /// What went wrong.
    pub code: ErrorCode,
    /// For people: what happened and what to do.
    pub message: String,
    /// Whether what was asked for may have happened in spite of the error.
    pub outcome_unknown: bool,
    /// How long to wait before a retry, if the error is retriable and the service says so.
    pub retry_after: Option<Duration>,
    /// Facts by name, such as the valid range of offsets.
    pub metadata: BTreeMap<String, String>,
}

impl ApiError {
    /// An error without further facts, whose outcome is known.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            outcome_unknown: false,
            retry_after: None,
            metadata: BTreeMap::new(),
        }
    }

    /// A request that breaks a documented rule.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: &dyn fmt::Display) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// The same, asking for a wait before the retry.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, of which nobody knows whether the request took effect.
    #[must_use]
    pub const fn with_unknown_outcome(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }

    /// Whether the same request may succeed later without a change.
    pub const fn is_retriable(&self) -> bool {
        self.code.is_retriable()
    }

    /// The status that ends an RPC.
    pub fn to_status(&self) -> Status {
        let mut metadata: HashMap<String, String> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if self.outcome_unknown {
            metadata.insert(OUTCOME_UNKNOWN.to_owned(), true.to_string());
        }
        let mut details = ErrorDetails::new();
        details.set_error_info(self.code.as_str(), ERROR_DOMAIN, metadata);
        if self.is_retriable() {
            details.set_retry_info(self.retry_after);
        }
        Status::with_error_details(code::to_grpc(self.code), shortened(&self.message), details)
    }

    /// Reads a status, from this service or from the transport below it.
    ///
    /// A status without our details comes from a proxy, from the gRPC library or from a connection that
    /// broke: then the outcome counts as unknown unless the status itself says that nothing was done.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let ours = details
            .error_info()
            .filter(|info| info.domain == ERROR_DOMAIN);
        let Some(info) = ours else {
            return Self::from_foreign_status(status);
        };
        let mut metadata: BTreeMap<String, String> = info
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let outcome_unknown = metadata.remove(OUTCOME_UNKNOWN).is_some();
        Self {
            // A newer service may have more codes; its status still says which kind it is.
            code: ErrorCode::from_name(&info.reason)
                .unwrap_or_else(|| code::from_grpc(status.code())),
            message: status.message().to_owned(),
            outcome_unknown,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            metadata,
        }
    }

    fn from_foreign_status(status: &Status) -> Self {
        // What the gRPC library says about a broken connection has a cause; what a peer says has none.
        let broken = std::error::Error::source(status).is_some() || status.code() == Code::Unknown;
        let code = if broken && !matches!(status.code(), Code::DeadlineExceeded) {
            ErrorCode::Unavailable
        } else {
            code::from_grpc(status.code())
        };
        let unknown = matches!(
            code,
            ErrorCode::Unavailable
                | ErrorCode::DeadlineExceeded
                | ErrorCode::Cancelled
                | ErrorCode::Internal
        );
        let mut error = Self::new(code, status.message());
        error.outcome_unknown = unknown;
        error
    }

    /// The error of one item.
    pub fn to_proto(&self) -> v1::Error {
        v1::Error {
            code: code::to_proto(self.code).into(),
            message: self.message.clone(),
            retriable: self.is_retriable(),
            outcome_unknown: self.outcome_unknown,
            retry_after: self
                .retry_after
                .and_then(|wait| prost_types::Duration::try_from(wait).ok()),
            metadata: self.metadata.clone(),
        }
    }

    /// Reads the error of one item.
    pub fn from_proto(error: v1::Error) -> Self {
        // A code of a newer service: all that matters of it is whether to retry.
        let unknown = if error.retriable {
            ErrorCode::Unavailable
        } else {
            ErrorCode::Internal
        };
        Self {
            code: code::from_proto(error.code()).unwrap_or(unknown),
            message: error.message,
            outcome_unknown: error.outcome_unknown,
            retry_after: error
                .retry_after
                .and_then(|wait| Duration::try_from(wait).ok()),
            metadata: error.metadata,
        }
    }
}

impl From<&ApiError> for Status {
    fn from(error: &ApiError) -> Self {
        error.to_status()
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        error.to_status()
    }
}

/// Cuts a message at a character.
fn shortened(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors() -> impl Iterator<Item = ApiError> {
        ErrorCode::ALL.into_iter().map(|code| {
            let error = ApiError::new(code, format!("`{code}` it is")).with("next_offset", &7);
            if code.is_retriable() {
                error
                    .with_retry_after(Duration::from_millis(1500))
                    .with_unknown_outcome()
            } else {
                error
            }
        })
    }

    #[test]
    fn every_code_survives_a_status_with_its_facts() {
        for error in errors() {
            let status = error.to_status();
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(ApiError::from_status(&status), error);
        }
    }

    #[test]
    fn every_code_survives_as_the_error_of_an_item() {
        for error in errors() {
            let proto = error.to_proto();
            assert_eq!(proto.retriable, error.code.is_retriable());
            assert_eq!(ApiError::from_proto(proto), error);
        }
    }

    #[test]
    fn a_broken_connection_is_retriable_and_its_outcome_unknown() {
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        let error = ApiError::from_status(&broken);
        assert!(error.is_retriable() && error.outcome_unknown);
    }

    #[test]
    fn a_foreign_refusal_is_not_retriable_and_its_outcome_known() {
        let error = ApiError::from_status(&Status::permission_denied("no"));
        assert_eq!(error.code, ErrorCode::PermissionDenied);
        assert!(!error.is_retriable() && !error.outcome_unknown);
    }

    #[test]
    fn a_code_of_a_newer_service_is_judged_by_what_it_says_of_retries() {
        let newer = v1::Error {
            code: 9_999,
            retriable: true,
            ..v1::Error::default()
        };
        assert!(ApiError::from_proto(newer).is_retriable());
        let newer = v1::Error {
            code: 9_999,
            ..v1::Error::default()
        };
        assert!(!ApiError::from_proto(newer).is_retriable());
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = "\u{e9}".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(shortened(&long).len(), MESSAGE_BYTES_MAX);
        assert_eq!(shortened(&format!("a{long}")).len(), MESSAGE_BYTES_MAX - 1);
    }
}
