//! Errors, without loss but for very long texts.

use tidelog_api::internal::v1;
use tidelog_metadata_api::{CatalogueError, ClusterError, CommitError, ConfigError, LogError};
use tidelog_types::{
    MemberId, Offset, OffsetRange, ProducerEpoch, ProducerId, SegmentSequence, TopicId, TopicName,
    TopicNameError,
};

use super::commit::{segment_from, segment_to};
use super::{WireError, id, id_bytes, narrow, offset, partition_from, partition_to};

/// The longest text in an error: it travels in a trailer, which has a limit as a whole.
const TEXT_BYTES_MAX: usize = 1024;

/// The rules about partition counts, by which an error names them again on this side.
const PARTITION_RULES: [&str; 3] = [
    "a topic has at least one",
    "a topic has at most 100000",
    "partitions can only be added",
];

/// Cuts a text at a character.
pub(crate) fn shortened(mut text: String) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn short(text: &str) -> String {
    shortened(text.to_owned())
}

pub(crate) fn commit_failure_to(error: &CommitError) -> v1::CommitFailure {
    use v1::CommitFailureReason as Reason;
    let plain = |reason: Reason| v1::CommitFailure {
        reason: reason.into(),
        ..v1::CommitFailure::default()
    };
    match error {
        CommitError::BelowFloor { floor } => v1::CommitFailure {
            floor: floor.get(),
            ..plain(Reason::BelowFloor)
        },
        CommitError::Early { after } => v1::CommitFailure {
            after: Some(segment_to(*after)),
            ..plain(Reason::Early)
        },
        CommitError::WriterEnded => plain(Reason::WriterEnded),
        CommitError::NotOwner => plain(Reason::NotOwner),
        CommitError::NotInline => plain(Reason::NotInline),
        CommitError::Unavailable { reason } => v1::CommitFailure {
            detail: short(reason),
            ..plain(Reason::Unavailable)
        },
        CommitError::Malformed { reason } => v1::CommitFailure {
            detail: short(reason),
            ..plain(Reason::Malformed)
        },
        // Also what a later version adds: asked again, the answer is the first one's.
        _ => plain(Reason::Unknown),
    }
}

pub(crate) fn commit_failure_from(failure: v1::CommitFailure) -> CommitError {
    use v1::CommitFailureReason as Reason;
    match failure.reason() {
        Reason::BelowFloor => CommitError::BelowFloor {
            floor: SegmentSequence::new(failure.floor),
        },
        Reason::Early => CommitError::Early {
            after: segment_from(failure.after.unwrap_or_default()),
        },
        Reason::WriterEnded => CommitError::WriterEnded,
        Reason::NotOwner => CommitError::NotOwner,
        Reason::NotInline => CommitError::NotInline,
        Reason::Unspecified | Reason::Unknown => CommitError::Unknown,
        Reason::Unavailable => CommitError::Unavailable {
            reason: failure.detail,
        },
        Reason::Malformed => CommitError::Malformed {
            reason: failure.detail,
        },
    }
}

pub(crate) fn log_failure_to(error: &LogError) -> v1::LogFailure {
    use v1::LogFailureReason as Reason;
    let plain = |reason: Reason| v1::LogFailure {
        reason: reason.into(),
        ..v1::LogFailure::default()
    };
    match error {
        LogError::UnknownPartition(partition) => v1::LogFailure {
            partition: Some(partition_to(*partition)),
            ..plain(Reason::UnknownPartition)
        },
        LogError::OffsetOutOfRange { offset, valid } => v1::LogFailure {
            offset: offset.get(),
            valid_base: valid.base.get(),
            valid_next: valid.next.get(),
            ..plain(Reason::OffsetOutOfRange)
        },
        LogError::Behind => plain(Reason::Behind),
        LogError::NotOwner => plain(Reason::NotOwner),
        LogError::Corrupt { reason } => v1::LogFailure {
            detail: short(reason),
            ..plain(Reason::Corrupt)
        },
        LogError::FencingTokenMismatch => plain(Reason::FencingTokenMismatch),
        LogError::NoTransaction(id) => v1::LogFailure {
            number: id.get(),
            ..plain(Reason::NoTransaction)
        },
        LogError::ProducerFenced(epoch) => v1::LogFailure {
            number: i64::from(epoch.get()),
            ..plain(Reason::ProducerFenced)
        },
        LogError::CoordinatorFenced(epoch) => v1::LogFailure {
            number: i64::from(*epoch),
            ..plain(Reason::CoordinatorFenced)
        },
        LogError::Unavailable { reason } => v1::LogFailure {
            detail: short(reason),
            ..plain(Reason::Unavailable)
        },
        other => v1::LogFailure {
            detail: shortened(other.to_string()),
            ..plain(Reason::Unavailable)
        },
    }
}

pub(crate) fn log_failure_from(failure: v1::LogFailure) -> LogError {
    read_log_failure(failure).unwrap_or_else(|error| LogError::Unavailable {
        reason: error.to_string(),
    })
}

fn read_log_failure(failure: v1::LogFailure) -> Result<LogError, WireError> {
    use v1::LogFailureReason as Reason;
    Ok(match failure.reason() {
        Reason::UnknownPartition => LogError::UnknownPartition(partition_from(failure.partition)?),
        Reason::OffsetOutOfRange => LogError::OffsetOutOfRange {
            offset: Offset::new(failure.offset),
            valid: OffsetRange {
                base: offset("valid_base", failure.valid_base)?,
                next: offset("valid_next", failure.valid_next)?,
            },
        },
        Reason::Behind => LogError::Behind,
        Reason::NotOwner => LogError::NotOwner,
        Reason::Unspecified | Reason::Unavailable => LogError::Unavailable {
            reason: failure.detail,
        },
        Reason::Corrupt => LogError::Corrupt {
            reason: failure.detail,
        },
        Reason::FencingTokenMismatch => LogError::FencingTokenMismatch,
        Reason::NoTransaction => LogError::NoTransaction(ProducerId::new(failure.number)),
        Reason::ProducerFenced => {
            LogError::ProducerFenced(ProducerEpoch::new(narrow("number", failure.number)?))
        }
        Reason::CoordinatorFenced => LogError::CoordinatorFenced(narrow("number", failure.number)?),
    })
}

pub(crate) fn catalogue_failure_to(error: &CatalogueError) -> v1::CatalogueFailure {
    use v1::CatalogueFailureReason as Reason;
    let plain = |reason: Reason| v1::CatalogueFailure {
        reason: reason.into(),
        ..v1::CatalogueFailure::default()
    };
    let named = |reason, topic: &TopicName| v1::CatalogueFailure {
        topic: topic.as_str().to_owned(),
        ..plain(reason)
    };
    let told = |reason, detail: &str| v1::CatalogueFailure {
        detail: short(detail),
        ..plain(reason)
    };
    match error {
        CatalogueError::UnknownTopic(topic) => named(Reason::UnknownTopic, topic),
        CatalogueError::Purging(topic) => named(Reason::Purging, topic),
        CatalogueError::TopicExists(topic) => named(Reason::TopicExists, topic),
        CatalogueError::UnknownTopicId(id) => v1::CatalogueFailure {
            topic_id: id_bytes(id.to_bytes()),
            ..plain(Reason::UnknownTopicId)
        },
        CatalogueError::InvalidName(error) => {
            let (reason, number) = name_failure_to(error);
            v1::CatalogueFailure {
                number,
                ..plain(reason)
            }
        }
        CatalogueError::InvalidConfig(error) => config_failure_to(error),
        CatalogueError::InvalidPartitions { asked, reason } => v1::CatalogueFailure {
            number: u64::from(*asked),
            ..told(Reason::InvalidPartitions, reason)
        },
        CatalogueError::InvalidPageToken => plain(Reason::InvalidPageToken),
        CatalogueError::NotOwner => plain(Reason::NotOwner),
        CatalogueError::Unavailable { reason } => told(Reason::Unavailable, reason),
        CatalogueError::Corrupt { reason } => told(Reason::Corrupt, reason),
        // Also what a later version adds: look before trying again.
        _ => plain(Reason::Unknown),
    }
}

const fn name_failure_to(error: &TopicNameError) -> (v1::CatalogueFailureReason, u64) {
    use v1::CatalogueFailureReason as Reason;
    match error {
        TopicNameError::Empty => (Reason::NameEmpty, 0),
        TopicNameError::TooLong(length) => (Reason::NameTooLong, *length as u64),
        TopicNameError::Character(bad) => (Reason::NameCharacter, *bad as u64),
        TopicNameError::Dots => (Reason::NameDots, 0),
    }
}

fn config_failure_to(error: &ConfigError) -> v1::CatalogueFailure {
    use v1::CatalogueFailureReason as Reason;
    match error {
        ConfigError::UnknownKey { key, nearest } => v1::CatalogueFailure {
            reason: Reason::ConfigKey.into(),
            key: short(key),
            nearest: nearest.as_deref().map(short),
            ..v1::CatalogueFailure::default()
        },
        ConfigError::InvalidValue { key, value, reason } => v1::CatalogueFailure {
            reason: Reason::ConfigValue.into(),
            key: short(key),
            value: short(value),
            detail: short(reason),
            ..v1::CatalogueFailure::default()
        },
    }
}

pub(crate) fn catalogue_failure_from(failure: v1::CatalogueFailure) -> CatalogueError {
    read_catalogue_failure(failure).unwrap_or_else(|error| {
        tracing::warn!(%error, "an error of the catalogue makes no sense");
        CatalogueError::Unknown
    })
}

fn read_catalogue_failure(failure: v1::CatalogueFailure) -> Result<CatalogueError, WireError> {
    use v1::CatalogueFailureReason as Reason;
    let name =
        |text: &str| TopicName::new(text).map_err(|error| WireError::damaged("topic", &error));
    let range = |field| WireError::Range {
        field,
        value: failure.number,
    };
    Ok(match failure.reason() {
        Reason::UnknownTopic => CatalogueError::UnknownTopic(name(&failure.topic)?),
        Reason::Purging => CatalogueError::Purging(name(&failure.topic)?),
        Reason::TopicExists => CatalogueError::TopicExists(name(&failure.topic)?),
        Reason::UnknownTopicId => {
            let id = id("topic_id", &failure.topic_id)?;
            CatalogueError::UnknownTopicId(TopicId::from_bytes(id))
        }
        Reason::NameEmpty => TopicNameError::Empty.into(),
        Reason::NameTooLong => {
            let length = usize::try_from(failure.number).map_err(|_| range("number"))?;
            TopicNameError::TooLong(length).into()
        }
        Reason::NameCharacter => {
            let number = u32::try_from(failure.number).ok();
            let bad = number.and_then(char::from_u32);
            TopicNameError::Character(bad.ok_or_else(|| range("number"))?).into()
        }
        Reason::NameDots => TopicNameError::Dots.into(),
        Reason::ConfigKey => CatalogueError::InvalidConfig(ConfigError::UnknownKey {
            key: failure.key,
            nearest: failure.nearest,
        }),
        Reason::ConfigValue => CatalogueError::InvalidConfig(ConfigError::InvalidValue {
            key: failure.key,
            value: failure.value,
            reason: failure.detail,
        }),
        Reason::InvalidPartitions => CatalogueError::InvalidPartitions {
            asked: u32::try_from(failure.number).map_err(|_| range("number"))?,
            reason: partition_rule(&failure.detail),
        },
        Reason::InvalidPageToken => CatalogueError::InvalidPageToken,
        Reason::NotOwner => CatalogueError::NotOwner,
        Reason::Unavailable => CatalogueError::Unavailable {
            reason: failure.detail,
        },
        Reason::Unspecified | Reason::Unknown => CatalogueError::Unknown,
        Reason::Corrupt => CatalogueError::Corrupt {
            reason: failure.detail,
        },
    })
}

/// The rule with this text; the one of another version has another text.
fn partition_rule(text: &str) -> &'static str {
    let known = PARTITION_RULES.into_iter().find(|rule| *rule == text);
    known.unwrap_or("a rule of the metadata process, which has another version, forbids it")
}

pub(crate) fn cluster_failure_to(error: &ClusterError) -> v1::ClusterFailure {
    use v1::ClusterFailureReason as Reason;
    let told = |reason: Reason, detail: String| v1::ClusterFailure {
        reason: reason.into(),
        detail: shortened(detail),
        ..v1::ClusterFailure::default()
    };
    match error {
        ClusterError::UnknownMember(member) => v1::ClusterFailure {
            member: id_bytes(member.to_bytes()),
            ..told(Reason::UnknownMember, String::new())
        },
        ClusterError::InvalidMember { reason } => told(Reason::InvalidMember, reason.clone()),
        ClusterError::Unavailable { reason } => told(Reason::Unavailable, reason.clone()),
        ClusterError::Corrupt { reason } => told(Reason::Corrupt, reason.clone()),
        other => told(Reason::Unavailable, other.to_string()),
    }
}

pub(crate) fn cluster_failure_from(failure: v1::ClusterFailure) -> ClusterError {
    use v1::ClusterFailureReason as Reason;
    match (failure.reason(), id("member", &failure.member)) {
        (Reason::UnknownMember, Ok(member)) => {
            ClusterError::UnknownMember(MemberId::from_bytes(member))
        }
        (Reason::InvalidMember, _) => ClusterError::InvalidMember {
            reason: failure.detail,
        },
        (Reason::Corrupt, _) => ClusterError::Corrupt {
            reason: failure.detail,
        },
        _ => ClusterError::Unavailable {
            reason: failure.detail,
        },
    }
}
