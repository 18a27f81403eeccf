//! Error codes in the three places where they stand: ours, the proto enum, gRPC's status.

use tidelog_types::ErrorCode;
use tonic::Code;

use crate::v1;

/// The status code under which an error ends an RPC. Clients that know only gRPC act on it.
pub(crate) const fn to_grpc(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument
        | ErrorCode::CorruptBatch
        | ErrorCode::BatchTooLarge
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidConfig => Code::InvalidArgument,
        ErrorCode::RequestTooLarge | ErrorCode::OffsetOutOfRange => Code::OutOfRange,
        ErrorCode::UnknownTopic | ErrorCode::UnknownPartition | ErrorCode::UnknownGroup => {
            Code::NotFound
        }
        ErrorCode::TopicExists => Code::AlreadyExists,
        ErrorCode::OffsetMismatch => Code::Aborted,
        ErrorCode::FencingTokenMismatch
        | ErrorCode::OutOfOrderSequence
        | ErrorCode::ProducerFenced
        | ErrorCode::UnknownProducer
        | ErrorCode::GroupNotEmpty
        | ErrorCode::InvalidTransaction => Code::FailedPrecondition,
        ErrorCode::Fenced | ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Cancelled => Code::Cancelled,
        ErrorCode::DataLoss => Code::DataLoss,
        ErrorCode::Unsupported => Code::Unimplemented,
        ErrorCode::Internal => Code::Internal,
    }
}

/// The nearest of our codes for a status that does not carry one.
pub(crate) const fn from_grpc(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition => ErrorCode::InvalidArgument,
        Code::OutOfRange => ErrorCode::RequestTooLarge,
        Code::NotFound => ErrorCode::UnknownTopic,
        Code::AlreadyExists => ErrorCode::TopicExists,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::Unavailable | Code::Aborted => ErrorCode::Unavailable,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::Cancelled => ErrorCode::Cancelled,
        Code::DataLoss => ErrorCode::DataLoss,
        Code::Unimplemented => ErrorCode::Unsupported,
        Code::Ok | Code::Unknown | Code::Internal => ErrorCode::Internal,
    }
}

/// The value of the proto enum.
pub(crate) const fn to_proto(code: ErrorCode) -> v1::ErrorCode {
    match code {
        ErrorCode::InvalidArgument => v1::ErrorCode::InvalidArgument,
        ErrorCode::CorruptBatch => v1::ErrorCode::CorruptBatch,
        ErrorCode::BatchTooLarge => v1::ErrorCode::BatchTooLarge,
        ErrorCode::RequestTooLarge => v1::ErrorCode::RequestTooLarge,
        ErrorCode::UnknownTopic => v1::ErrorCode::UnknownTopic,
        ErrorCode::UnknownPartition => v1::ErrorCode::UnknownPartition,
        ErrorCode::TopicExists => v1::ErrorCode::TopicExists,
        ErrorCode::InvalidTopicName => v1::ErrorCode::InvalidTopicName,
        ErrorCode::InvalidConfig => v1::ErrorCode::InvalidConfig,
        ErrorCode::OffsetOutOfRange => v1::ErrorCode::OffsetOutOfRange,
        ErrorCode::OffsetMismatch => v1::ErrorCode::OffsetMismatch,
        ErrorCode::FencingTokenMismatch => v1::ErrorCode::FencingTokenMismatch,
        ErrorCode::OutOfOrderSequence => v1::ErrorCode::OutOfOrderSequence,
        ErrorCode::ProducerFenced => v1::ErrorCode::ProducerFenced,
        ErrorCode::UnknownProducer => v1::ErrorCode::UnknownProducer,
        ErrorCode::Fenced => v1::ErrorCode::Fenced,
        ErrorCode::PermissionDenied => v1::ErrorCode::PermissionDenied,
        ErrorCode::Unauthenticated => v1::ErrorCode::Unauthenticated,
        ErrorCode::ResourceExhausted => v1::ErrorCode::ResourceExhausted,
        ErrorCode::Unavailable => v1::ErrorCode::Unavailable,
        ErrorCode::DeadlineExceeded => v1::ErrorCode::DeadlineExceeded,
        ErrorCode::Cancelled => v1::ErrorCode::Cancelled,
        ErrorCode::DataLoss => v1::ErrorCode::DataLoss,
        ErrorCode::Unsupported => v1::ErrorCode::Unsupported,
        ErrorCode::Internal => v1::ErrorCode::Internal,
        ErrorCode::UnknownGroup => v1::ErrorCode::UnknownGroup,
        ErrorCode::GroupNotEmpty => v1::ErrorCode::GroupNotEmpty,
        ErrorCode::InvalidTransaction => v1::ErrorCode::InvalidTransaction,
        ErrorCode::InvalidRecord => v1::ErrorCode::InvalidRecord,
    }
}

/// Our code; `None` for a value that this version does not know.
pub(crate) const fn from_proto(code: v1::ErrorCode) -> Option<ErrorCode> {
    Some(match code {
        v1::ErrorCode::Unspecified => return None,
        v1::ErrorCode::InvalidArgument => ErrorCode::InvalidArgument,
        v1::ErrorCode::CorruptBatch => ErrorCode::CorruptBatch,
        v1::ErrorCode::BatchTooLarge => ErrorCode::BatchTooLarge,
        v1::ErrorCode::RequestTooLarge => ErrorCode::RequestTooLarge,
        v1::ErrorCode::UnknownTopic => ErrorCode::UnknownTopic,
        v1::ErrorCode::UnknownPartition => ErrorCode::UnknownPartition,
        v1::ErrorCode::TopicExists => ErrorCode::TopicExists,
        v1::ErrorCode::InvalidTopicName => ErrorCode::InvalidTopicName,
        v1::ErrorCode::InvalidConfig => ErrorCode::InvalidConfig,
        v1::ErrorCode::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        v1::ErrorCode::OffsetMismatch => ErrorCode::OffsetMismatch,
        v1::ErrorCode::FencingTokenMismatch => ErrorCode::FencingTokenMismatch,
        v1::ErrorCode::OutOfOrderSequence => ErrorCode::OutOfOrderSequence,
        v1::ErrorCode::ProducerFenced => ErrorCode::ProducerFenced,
        v1::ErrorCode::UnknownProducer => ErrorCode::UnknownProducer,
        v1::ErrorCode::Fenced => ErrorCode::Fenced,
        v1::ErrorCode::PermissionDenied => ErrorCode::PermissionDenied,
        v1::ErrorCode::Unauthenticated => ErrorCode::Unauthenticated,
        v1::ErrorCode::ResourceExhausted => ErrorCode::ResourceExhausted,
        v1::ErrorCode::Unavailable => ErrorCode::Unavailable,
        v1::ErrorCode::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        v1::ErrorCode::Cancelled => ErrorCode::Cancelled,
        v1::ErrorCode::DataLoss => ErrorCode::DataLoss,
        v1::ErrorCode::Unsupported => ErrorCode::Unsupported,
        v1::ErrorCode::Internal => ErrorCode::Internal,
        v1::ErrorCode::UnknownGroup => ErrorCode::UnknownGroup,
        v1::ErrorCode::GroupNotEmpty => ErrorCode::GroupNotEmpty,
        v1::ErrorCode::InvalidTransaction => ErrorCode::InvalidTransaction,
        v1::ErrorCode::InvalidRecord => ErrorCode::InvalidRecord,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proto_enum_has_our_names_and_comes_back() {
        for code in ErrorCode::ALL {
            let proto = to_proto(code);
            assert_eq!(proto.as_str_name(), format!("ERROR_CODE_{}", code.as_str()));
            assert_eq!(from_proto(proto), Some(code));
        }
        assert_eq!(from_proto(v1::ErrorCode::Unspecified), None);
    }

    #[test]
    fn a_retriable_code_has_a_status_that_clients_retry() {
        for code in ErrorCode::ALL
            .into_iter()
            .filter(|code| code.is_retriable())
        {
            assert!(matches!(
                to_grpc(code),
                Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
            ));
        }
    }
}
