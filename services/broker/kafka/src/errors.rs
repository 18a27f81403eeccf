//! From our errors to Kafka's.

use tidelog_broker_engine::{AppendError, FetchError, KeysError};
use tidelog_env::error_chain;
use tidelog_format::batch::BatchError;
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{CatalogueError, LogError};
use tidelog_runtime::access::{Denied, Resource};
use tidelog_types::TopicNameError;

/// Why something was not done, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Records of a batch that are why, counted from 0.
    pub(crate) records: Vec<u32>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }

    /// The message as it is sent.
    pub(crate) fn text(&self) -> ByteString {
        self.message.as_str().into()
    }

    /// What a caller hears who may not do something.
    pub(crate) fn denied(denied: &Denied, resource: Resource<'_>) -> Self {
        let code = match resource {
            Resource::Topic(_) => ErrorCode::TopicAuthorizationFailed,
            Resource::Group(_) => ErrorCode::GroupAuthorizationFailed,
            Resource::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            _ => ErrorCode::ClusterAuthorizationFailed,
        };
        Self::new(code, denied.to_string())
    }
}

/// Kafka's code for each of ours. `NOT_LEADER_OR_FOLLOWER` is what every client takes as "ask again where
/// partitions are, then try again".
pub(crate) const fn kafka_code(code: tidelog_types::ErrorCode) -> ErrorCode {
    use tidelog_types::ErrorCode as Ours;
    match code {
        Ours::InvalidArgument | Ours::OffsetMismatch | Ours::FencingTokenMismatch => {
            ErrorCode::InvalidRequest
        }
        Ours::CorruptBatch => ErrorCode::CorruptMessage,
        Ours::BatchTooLarge | Ours::RequestTooLarge => ErrorCode::MessageTooLarge,
        Ours::UnknownTopic | Ours::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        Ours::TopicExists => ErrorCode::TopicAlreadyExists,
        Ours::InvalidTopicName => ErrorCode::InvalidTopicException,
        Ours::InvalidConfig => ErrorCode::InvalidConfig,
        Ours::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        Ours::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        Ours::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        Ours::UnknownProducer => ErrorCode::UnknownProducerId,
        Ours::Fenced | Ours::Unavailable => ErrorCode::NotLeaderOrFollower,
        Ours::PermissionDenied => ErrorCode::TopicAuthorizationFailed,
        Ours::Unauthenticated => ErrorCode::SaslAuthenticationFailed,
        Ours::ResourceExhausted => ErrorCode::ThrottlingQuotaExceeded,
        Ours::DeadlineExceeded | Ours::Cancelled => ErrorCode::RequestTimedOut,
        Ours::DataLoss => ErrorCode::KafkaStorageError,
        Ours::Unsupported => ErrorCode::UnsupportedVersion,
        Ours::Internal => ErrorCode::UnknownServerError,
        Ours::UnknownGroup => ErrorCode::GroupIdNotFound,
        Ours::GroupNotEmpty => ErrorCode::NonEmptyGroup,
        Ours::InvalidTransaction => ErrorCode::InvalidTxnState,
        Ours::InvalidRecord => ErrorCode::InvalidRecord,
    }
}

impl From<&LogError> for Refusal {
    fn from(error: &LogError) -> Self {
        Self::new(kafka_code(error.code()), error_chain(error))
    }
}

impl From<&FetchError> for Refusal {
    fn from(error: &FetchError) -> Self {
        Self::new(kafka_code(error.code()), error_chain(error))
    }
}

impl From<&CatalogueError> for Refusal {
    fn from(error: &CatalogueError) -> Self {
        let code = match error {
            CatalogueError::UnknownTopicId(_) => ErrorCode::UnknownTopicId,
            CatalogueError::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
            // Tools of administration ask another controller, or try again.
            CatalogueError::NotOwner => ErrorCode::NotController,
            CatalogueError::Unavailable { .. } | CatalogueError::Unknown => {
                ErrorCode::RequestTimedOut
            }
            _ => kafka_code(error.code()),
        };
        Self::new(code, error_chain(error))
    }
}

impl From<&TopicNameError> for Refusal {
    fn from(error: &TopicNameError) -> Self {
        Self::new(ErrorCode::InvalidTopicException, error.to_string())
    }
}

impl From<&BatchError> for Refusal {
    fn from(error: &BatchError) -> Self {
        let code = match error {
            BatchError::Length(_) | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::Codec(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::LogAppendTime | BatchError::Timestamps { .. } => {
                ErrorCode::InvalidTimestamp
            }
            // Also half a batch, and the formats before version 2, which Kafka 4 refuses with the same code.
            BatchError::Truncated { .. }
            | BatchError::Magic(_)
            | BatchError::RecordCount(_)
            | BatchError::LastOffsetDelta { .. }
            | BatchError::Control
            | BatchError::DeleteHorizon
            | BatchError::Producer { .. }
            | BatchError::TransactionWithoutProducer => ErrorCode::InvalidRecord,
        };
        Self::new(code, error_chain(error))
    }
}

impl From<KeysError> for Refusal {
    fn from(error: KeysError) -> Self {
        let message = error_chain(&error);
        match error {
            KeysError::Keyless { keyless, .. } => Self {
                records: keyless.indexes,
                ..Self::new(ErrorCode::InvalidRecord, message)
            },
            // As of all that makes no sense as records.
            KeysError::Broken { .. } => Self::new(ErrorCode::InvalidRecord, message),
            error => Self::new(kafka_code(error.code()), message),
        }
    }
}

impl From<&AppendError> for Refusal {
    fn from(error: &AppendError) -> Self {
        let code = match error {
            // It may be in the log all the same, which is what this code says.
            AppendError::Unknown { .. } => ErrorCode::RequestTimedOut,
            _ => kafka_code(error.code()),
        };
        Self::new(code, error_chain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_retriable_for_kafka_clients_and_what_stays_is_not() {
        use tidelog_types::ErrorCode as Ours;
        // A damaged batch is worth another try in Kafka's eyes, since the network may have damaged it; a topic
        // may be about to appear; a damaged log may be mended.
        let kafka_hopes = [
            Ours::CorruptBatch,
            Ours::UnknownTopic,
            Ours::UnknownPartition,
            Ours::Cancelled,
            Ours::DataLoss,
        ];
        for ours in Ours::ALL {
            let theirs = kafka_code(ours);
            let expected = ours.is_retriable() || kafka_hopes.contains(&ours);
            assert_eq!(theirs.is_retriable(), expected, "{ours} is {theirs}");
            assert!(!theirs.is_none(), "{ours}");
        }
    }

    #[test]
    fn only_bytes_that_may_have_been_damaged_on_their_way_are_worth_another_try() {
        let crc = BatchError::Crc {
            stored: 1,
            computed: 2,
        };
        assert_eq!(Refusal::from(&crc).code, ErrorCode::CorruptMessage);
        let magic = Refusal::from(&BatchError::Magic(1));
        assert_eq!(magic.code, ErrorCode::InvalidRecord);
        let half = BatchError::Truncated {
            needed: 61,
            remaining: 7,
        };
        assert_eq!(Refusal::from(&half).code, ErrorCode::InvalidRecord);
        assert!(!magic.code.is_retriable());
    }

    #[test]
    fn an_append_whose_outcome_is_not_known_is_a_timeout() {
        let reason = String::new();
        let unknown = AppendError::Unknown { reason };
        assert_eq!(Refusal::from(&unknown).code, ErrorCode::RequestTimedOut);
        let going = Refusal::from(&AppendError::ShuttingDown).code;
        assert_eq!(going, ErrorCode::NotLeaderOrFollower);
    }
}
