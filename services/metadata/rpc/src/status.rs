//! Errors of whole RPCs: a `google.rpc.Status` with a `Failure` in its details, and back.

use std::error::Error;
use std::io;

use bytes::Bytes;
use prost::{Message as _, Name as _};
use tidelog_api::internal::v1;
use tidelog_metadata_api::{CatalogueError, ClusterError, LogError, MergeError, TransactionsError};
use tidelog_types::ErrorCode;
use tonic::{Code, ConnectError, Status};
use tonic_types::pb;

use crate::wire::{
    WireError, catalogue_failure_from, catalogue_failure_to, cluster_failure_from,
    cluster_failure_to, log_failure_from, log_failure_to, merge_failure_from, merge_failure_to,
    shortened,
};

/// What stands before the name of a message in a `google.protobuf.Any`.
const TYPE_URL: &str = "type.googleapis.com/";
/// The longest message of a status; details carry the rest.
const STATUS_MESSAGE_MAX: usize = 256;

fn status(code: Code, message: &str, kind: v1::failure::Kind) -> Status {
    let failure = v1::Failure { kind: Some(kind) };
    let mut message = shortened(message.to_owned());
    let mut end = message.len().min(STATUS_MESSAGE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    let details = pb::Status {
        code: code.into(),
        message: message.clone(),
        details: vec![prost_types::Any {
            type_url: format!("{TYPE_URL}{}", v1::Failure::full_name()),
            value: failure.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, Bytes::from(details.encode_to_vec()))
}

pub(crate) fn of_log(error: &LogError) -> Status {
    let kind = v1::failure::Kind::Log(log_failure_to(error));
    status(code_of(error.code()), &error.to_string(), kind)
}

pub(crate) fn of_catalogue(error: &CatalogueError) -> Status {
    let kind = v1::failure::Kind::Catalogue(catalogue_failure_to(error));
    status(code_of(error.code()), &error.to_string(), kind)
}

pub(crate) fn of_cluster(error: &ClusterError) -> Status {
    let kind = v1::failure::Kind::Cluster(cluster_failure_to(error));
    status(code_of(error.code()), &error.to_string(), kind)
}

pub(crate) fn of_merge(error: &MergeError) -> Status {
    let kind = v1::failure::Kind::Merge(merge_failure_to(error));
    let code = match error {
        MergeError::Gone => Code::NotFound,
        MergeError::BelowFloor(_) => Code::FailedPrecondition,
        MergeError::Malformed { .. } => Code::InvalidArgument,
        MergeError::Unavailable { .. } => Code::Unavailable,
    };
    status(code, &error.to_string(), kind)
}

pub(crate) fn of_standby(active: Option<&str>, reason: &str) -> Status {
    let kind = v1::failure::Kind::Standby(v1::Standby {
        active_address: active.unwrap_or_default().to_owned(),
        detail: shortened(reason.to_owned()),
    });
    let message = match active {
        Some(active) => format!("{reason}; active is `{active}`"),
        None => reason.to_owned(),
    };
    status(Code::Unavailable, &message, kind)
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(shortened(error.to_string()))
    }
}

/// The code that says roughly the same to tools that know only gRPC.
const fn code_of(code: ErrorCode) -> Code {
    match code {
        ErrorCode::OffsetOutOfRange => Code::OutOfRange,
        ErrorCode::UnknownTopic | ErrorCode::UnknownPartition => Code::NotFound,
        ErrorCode::TopicExists => Code::AlreadyExists,
        ErrorCode::FencingTokenMismatch => Code::FailedPrecondition,
        ErrorCode::Unavailable | ErrorCode::Fenced => Code::Unavailable,
        ErrorCode::DataLoss => Code::DataLoss,
        ErrorCode::InvalidArgument | ErrorCode::InvalidTopicName | ErrorCode::InvalidConfig => {
            Code::InvalidArgument
        }
        _ => Code::Internal,
    }
}

/// How far a call has come that failed without a word of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nobody listens at the address.
    Refused,
    /// It was not sent, or it was refused before anything was done for it.
    NotDone,
    /// It may have been carried out.
    MayBeDone,
}

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) struct CallError {
    /// What the service said, if it did.
    pub(crate) kind: Option<v1::failure::Kind>,
    pub(crate) reach: Reach,
    pub(crate) message: String,
}

impl CallError {
    /// The answer did not come in time.
    pub(crate) const fn timed_out(message: String) -> Self {
        Self {
            kind: None,
            reach: Reach::MayBeDone,
            message,
        }
    }

    pub(crate) fn from_status(status: &Status) -> Self {
        let kind = failure_of(status);
        let is_refusal = matches!(
            status.code(),
            Code::InvalidArgument
                | Code::OutOfRange
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
                | Code::ResourceExhausted
        );
        let reach = if kind.is_none() && is_refused(status) {
            Reach::Refused
        } else if kind.is_some() || is_refusal || cause::<ConnectError>(status).is_some() {
            Reach::NotDone
        } else {
            Reach::MayBeDone
        };
        // What the transport says of itself is in the causes; the status only repeats the first of them.
        let message = match status.source() {
            Some(source) => tidelog_env::error_chain(source),
            None => status.message().to_owned(),
        };
        Self {
            kind,
            reach,
            message: shortened(message),
        }
    }

    /// What whoever asked a log hears.
    pub(crate) fn into_log(self) -> LogError {
        match self.kind {
            Some(v1::failure::Kind::Log(failure)) => log_failure_from(failure),
            kind => LogError::Unavailable {
                reason: reason(kind.as_ref(), self.message),
            },
        }
    }

    /// What whoever asked the catalogue hears; for a change it matters whether it may have been made.
    pub(crate) fn into_catalogue(self, changes: bool) -> CatalogueError {
        match self.kind {
            Some(v1::failure::Kind::Catalogue(failure)) => catalogue_failure_from(failure),
            None if changes && self.reach == Reach::MayBeDone => {
                tracing::debug!(error = self.message, "a change may have been made");
                CatalogueError::Unknown
            }
            kind => CatalogueError::Unavailable {
                reason: reason(kind.as_ref(), self.message),
            },
        }
    }

    /// What whoever asked a coordinator of transactions hears.
    pub(crate) fn into_transactions(self) -> TransactionsError {
        if self.kind.is_none() && self.reach == Reach::MayBeDone {
            tracing::debug!(error = self.message, "a request may have been carried out");
            return TransactionsError::Unknown;
        }
        TransactionsError::Unavailable {
            reason: reason(self.kind.as_ref(), self.message),
        }
    }

    /// What whoever merges hears.
    pub(crate) fn into_merge(self) -> MergeError {
        match self.kind {
            Some(v1::failure::Kind::Merge(failure)) => merge_failure_from(failure),
            kind => MergeError::Unavailable {
                reason: reason(kind.as_ref(), self.message),
            },
        }
    }

    /// What whoever asked about the cluster hears.
    pub(crate) fn into_cluster(self) -> ClusterError {
        match self.kind {
            Some(v1::failure::Kind::Cluster(failure)) => cluster_failure_from(failure),
            kind => ClusterError::Unavailable {
                reason: reason(kind.as_ref(), self.message),
            },
        }
    }
}

impl From<WireError> for CallError {
    fn from(error: WireError) -> Self {
        Self::timed_out(format!("the answer makes no sense: {error}"))
    }
}

/// In words of an error of ours, whoever said it.
fn reason(kind: Option<&v1::failure::Kind>, message: String) -> String {
    match kind {
        Some(v1::failure::Kind::Standby(standby)) if !standby.active_address.is_empty() => {
            format!("{}; active is `{}`", standby.detail, standby.active_address)
        }
        Some(v1::failure::Kind::Standby(standby)) => standby.detail.clone(),
        _ => message,
    }
}

fn failure_of(status: &Status) -> Option<v1::failure::Kind> {
    let details = pb::Status::decode(status.details()).ok()?.details;
    let ours = |any: &&prost_types::Any| {
        any.type_url.strip_prefix(TYPE_URL) == Some(v1::Failure::full_name().as_str())
    };
    let any = details.iter().find(ours)?;
    v1::Failure::decode(any.value.as_slice()).ok()?.kind
}

/// The cause of a type among the causes of a status, if there is one.
fn cause<E: Error + 'static>(status: &Status) -> Option<&E> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn is_refused(status: &Status) -> bool {
    cause::<io::Error>(status).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_its_status() {
        let log = LogError::Corrupt {
            reason: "row 7".to_owned(),
        };
        let back = CallError::from_status(&of_log(&log));
        assert_eq!(back.reach, Reach::NotDone);
        assert_eq!(back.into_log(), log);
        let catalogue = CatalogueError::InvalidPageToken;
        let back = CallError::from_status(&of_catalogue(&catalogue));
        assert_eq!(back.into_catalogue(true), catalogue);
        let cluster = ClusterError::Unavailable {
            reason: "no".to_owned(),
        };
        let back = CallError::from_status(&of_cluster(&cluster));
        assert_eq!(back.into_cluster(), cluster);
    }

    #[test]
    fn a_standby_names_the_active_one_and_has_done_nothing() {
        let status = of_standby(Some("b:7071"), "standby");
        assert_eq!(status.code(), Code::Unavailable);
        let error = CallError::from_status(&status);
        assert_eq!(
            error.into_catalogue(true),
            CatalogueError::Unavailable {
                reason: "standby; active is `b:7071`".to_owned()
            }
        );
    }

    #[test]
    fn a_status_without_our_words_leaves_a_change_unknown_unless_it_was_refused() {
        let broken = Status::unavailable("the connection broke");
        let error = CallError::from_status(&broken).into_catalogue(true);
        assert_eq!(error, CatalogueError::Unknown);
        let question = CallError::from_status(&broken).into_catalogue(false);
        assert!(matches!(question, CatalogueError::Unavailable { .. }));
        let refused = CallError::from_status(&Status::permission_denied("no"));
        assert!(matches!(
            refused.into_catalogue(true),
            CatalogueError::Unavailable { .. }
        ));
    }

    #[test]
    fn a_long_text_is_cut_and_still_fits_a_trailer() {
        let status = of_log(&LogError::Unavailable {
            reason: "\u{e9}".repeat(100_000),
        });
        assert!(status.details().len() < 2_000);
        assert!(status.message().len() <= STATUS_MESSAGE_MAX);
    }
}
