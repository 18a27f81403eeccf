//! What is asked of a sequencer, and what a group makes of it.

use bytes::Bytes;
use tidelog_format::manifest::{BatchEntry, Receipt, SliceEntry};
use tidelog_metadata_api::{
    BatchCondition, BatchPosition, CommitAnswer, CommitError, FencingToken, LogError, OrderKey,
    ReadToken, ShardCommit, TransactionMarker,
};
use tidelog_store::{ReadMode, Transaction};
use tidelog_types::{
    GroupNumber, Incarnation, Offset, SegmentName, SegmentSequence, ShardId, TopicPartition,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::MarkerAnswers;
use super::aside::check_commit;
use super::error::SequencerError;
use super::group::{Group, TokenVerdict};
use super::markers::KnownProducer;
use super::needed::Known;
use crate::keyspace::{Counter, FloorRow, Keyspace, NumberRow};

/// About how many bytes a marker and the row of what it has aborted take in a group.
const MARKER_ROWS_BYTES: usize = 128;

/// Where an answer that is only a token goes.
pub(crate) type TokenReply = oneshot::Sender<Result<ReadToken, LogError>>;

/// Rows of consumer groups: keys, and their values, or nothing for one that goes. They say what shall be and not what
/// shall change, so that a transaction whose outcome is not known is simply made again.
pub(crate) type GroupRows = Vec<(Bytes, Option<Bytes>)>;

/// What is asked of a sequencer.
#[derive(Debug)]
pub(crate) enum Message {
    /// Commit a manifest.
    Commit {
        commit: ShardCommit,
        reply: oneshot::Sender<Result<CommitAnswer, CommitError>>,
        /// Its part of the memory of the mailbox, until it is answered.
        room: OwnedSemaphorePermit,
    },
    /// Set a fencing token.
    SetToken {
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
        reply: TokenReply,
    },
    /// Move a log start offset up.
    DeleteRecords {
        partition: TopicPartition,
        before: Offset,
        reply: TokenReply,
    },
    /// Move log start offsets up, as retention says. Nobody waits for it.
    Expire {
        moves: Vec<(TopicPartition, Offset)>,
    },
    /// Move the log starts of partitions of topics that are purged to their ends. Nobody waits for it.
    Empty { partitions: Vec<TopicPartition> },
    /// End transactions, all at once.
    EndTransactions {
        markers: Vec<TransactionMarker>,
        reply: oneshot::Sender<MarkerAnswers>,
        /// Its part of the memory of the mailbox, until it is answered.
        room: OwnedSemaphorePermit,
    },
    /// Prove ownership.
    Barrier { reply: TokenReply },
    /// Show the producers of a partition that are in memory, and prove ownership.
    Producers {
        partition: TopicPartition,
        reply: oneshot::Sender<Result<Vec<KnownProducer>, LogError>>,
    },
    /// Write rows of the shard's consumer groups.
    Rows {
        rows: GroupRows,
        reply: oneshot::Sender<Result<(), CommitError>>,
        /// Its part of the memory of the mailbox, until it is answered.
        room: OwnedSemaphorePermit,
    },
}

/// What became of a member of a group.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The outcomes, and the group they were first committed in.
    Receipt(Receipt, GroupNumber),
    /// The segment's name is dead.
    BelowFloor(SegmentSequence),
    /// The segment's writer has ended.
    WriterEnded,
    /// A segment that comes first is not committed.
    Early(SegmentName),
    /// The manifest makes no sense.
    Malformed(String),
    /// The shard takes no commits now.
    Overloaded(String),
    /// The store takes no more segments now.
    NotInline,
    /// Done.
    Done,
    /// The topic of the partition is gone.
    Gone(TopicPartition),
    /// The expected fencing token is not the one that holds.
    TokenMismatch,
    /// What became of each marker.
    Ended(MarkerAnswers),
    /// Producers of a partition.
    Producers(Vec<KnownProducer>),
}

impl Message {
    /// Whether the answer says what holds now, so that it needs proof of ownership (rule C9). The answer
    /// to a commit is durable itself.
    pub(crate) const fn is_linearizable(&self) -> bool {
        match self {
            Self::Commit { .. } | Self::Rows { .. } | Self::Expire { .. } | Self::Empty { .. } => {
                false
            }
            Self::SetToken { .. }
            | Self::DeleteRecords { .. }
            | Self::EndTransactions { .. }
            | Self::Barrier { .. }
            | Self::Producers { .. } => true,
        }
    }

    /// About how many bytes of the group it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Commit { commit, .. } => {
                commit.manifest.encoded_len_estimate()
                    + commit.inline.as_ref().map_or(0, Bytes::len)
            }
            Self::SetToken { .. }
            | Self::DeleteRecords { .. }
            | Self::Barrier { .. }
            | Self::Producers { .. } => 128,
            Self::EndTransactions { markers, .. } => MARKER_ROWS_BYTES * markers.len(),
            Self::Expire { moves } => MARKER_ROWS_BYTES * moves.len(),
            Self::Empty { partitions } => MARKER_ROWS_BYTES * partitions.len(),
            Self::Rows { rows, .. } => group_rows_bytes(rows),
        }
    }

    /// Sends the answer. Who does not wait for it any more does not matter.
    pub(crate) fn reply(self, answer: Answer, token: ReadToken) {
        match self {
            Self::Commit { reply, room, .. } => {
                drop(room);
                let _ = reply.send(commit_answer(answer, token));
            }
            Self::Rows { reply, room, .. } => {
                drop(room);
                let _ = reply.send(match answer {
                    Answer::Malformed(reason) => Err(CommitError::Malformed { reason }),
                    _ => Ok(()),
                });
            }
            Self::EndTransactions {
                markers,
                reply,
                room,
            } => {
                drop(room);
                let _ = reply.send(match answer {
                    Answer::Ended(outcomes) => outcomes,
                    _ => markers.iter().map(|_| Err(undecided())).collect(),
                });
            }
            Self::Producers { reply, .. } => {
                let _ = reply.send(match answer {
                    Answer::Producers(producers) => Ok(producers),
                    Answer::Gone(partition) => Err(LogError::UnknownPartition(partition)),
                    _ => Err(undecided()),
                });
            }
            Self::SetToken { reply, .. }
            | Self::DeleteRecords { reply, .. }
            | Self::Barrier { reply } => {
                let _ = reply.send(match answer {
                    Answer::TokenMismatch => Err(LogError::FencingTokenMismatch),
                    Answer::Gone(partition) => Err(LogError::UnknownPartition(partition)),
                    _ => Ok(token),
                });
            }
            Self::Expire { .. } | Self::Empty { .. } => {}
        }
    }

    /// Says that the sequencer ends. Commits may have happened: only the next owner knows.
    pub(crate) fn give_up(self, fenced: bool, reason: &str) {
        let log_error = || {
            if fenced {
                LogError::NotOwner
            } else {
                LogError::Unavailable {
                    reason: reason.to_owned(),
                }
            }
        };
        match self {
            Self::Commit { reply, .. } => {
                let _ = reply.send(Err(if fenced {
                    CommitError::NotOwner
                } else {
                    CommitError::Unknown
                }));
            }
            Self::Rows { reply, .. } => {
                let _ = reply.send(Err(if fenced {
                    CommitError::NotOwner
                } else {
                    CommitError::Unknown
                }));
            }
            Self::SetToken { reply, .. }
            | Self::DeleteRecords { reply, .. }
            | Self::Barrier { reply } => {
                let _ = reply.send(Err(log_error()));
            }
            Self::EndTransactions { markers, reply, .. } => {
                let _ = reply.send(markers.iter().map(|_| Err(log_error())).collect());
            }
            Self::Producers { reply, .. } => {
                let _ = reply.send(Err(log_error()));
            }
            Self::Expire { .. } | Self::Empty { .. } => {}
        }
    }
}

/// There is no answer of another kind.
fn undecided() -> LogError {
    LogError::Unavailable {
        reason: "the sequencer has not decided".to_owned(),
    }
}

fn commit_answer(answer: Answer, token: ReadToken) -> Result<CommitAnswer, CommitError> {
    match answer {
        Answer::Receipt(receipt, group) => Ok(CommitAnswer {
            outcomes: receipt.outcomes,
            token: ReadToken { group, ..token },
        }),
        Answer::BelowFloor(floor) => Err(CommitError::BelowFloor { floor }),
        Answer::WriterEnded => Err(CommitError::WriterEnded),
        Answer::Early(after) => Err(CommitError::Early { after }),
        Answer::Malformed(reason) => Err(CommitError::Malformed { reason }),
        Answer::Overloaded(reason) => Err(CommitError::Unavailable { reason }),
        Answer::NotInline => Err(CommitError::NotInline),
        Answer::Done
        | Answer::Gone(_)
        | Answer::TokenMismatch
        | Answer::Ended(_)
        | Answer::Producers(_) => Err(CommitError::Unknown),
    }
}

/// The oldest incarnation whose process may still live. A later rise makes the transaction conflict.
pub(crate) async fn read_oldest_live(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
) -> Result<Incarnation, SequencerError> {
    let key = keys.counter(Counter::OldestLiveIncarnation);
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    let row = value.map(NumberRow::decode).transpose()?;
    Ok(Incarnation::new(row.map_or(0, |row| row.0)))
}

/// About how many bytes of memory a commit takes.
pub(crate) fn commit_bytes(commit: &ShardCommit) -> usize {
    let manifest = &commit.manifest;
    size_of::<Message>()
        + manifest.slices.len() * size_of::<SliceEntry>()
        + manifest.batch_count() * size_of::<BatchEntry>()
        + commit.conditions.len() * size_of::<(BatchPosition, BatchCondition)>()
        + commit.orders.len() * size_of::<(BatchPosition, OrderKey)>()
        + commit.dropped.len() * size_of::<BatchPosition>()
        + commit.after.len() * size_of::<SegmentName>()
        + commit.inline.as_ref().map_or(0, Bytes::len)
}

/// Bytes of memory of markers.
pub(crate) fn markers_bytes(markers: &[TransactionMarker]) -> usize {
    size_of::<Message>() + size_of_val(markers)
}

/// Bytes of rows, and of what keeps them in memory.
pub(crate) fn group_rows_bytes(rows: &[(Bytes, Option<Bytes>)]) -> usize {
    let bytes = |(key, value): &(Bytes, Option<Bytes>)| {
        key.len() + value.as_ref().map_or(0, Bytes::len) + size_of::<(Bytes, Option<Bytes>)>()
    };
    rows.iter().map(bytes).sum()
}

/// Decides one member of a group.
pub(crate) fn decide(
    group: &mut Group<'_>,
    known: &Known,
    shard: ShardId,
    message: &Message,
) -> Answer {
    match message {
        Message::Commit { commit, .. } => decide_commit(group, known, shard, commit),
        Message::SetToken { partition, .. }
        | Message::DeleteRecords { partition, .. }
        | Message::Producers { partition, .. }
            if group.state.is_gone(*partition) =>
        {
            Answer::Gone(*partition)
        }
        Message::SetToken {
            partition,
            expected,
            token,
            ..
        } => match group.set_token(shard, *partition, expected.as_ref(), token) {
            TokenVerdict::Set => Answer::Done,
            TokenVerdict::Mismatch => Answer::TokenMismatch,
        },
        Message::DeleteRecords {
            partition, before, ..
        } => {
            group.delete_records(shard, *partition, *before);
            Answer::Done
        }
        Message::Expire { moves } => {
            for (partition, before) in moves {
                group.expire(shard, *partition, *before);
            }
            Answer::Done
        }
        Message::Empty { partitions } => {
            for partition in partitions {
                group.empty(shard, *partition);
            }
            Answer::Done
        }
        Message::EndTransactions { markers, .. } => {
            Answer::Ended(group.end_transactions(shard, markers))
        }
        Message::Barrier { .. } => Answer::Done,
        Message::Producers { partition, .. } => Answer::Producers(group.producers_of(*partition)),
        Message::Rows { rows, .. } => {
            if group.put_group_rows(shard, rows) {
                Answer::Done
            } else {
                Answer::Malformed("a row is not one of the shard's consumer groups".to_owned())
            }
        }
    }
}

fn decide_commit(
    group: &mut Group<'_>,
    known: &Known,
    shard: ShardId,
    commit: &ShardCommit,
) -> Answer {
    let segment = commit.manifest.segment;
    if commit.manifest.shard != shard {
        return Answer::Malformed(format!("it is for shard `{}`", commit.manifest.shard));
    }
    if let Err(reason) = check_commit(commit) {
        return Answer::Malformed(reason);
    }
    if let Some(row) = known.receipts.get(&segment) {
        // The caller may have heard of it from an owner before, who is not here to remember.
        group.break_orders(commit, &row.receipt);
        return Answer::Receipt(row.receipt.clone(), row.group);
    }
    if let Some(receipt) = group.receipt_of(segment) {
        return Answer::Receipt(receipt.clone(), group.number());
    }
    let oldest_live = known.oldest_live;
    if oldest_live.is_some_and(|oldest| segment.incarnation < oldest) {
        return Answer::WriterEnded;
    }
    if let Some(floor) = known.floors.get(&segment.incarnation)
        && segment.sequence < *floor
    {
        let has_ended = FloorRow { floor: *floor }.has_ended();
        return if has_ended {
            Answer::WriterEnded
        } else {
            Answer::BelowFloor(*floor)
        };
    }
    let is_committed = |segment: &SegmentName| {
        known.committed.contains(segment)
            || known.receipts.contains_key(segment)
            || group.receipt_of(*segment).is_some()
    };
    if let Some(missing) = commit.after.iter().find(|segment| !is_committed(segment)) {
        return Answer::Early(*missing);
    }
    if let Some(reason) = &known.overload {
        return Answer::Overloaded(reason.clone());
    }
    if let Some(segment) = &commit.inline {
        let (room, decided) = (known.inline_room, &group.decided);
        let is_over = segment.len() as u64 > room.bytes.saturating_sub(decided.inline_bytes);
        if is_over || decided.inline_segments >= room.segments {
            return Answer::NotInline;
        }
    }
    match group.decide(commit) {
        Some(receipt) => Answer::Receipt(receipt, group.number()),
        None => Answer::Malformed("its rows are larger than the store takes".to_owned()),
    }
}
