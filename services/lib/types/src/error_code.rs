//! The one small set of error codes that both front ends map from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, as a caller must tell apart. Each front end maps every code exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The request itself is malformed or breaks a documented rule.
    InvalidArgument,
    /// A record batch is damaged or its header contradicts itself.
    CorruptBatch,
    /// A record batch is larger than its topic allows.
    BatchTooLarge,
    /// A request or message is larger than the service takes.
    RequestTooLarge,
    /// No such topic.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// The topic exists already.
    TopicExists,
    /// The name cannot be a topic's name.
    InvalidTopicName,
    /// A topic's configuration has a key or value that is not allowed.
    InvalidConfig,
    /// The offset lies outside `[log start, high watermark]`.
    OffsetOutOfRange,
    /// The expected next offset is not the actual one.
    OffsetMismatch,
    /// The fencing token is not the partition's.
    FencingTokenMismatch,
    /// A batch's sequence is neither the next nor a known one.
    OutOfOrderSequence,
    /// A newer epoch of this producer exists.
    ProducerFenced,
    /// The producer is not known and its sequence does not start at 0.
    UnknownProducer,
    /// The store says that another process owns what this one tried to write.
    Fenced,
    /// The caller may not do this.
    PermissionDenied,
    /// The caller did not say who it is.
    Unauthenticated,
    /// Memory, quota or rate is used up for now; try again later.
    ResourceExhausted,
    /// A part of the service cannot be reached or is going away; try again.
    Unavailable,
    /// The deadline passed before the answer was known.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// Stored bytes fail their checks; the message names object, offset and partition.
    DataLoss,
    /// What was asked for is not offered by this version.
    Unsupported,
    /// A bug of ours.
    Internal,
    /// No such group.
    UnknownGroup,
    /// The group has members, and what was asked for is only for groups without.
    GroupNotEmpty,
    /// The batch is part of a transaction that has ended or never began, or of none while its producer has one open.
    InvalidTransaction,
    /// A record breaks a rule of its topic: one that is compacted takes none without a key.
    InvalidRecord,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 29] = [
        Self::InvalidArgument,
        Self::CorruptBatch,
        Self::BatchTooLarge,
        Self::RequestTooLarge,
        Self::UnknownTopic,
        Self::UnknownPartition,
        Self::TopicExists,
        Self::InvalidTopicName,
        Self::InvalidConfig,
        Self::OffsetOutOfRange,
        Self::OffsetMismatch,
        Self::FencingTokenMismatch,
        Self::OutOfOrderSequence,
        Self::ProducerFenced,
        Self::UnknownProducer,
        Self::Fenced,
        Self::PermissionDenied,
        Self::Unauthenticated,
        Self::ResourceExhausted,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::DataLoss,
        Self::Unsupported,
        Self::Internal,
        Self::UnknownGroup,
        Self::GroupNotEmpty,
        Self::InvalidTransaction,
        Self::InvalidRecord,
    ];

    /// The code with this stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// Whether the same request may succeed later without a change.
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::ResourceExhausted | Self::Unavailable | Self::DeadlineExceeded | Self::Fenced
        )
    }

    /// The stable name, as it stands in `ErrorInfo.reason`, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::CorruptBatch => "CORRUPT_BATCH",
            Self::BatchTooLarge => "BATCH_TOO_LARGE",
            Self::RequestTooLarge => "REQUEST_TOO_LARGE",
            Self::UnknownTopic => "UNKNOWN_TOPIC",
            Self::UnknownPartition => "UNKNOWN_PARTITION",
            Self::TopicExists => "TOPIC_EXISTS",
            Self::InvalidTopicName => "INVALID_TOPIC_NAME",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::OffsetOutOfRange => "OFFSET_OUT_OF_RANGE",
            Self::OffsetMismatch => "OFFSET_MISMATCH",
            Self::FencingTokenMismatch => "FENCING_TOKEN_MISMATCH",
            Self::OutOfOrderSequence => "OUT_OF_ORDER_SEQUENCE",
            Self::ProducerFenced => "PRODUCER_FENCED",
            Self::UnknownProducer => "UNKNOWN_PRODUCER",
            Self::Fenced => "FENCED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::DataLoss => "DATA_LOSS",
            Self::Unsupported => "UNSUPPORTED",
            Self::Internal => "INTERNAL",
            Self::UnknownGroup => "UNKNOWN_GROUP",
            Self::GroupNotEmpty => "GROUP_NOT_EMPTY",
            Self::InvalidTransaction => "INVALID_TRANSACTION",
            Self::InvalidRecord => "INVALID_RECORD",
        }
    }

    /// The number of the code in stored bytes. These numbers must never change; 0 is not given.
    pub const fn number(self) -> u8 {
        match self {
            Self::InvalidArgument => 1,
            Self::CorruptBatch => 2,
            Self::BatchTooLarge => 3,
            Self::RequestTooLarge => 4,
            Self::UnknownTopic => 5,
            Self::UnknownPartition => 6,
            Self::TopicExists => 7,
            Self::InvalidTopicName => 8,
            Self::InvalidConfig => 9,
            Self::OffsetOutOfRange => 10,
            Self::OffsetMismatch => 11,
            Self::FencingTokenMismatch => 12,
            Self::OutOfOrderSequence => 13,
            Self::ProducerFenced => 14,
            Self::UnknownProducer => 15,
            Self::Fenced => 16,
            Self::PermissionDenied => 17,
            Self::Unauthenticated => 18,
            Self::ResourceExhausted => 19,
            Self::Unavailable => 20,
            Self::DeadlineExceeded => 21,
            Self::Cancelled => 22,
            Self::DataLoss => 23,
            Self::Unsupported => 24,
            Self::Internal => 25,
            Self::UnknownGroup => 26,
            Self::GroupNotEmpty => 27,
            Self::InvalidTransaction => 28,
            Self::InvalidRecord => 29,
        }
    }

    /// The code with this number; `None` for a number that this version does not know.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::InvalidArgument,
            2 => Self::CorruptBatch,
            3 => Self::BatchTooLarge,
            4 => Self::RequestTooLarge,
            5 => Self::UnknownTopic,
            6 => Self::UnknownPartition,
            7 => Self::TopicExists,
            8 => Self::InvalidTopicName,
            9 => Self::InvalidConfig,
            10 => Self::OffsetOutOfRange,
            11 => Self::OffsetMismatch,
            12 => Self::FencingTokenMismatch,
            13 => Self::OutOfOrderSequence,
            14 => Self::ProducerFenced,
            15 => Self::UnknownProducer,
            16 => Self::Fenced,
            17 => Self::PermissionDenied,
            18 => Self::Unauthenticated,
            19 => Self::ResourceExhausted,
            20 => Self::Unavailable,
            21 => Self::DeadlineExceeded,
            22 => Self::Cancelled,
            23 => Self::DataLoss,
            24 => Self::Unsupported,
            25 => Self::Internal,
            26 => Self::UnknownGroup,
            27 => Self::GroupNotEmpty,
            28 => Self::InvalidTransaction,
            29 => Self::InvalidRecord,
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_again_by_its_number() {
        let known: Vec<ErrorCode> = (0..=u8::MAX).filter_map(ErrorCode::from_number).collect();
        assert_eq!(known.len(), ErrorCode::ALL.len());
        for (number, code) in (1..).zip(known) {
            assert_eq!(code.number(), number);
            assert_eq!(code.to_string(), code.as_str());
        }
    }

    #[test]
    fn only_passing_troubles_are_worth_another_try() {
        assert!(ErrorCode::Unavailable.is_retriable());
        assert!(!ErrorCode::CorruptBatch.is_retriable());
        assert!(!ErrorCode::OffsetMismatch.is_retriable());
    }
}
