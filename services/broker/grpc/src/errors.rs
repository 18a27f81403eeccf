//! From the engine's errors to the API's. Each text says what to do where there is something to do.

use std::time::Duration;

use tidelog_api::ApiError;
use tidelog_broker_engine::{AppendError, FetchError, KeysError, ReadError};
use tidelog_env::error_chain;
use tidelog_format::batch::BatchError;
use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata_api::{CatalogueError, GroupsError, LogError};
use tidelog_types::{ErrorCode, Offset, TopicName, TopicPartition};

/// How long a caller waits before it tries again, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_millis(100);

fn retriable(error: ApiError) -> ApiError {
    if error.is_retriable() {
        error.with_retry_after(RETRY_AFTER)
    } else {
        error
    }
}

pub(crate) fn log_error(error: &LogError) -> ApiError {
    let api = ApiError::new(error.code(), error_chain(error));
    retriable(match error {
        LogError::OffsetOutOfRange { offset, valid } => api
            .with("offset", offset)
            .with("log_start_offset", &valid.base)
            .with("high_watermark", &valid.next),
        _ => api,
    })
}

pub(crate) fn catalogue_error(error: &CatalogueError) -> ApiError {
    let api = ApiError::new(error.code(), error_chain(error));
    retriable(match error {
        CatalogueError::Unknown => api.with_unknown_outcome(),
        _ => api,
    })
}

pub(crate) fn group_error(error: &GroupsError) -> ApiError {
    // Who commits for a group and is no member is refused while there are members.
    let error = match error {
        GroupsError::UnknownMember => &GroupsError::NotEmpty,
        other => other,
    };
    let code = match error {
        GroupsError::GroupNotFound => ErrorCode::UnknownGroup,
        GroupsError::NotEmpty => ErrorCode::GroupNotEmpty,
        _ => error.code(),
    };
    let api = ApiError::new(code, error_chain(error));
    retriable(match error {
        GroupsError::Unknown => api.with_unknown_outcome(),
        _ => api,
    })
}

/// What a member hears of its group.
pub(crate) fn member_error(error: &GroupsError) -> ApiError {
    let (code, message) = match error {
        // Who comes back would throw the other out, and so on for ever.
        GroupsError::FencedInstance => (ErrorCode::InvalidArgument, error_chain(error)),
        GroupsError::GroupNotFound => (
            ErrorCode::InvalidArgument,
            "the group has members whose protocol does not go together with this one".to_owned(),
        ),
        _ => (error.code(), error_chain(error)),
    };
    let api = ApiError::new(code, message);
    retriable(match error {
        GroupsError::Unknown => api.with_unknown_outcome(),
        _ => api,
    })
}

pub(crate) fn fetch_error(error: &FetchError) -> ApiError {
    match error {
        FetchError::Log(error) => log_error(error),
        FetchError::Read(read) => {
            let api = retriable(ApiError::new(error.code(), error_chain(error)));
            match place_of(read) {
                Some((object, offset, partition)) => api
                    .with("object", object)
                    .with("offset", offset)
                    .with("partition", &partition.partition),
                None => api,
            }
        }
    }
}

/// Where the bytes should have been that are missing or damaged.
const fn place_of(error: &ReadError) -> Option<(&String, &Offset, &TopicPartition)> {
    match error {
        ReadError::Missing {
            object,
            offset,
            partition,
        }
        | ReadError::Damaged {
            object,
            offset,
            partition,
            ..
        } => Some((object, offset, partition)),
        _ => None,
    }
}

pub(crate) fn batch_error(error: &BatchError) -> ApiError {
    match error {
        BatchError::TooLarge { limit, .. } => {
            ApiError::new(ErrorCode::BatchTooLarge, error_chain(error)).with("max_bytes", limit)
        }
        _ => ApiError::new(ErrorCode::CorruptBatch, error_chain(error)),
    }
}

/// Records that are named in metadata, at most.
const RECORDS_NAMED_MAX: usize = 100;

/// Records without a key in a topic that is compacted.
pub(crate) fn keyless(indexes: &[u32], message: String) -> ApiError {
    let indexes = indexes.iter().take(RECORDS_NAMED_MAX);
    let indexes: Vec<String> = indexes.map(u32::to_string).collect();
    ApiError::new(ErrorCode::InvalidRecord, message).with("record_indexes", &indexes.join(","))
}

pub(crate) fn keys_error(error: &KeysError) -> ApiError {
    match error {
        KeysError::Keyless {
            batch,
            keyless: found,
        } => keyless(&found.indexes, error_chain(error)).with("batch_index", batch),
        KeysError::Broken { batch, .. } | KeysError::TooLarge { batch, .. } => {
            ApiError::new(error.code(), error_chain(error)).with("batch_index", batch)
        }
        _ => ApiError::new(error.code(), error_chain(error)),
    }
}

pub(crate) fn append_error(error: &AppendError, topic: &TopicName, partition: u32) -> ApiError {
    match error {
        AppendError::NoPartition(code) => no_partition(*code, topic, partition),
        AppendError::Refused { code, detail } => refusal(*code, detail),
        AppendError::NoStorageClass(_) => ApiError::new(error.code(), error_chain(error)),
        AppendError::NotStored { .. } | AppendError::ShuttingDown => {
            retriable(ApiError::new(error.code(), error_chain(error)))
        }
        AppendError::Unknown { .. } => {
            retriable(ApiError::new(error.code(), error_chain(error))).with_unknown_outcome()
        }
        _ => ApiError::new(ErrorCode::Internal, error_chain(error)),
    }
}

pub(crate) fn no_partition(code: ErrorCode, topic: &TopicName, partition: u32) -> ApiError {
    let message = match code {
        ErrorCode::UnknownPartition => format!(
            "topic `{topic}` has no partition `{partition}`; `tidelog topic describe {topic}` shows \
             how many it has"
        ),
        _ => format!("topic `{topic}` does not exist; `tidelog topic list` shows those that do"),
    };
    ApiError::new(code, message)
}

/// What the sequencer refused, with the values that hold.
fn refusal(code: ErrorCode, detail: &RefusalDetail) -> ApiError {
    let message = match code {
        ErrorCode::OffsetMismatch => {
            "the expected next offset is not the actual one; read up to the actual one and decide \
             again"
        }
        ErrorCode::FencingTokenMismatch => {
            "the fencing token is not the partition's: another writer has taken over"
        }
        ErrorCode::OutOfOrderSequence => {
            "the sequence is neither the next one nor that of one of the last five batches"
        }
        ErrorCode::ProducerFenced => "a newer epoch of this producer has written here",
        ErrorCode::UnknownProducer => {
            "the producer is not known in this partition and its sequence does not start at 0; ask \
             for a new producer id"
        }
        ErrorCode::BatchTooLarge => {
            "the record batch is larger than the topic's `max.message.bytes`"
        }
        ErrorCode::Unavailable => {
            "a batch that this one depends on was not stored; send both again"
        }
        _ => "the record batch was refused",
    };
    let api = retriable(ApiError::new(code, message));
    match detail {
        RefusalDetail::None => api,
        RefusalDetail::NextOffset(offset) => api.with("next_offset", offset),
        RefusalDetail::FencingToken(token) => {
            api.with("fencing_token", &String::from_utf8_lossy(token))
        }
        RefusalDetail::Sequence(expected) => api.with("next_sequence", expected),
        RefusalDetail::ProducerEpoch(epoch) => api.with("producer_epoch", epoch),
    }
}
