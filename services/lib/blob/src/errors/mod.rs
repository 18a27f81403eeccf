//! What an error of an object store means for the one who asked.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error;

/// What went wrong, as far as it changes what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object.
    NotFound,
    /// The bucket itself does not exist.
    NoSuchBucket,
    /// The object exists already, so it was not created. It may be our own, from an earlier attempt.
    AlreadyExists,
    /// The object is not the version that the request asked for.
    Precondition,
    /// Another conditional request on the same name was in flight; nothing was done.
    Conflict,
    /// The object was not modified since.
    NotModified,
    /// The credentials are known but may not do this.
    Denied,
    /// The credentials are missing, expired or wrong, or this machine's clock is.
    Unauthenticated,
    /// The store asks us to slow down.
    Throttled,
    /// The store failed, or could not be reached after the request may have been sent.
    Unavailable,
    /// The store could not be reached at all.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The answer was shorter or other than what it announced.
    BadAnswer,
    /// The disk is full.
    StorageFull,
    /// The file system is read-only.
    ReadOnly,
    /// The range lies outside the object.
    Range,
    /// The store does not do this.
    Unsupported,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Whether the same request may well succeed if it is sent again.
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::Throttled
                | Self::Unavailable
                | Self::Unreachable
                | Self::Timeout
                | Self::BadAnswer
        )
    }

    /// Whether a write that ended with this error may nevertheless be done, now or later. It errs on the
    /// side of "yes".
    pub const fn may_have_happened(self) -> bool {
        match self {
            Self::Unavailable
            | Self::Throttled
            | Self::Timeout
            | Self::BadAnswer
            | Self::AlreadyExists
            | Self::Precondition
            | Self::Other => true,
            Self::NotFound
            | Self::NoSuchBucket
            | Self::Conflict
            | Self::NotModified
            | Self::Denied
            | Self::Unauthenticated
            | Self::Unreachable
            | Self::StorageFull
            | Self::ReadOnly
            | Self::Range
            | Self::Unsupported => false,
        }
    }

    /// The stable name, as it stands in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NoSuchBucket => "no_such_bucket",
            Self::AlreadyExists => "already_exists",
            Self::Precondition => "precondition",
            Self::Conflict => "conflict",
            Self::NotModified => "not_modified",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::BadAnswer => "bad_answer",
            Self::StorageFull => "storage_full",
            Self::ReadOnly => "read_only",
            Self::Range => "range",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }
}

/// A response of an HTTP store that says no. The client below turns the plain ones into variants of
/// `object_store::Error`; the others keep this as their cause.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the store answered `{status}` `{code}`: {message}")]
pub struct StatusError {
    /// The HTTP status.
    pub status: u16,
    /// The store's own code, such as `SlowDown`; empty if it gave none.
    pub code: String,
    /// The store's own words, shortened.
    pub message: String,
}

/// One attempt had no answer within its deadline. It may still land.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no answer from the object store within `{0:?}`")]
pub struct AttemptTimedOut(pub Duration);

/// A body ended before, or went on after, the length that was announced.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the body of `{path}` has `{actual}` bytes where `{expected}` were announced")]
pub struct BodyLength {
    /// The object.
    pub path: String,
    /// What was announced.
    pub expected: u64,
    /// What came.
    pub actual: u64,
}

/// An earlier attempt of a write ended without an answer, so the write may be done whatever the last
/// attempt said.
#[derive(Debug, Error)]
#[error("an earlier attempt had no answer and may have been done")]
pub struct OutcomeUnknown {
    /// What the last attempt said.
    #[source]
    pub last: Box<dyn StdError + Send + Sync>,
}

/// The store's name in errors that this crate makes.
pub(crate) const STORE: &str = "tidelog";

/// Wraps a fact of ours as an error of the seam.
pub(crate) fn generic(source: impl StdError + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: STORE,
        source: Box::new(source),
    }
}

/// Notes on the error of a write that an earlier attempt of it may have been done.
pub(crate) fn mark_outcome_unknown(error: object_store::Error) -> object_store::Error {
    use object_store::Error;
    let wrap = |last| -> Box<dyn StdError + Send + Sync> { Box::new(OutcomeUnknown { last }) };
    match error {
        Error::Generic { store, source } => Error::Generic {
            store,
            source: wrap(source),
        },
        Error::NotFound { path, source } => Error::NotFound {
            path,
            source: wrap(source),
        },
        Error::PermissionDenied { path, source } => Error::PermissionDenied {
            path,
            source: wrap(source),
        },
        Error::Unauthenticated { path, source } => Error::Unauthenticated {
            path,
            source: wrap(source),
        },
        other => other,
    }
}

/// Whether the write that ended with this error may nevertheless be done, now or later: by the error's
/// kind, or because an attempt before it may have been.
pub fn may_have_happened(error: &object_store::Error) -> bool {
    classify(error).may_have_happened()
        || causes(error).any(<dyn std::error::Error + 'static>::is::<OutcomeUnknown>)
}

/// Tells what an error means.
pub fn classify(error: &object_store::Error) -> ErrorKind {
    use object_store::Error;
    // A more exact cause deep inside wins over the variant, e.g. the missing bucket of a 404.
    let cause = causes(error).find_map(classify_cause);
    match error {
        Error::NotFound { .. } => exact(error, 404, cause, ErrorKind::NotFound),
        Error::AlreadyExists { .. } => match cause {
            Some(ErrorKind::Conflict) => ErrorKind::Conflict,
            _ => ErrorKind::AlreadyExists,
        },
        Error::Precondition { .. } => ErrorKind::Precondition,
        Error::NotModified { .. } => ErrorKind::NotModified,
        Error::PermissionDenied { .. } => exact(error, 403, cause, ErrorKind::Denied),
        Error::Unauthenticated { .. } => ErrorKind::Unauthenticated,
        Error::NotImplemented { .. } | Error::NotSupported { .. } => ErrorKind::Unsupported,
        _ => cause.unwrap_or_else(|| classify_text(error)),
    }
}

/// The kind of a 403 or 404, sharpened by the store's own code in the response, which the client keeps in
/// the text of the error alone.
fn exact(
    error: &object_store::Error,
    status: u16,
    cause: Option<ErrorKind>,
    plain: ErrorKind,
) -> ErrorKind {
    let code = element(&error.to_string(), "Code").map(str::to_owned);
    let from_text = code.map(|code| {
        classify_status(&StatusError {
            status,
            code,
            message: String::new(),
        })
    });
    match from_text.or(cause) {
        Some(kind @ (ErrorKind::NoSuchBucket | ErrorKind::Unauthenticated)) => kind,
        _ => plain,
    }
}

/// The text of the first XML element of this name. S3's errors are flat and these texts have no markup.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}

/// The error and all its causes.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&(dyn StdError + 'static)| {
        (**error).source()
    })
}

fn classify_cause(cause: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    if let Some(status) = cause.downcast_ref::<StatusError>() {
        return Some(classify_status(status));
    }
    if cause.is::<AttemptTimedOut>() {
        return Some(ErrorKind::Timeout);
    }
    if cause.is::<BodyLength>() {
        return Some(ErrorKind::BadAnswer);
    }
    if let Some(http) = cause.downcast_ref::<HttpError>() {
        // A status that was carried through the HTTP layer lies below it and is more exact.
        let inner = http
            .source()
            .and_then(|inner| causes(inner).find_map(classify_cause));
        return Some(inner.unwrap_or_else(|| classify_http(http.kind())));
    }
    cause.downcast_ref::<io::Error>().and_then(classify_io)
}

const fn classify_http(kind: HttpErrorKind) -> ErrorKind {
    match kind {
        HttpErrorKind::Connect => ErrorKind::Unreachable,
        HttpErrorKind::Timeout => ErrorKind::Timeout,
        HttpErrorKind::Decode => ErrorKind::BadAnswer,
        _ => ErrorKind::Unavailable,
    }
}

fn classify_status(status: &StatusError) -> ErrorKind {
    match (status.code.as_str(), status.status) {
        ("NoSuchBucket", _) => ErrorKind::NoSuchBucket,
        (
            "ExpiredToken"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "RequestTimeTooSkewed"
            | "InvalidToken"
            | "TokenRefreshRequired",
            _,
        )
        | (_, 401) => ErrorKind::Unauthenticated,
        ("RequestTimeout", _) | (_, 408) => ErrorKind::Timeout,
        ("XMinioStorageFull", _) | (_, 507) => ErrorKind::StorageFull,
        ("SlowDown" | "SlowDownRead" | "SlowDownWrite", _) | (_, 429 | 503) => ErrorKind::Throttled,
        (_, 403) => ErrorKind::Denied,
        (_, 404) => ErrorKind::NotFound,
        (_, 409) => ErrorKind::Conflict,
        (_, 412) => ErrorKind::Precondition,
        (_, 416) => ErrorKind::Range,
        (_, 405 | 501) => ErrorKind::Unsupported,
        (_, 500..) => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

fn classify_io(error: &io::Error) -> Option<ErrorKind> {
    Some(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::ConnectionRefused => ErrorKind::Unreachable,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => ErrorKind::Unavailable,
        _ => return None,
    })
}

/// What only the text tells: `object_store` keeps these types to itself. Its version is pinned, and tests
/// of each backend would see a change.
fn classify_text(error: &object_store::Error) -> ErrorKind {
    const RANGE: [&str; 3] = [
        "Wanted range starting at",
        "Out of range of file",
        "Range started at",
    ];
    const BAD_ANSWER: [&str; 3] = ["non-partial response", "Content-Range header", ", got "];
    for cause in causes(error) {
        let text = cause.to_string();
        if RANGE.iter().any(|part| text.contains(part)) {
            return ErrorKind::Range;
        }
        if BAD_ANSWER.iter().any(|part| text.contains(part)) {
            return ErrorKind::BadAnswer;
        }
    }
    ErrorKind::Other
}

#[cfg(test)]
mod tests;
