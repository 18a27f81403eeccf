//! Commits and their answers.

use bytes::Bytes;
use tidelog_api::internal::v1;
use tidelog_format::manifest::{Manifest, Receipt};
use tidelog_metadata_api::{
    BatchCondition, BatchPosition, CommitAnswer, CommitError, FencingToken, OrderKey, ShardCommit,
    TransactionNumber,
};
use tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX;
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use super::{
    WireError, commit_failure_from, commit_failure_to, offset, shortened, token_from, token_to,
};

/// The longest manifest that is looked at: sixteen times what closes a segment.
const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// Segments that a commit may wait for.
const AFTER_MAX: usize = 65_536;

pub(crate) const fn segment_to(name: SegmentName) -> v1::SegmentName {
    v1::SegmentName {
        incarnation: name.incarnation.get(),
        sequence: name.sequence.get(),
    }
}

pub(crate) const fn segment_from(name: v1::SegmentName) -> SegmentName {
    SegmentName::new(
        Incarnation::new(name.incarnation),
        SegmentSequence::new(name.sequence),
    )
}

/// Reads a fencing token.
pub(crate) fn fencing_token(bytes: Bytes) -> Result<FencingToken, WireError> {
    FencingToken::new(bytes).map_err(|error| WireError::damaged("fencing_token", &error))
}

pub(crate) fn commit_to(commit: &ShardCommit) -> v1::ShardCommit {
    let conditions = commit.conditions.iter().map(|(at, condition)| {
        let bytes = |token: &FencingToken| token.as_bytes().clone();
        v1::BatchCondition {
            slice: at.slice,
            batch: at.batch,
            expected_next_offset: condition.expected_next.map(tidelog_types::Offset::get),
            fencing_token: condition.fencing_token.as_ref().map(bytes),
            set_fencing_token: condition.set_fencing_token.as_ref().map(bytes),
            transaction: condition.transaction.map(|number| number.0),
        }
    });
    let orders = commit.orders.iter().map(|(at, key)| v1::BatchOrder {
        slice: at.slice,
        batch: at.batch,
        key: key.0,
    });
    let dropped = commit.dropped.iter().map(|at| v1::BatchPosition {
        slice: at.slice,
        batch: at.batch,
    });
    v1::ShardCommit {
        manifest: Bytes::from(commit.manifest.encode()),
        conditions: conditions.collect(),
        orders: orders.collect(),
        dropped: dropped.collect(),
        after: commit.after.iter().copied().map(segment_to).collect(),
        done_below: commit.done_below.get(),
        inline: commit.inline.clone(),
    }
}

pub(crate) fn commit_from(commit: v1::ShardCommit) -> Result<ShardCommit, WireError> {
    if commit.manifest.len() > MANIFEST_BYTES_MAX {
        return Err(WireError::TooLong {
            field: "manifest",
            max: MANIFEST_BYTES_MAX,
        });
    }
    if commit.after.len() > AFTER_MAX {
        return Err(WireError::TooLong {
            field: "after",
            max: AFTER_MAX,
        });
    }
    let inline = commit.inline.as_ref().map_or(0, Bytes::len);
    if inline > INLINE_SEGMENT_BYTES_MAX as usize {
        return Err(WireError::TooLong {
            field: "inline",
            max: INLINE_SEGMENT_BYTES_MAX as usize,
        });
    }
    let manifest = Manifest::decode(&commit.manifest)
        .map_err(|error| WireError::damaged("manifest", &error))?;
    let at = |slice, batch| BatchPosition { slice, batch };
    let conditions = commit.conditions.into_iter().map(|condition| {
        let position = at(condition.slice, condition.batch);
        Ok((position, condition_from(condition)?))
    });
    let orders = commit.orders.iter();
    let orders = orders.map(|order| (at(order.slice, order.batch), OrderKey(order.key)));
    let dropped = commit.dropped.iter();
    Ok(ShardCommit {
        manifest,
        conditions: conditions.collect::<Result<_, WireError>>()?,
        orders: orders.collect(),
        dropped: dropped.map(|drop| at(drop.slice, drop.batch)).collect(),
        after: commit.after.into_iter().map(segment_from).collect(),
        done_below: SegmentSequence::new(commit.done_below),
        inline: commit.inline,
    })
}

fn condition_from(condition: v1::BatchCondition) -> Result<BatchCondition, WireError> {
    let expected = condition.expected_next_offset;
    Ok(BatchCondition {
        expected_next: expected
            .map(|raw| offset("expected_next_offset", raw))
            .transpose()?,
        fencing_token: condition.fencing_token.map(fencing_token).transpose()?,
        set_fencing_token: condition.set_fencing_token.map(fencing_token).transpose()?,
        transaction: condition.transaction.map(TransactionNumber),
    })
}

/// Answers of a log as they are sent.
pub(crate) fn commits_to_results(
    answers: Vec<Result<CommitAnswer, CommitError>>,
) -> Vec<v1::CommitResult> {
    let results = answers.into_iter().map(|answer| {
        let result = match answer {
            Ok(answer) => v1::commit_result::Result::Answer(v1::CommitAnswer {
                token: token_to(answer.token),
                receipt: Bytes::from(
                    Receipt {
                        outcomes: answer.outcomes,
                    }
                    .encode(),
                ),
            }),
            Err(error) => v1::commit_result::Result::Failure(commit_failure_to(&error)),
        };
        v1::CommitResult {
            result: Some(result),
        }
    });
    results.collect()
}

/// Reads the results of a request whose manifests had so many batches each. Whatever makes no sense counts
/// as a commit of which nothing is known: asked again, it has the same receipt.
pub(crate) fn results_from(
    results: Vec<v1::CommitResult>,
    batch_counts: &[usize],
) -> Vec<Result<CommitAnswer, CommitError>> {
    let mut results = results.into_iter();
    let answers = batch_counts.iter().map(|count| {
        let result = results.next().and_then(|result| result.result);
        match result {
            Some(v1::commit_result::Result::Answer(answer)) => answer_from(&answer, *count)
                .map_err(|error| {
                    tracing::warn!(%error, "an answer to a commit makes no sense");
                    CommitError::Unknown
                }),
            Some(v1::commit_result::Result::Failure(failure)) => Err(commit_failure_from(failure)),
            None => Err(CommitError::Unknown),
        }
    });
    answers.collect()
}

/// Reads the answer to a manifest with so many batches.
fn answer_from(answer: &v1::CommitAnswer, batch_count: usize) -> Result<CommitAnswer, WireError> {
    let receipt =
        Receipt::decode(&answer.receipt).map_err(|error| WireError::damaged("receipt", &error))?;
    if receipt.outcomes.len() != batch_count {
        let outcomes = receipt.outcomes.len();
        let reason = format!("`{outcomes}` outcomes for `{batch_count}` batches");
        return Err(WireError::Damaged {
            field: "receipt",
            reason: shortened(reason),
        });
    }
    Ok(CommitAnswer {
        outcomes: receipt.outcomes,
        token: token_from(&answer.token)?,
    })
}
