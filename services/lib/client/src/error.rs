//! Errors as policy: each says whether to try again and whether what was asked for may have happened.

use thiserror::Error;
use tidelog_api::ApiError;
use tidelog_types::ErrorCode;

/// Why a request failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An endpoint, a client id or a token cannot be used.
    #[error("the client cannot be set up: {0}")]
    Setup(String),
    /// The service refused or failed, after the retries that make sense.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The service did not answer in time, after the retries that make sense.
    #[error("no answer from {endpoints} within `{waited:?}`")]
    TimedOut {
        /// Who was asked.
        endpoints: String,
        /// How long was waited.
        waited: std::time::Duration,
        /// What the last attempt said, if it said anything.
        #[source]
        last: Option<ApiError>,
    },
    /// The service broke the protocol.
    #[error("the service answered what it must not: {0}")]
    Protocol(&'static str),
}

impl ClientError {
    /// Whether the same request may succeed later without a change.
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Setup(_) | Self::Protocol(_) => false,
            Self::Api(error) => error.is_retriable(),
            Self::TimedOut { .. } => true,
        }
    }

    /// Whether what was asked for may have happened in spite of the error.
    pub const fn may_have_happened(&self) -> bool {
        match self {
            Self::Setup(_) => false,
            Self::Api(error) => error.outcome_unknown,
            Self::TimedOut { .. } | Self::Protocol(_) => true,
        }
    }

    /// The code of the service, if it gave one.
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Api(error) => Some(error.code),
            Self::Setup(_) | Self::TimedOut { .. } | Self::Protocol(_) => None,
        }
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Api(ApiError::from_status(&status))
    }
}
