//! The words of a commit: what a broker asks of a sequencer and what it hears.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;
use tidelog_format::manifest::{Manifest, Outcome};
use tidelog_types::limits::FENCING_TOKEN_BYTES_MAX;
use tidelog_types::{Offset, SegmentName, SegmentSequence};

use crate::{ReadToken, TransactionNumber};

/// A token that a writer of a partition must name once it is set; at most 36 bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct FencingToken(Bytes);

/// A fencing token is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a fencing token has at most {FENCING_TOKEN_BYTES_MAX} bytes, not `{0}`")]
pub struct FencingTokenError(pub usize);

impl FencingToken {
    /// Checks the length. The empty token is the one that every partition begins with.
    pub fn new(bytes: Bytes) -> Result<Self, FencingTokenError> {
        if bytes.len() > FENCING_TOKEN_BYTES_MAX {
            return Err(FencingTokenError(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The bytes of the token.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FencingToken({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// What must hold for a batch to be accepted (rule C8), and what its acceptance sets. All are checked
/// in commit order, after the check for duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchCondition {
    /// The offset that the batch's first record must get.
    pub expected_next: Option<Offset>,
    /// The partition's fencing token as the writer knows it.
    pub fencing_token: Option<FencingToken>,
    /// The token that holds after this batch.
    pub set_fencing_token: Option<FencingToken>,
    /// The transaction that the batch is part of, as its coordinator counts: it must not have ended. A transactional
    /// batch without one is refused, and so is any other batch with one.
    pub transaction: Option<TransactionNumber>,
}

impl BatchCondition {
    /// Whether nothing is asked.
    pub const fn is_empty(&self) -> bool {
        self.expected_next.is_none()
            && self.fencing_token.is_none()
            && self.set_fencing_token.is_none()
            && self.transaction.is_none()
    }
}

/// Batches with one key and one partition were sent in order by one caller, who wants a batch to fail
/// when an earlier one did. The broker takes a new key once the caller has heard of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(pub u64);

/// Where a batch stands in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchPosition {
    /// The slice, counted from 0.
    pub slice: u32,
    /// The batch in the slice, counted from 0.
    pub batch: u32,
}

/// Asks the owner of a shard to commit what a stored segment holds for it.
///
/// May be sent again under the same segment name after any error: the answer is then the first one's.
#[derive(Clone, Debug)]
pub struct ShardCommit {
    /// What the segment holds for the shard.
    pub manifest: Manifest,
    /// The batches with conditions, in the order of their positions.
    pub conditions: Vec<(BatchPosition, BatchCondition)>,
    /// The batches whose caller wants later ones to fail with them, in the order of their positions.
    pub orders: Vec<(BatchPosition, OrderKey)>,
    /// Batches that the broker itself has given up since they depend on one that failed. They are
    /// refused without being looked at.
    pub dropped: Vec<BatchPosition>,
    /// Segments of the same broker whose batches of the same senders come first, each with a manifest for
    /// this shard. Unless all of them are committed the answer is [`CommitError::Early`], so that what was
    /// sent in order is never committed out of it, also when an earlier segment has to be stored again.
    ///
    /// [`CommitError::Early`]: crate::CommitError::Early
    pub after: Vec<SegmentName>,
    /// Below this sequence the writer is done: it has the answers to all commits of its incarnation that
    /// it may ever send, and no commit that is still to come, nor this one, names one in `after`. The
    /// floor of the incarnation follows by and by, and receipts below it go (rule C5). 0 says nothing.
    pub done_below: SegmentSequence,
    /// The whole segment, where it is not in a bucket but is to lie in the store: then the manifest names
    /// [`BucketId::STORE`], and the segment has at most
    /// [`INLINE_SEGMENT_BYTES_MAX`](tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX) bytes and batches of this shard
    /// alone. It becomes durable together with its offsets, in one transaction.
    ///
    /// [`BucketId::STORE`]: tidelog_types::BucketId::STORE
    pub inline: Option<Bytes>,
}

/// The durable result of a [`ShardCommit`].
#[derive(Clone, Debug)]
pub struct CommitAnswer {
    /// One per batch of the manifest, in its order: slice after slice.
    pub outcomes: Vec<Outcome>,
    /// A read with this token sees what was accepted.
    pub token: ReadToken,
}
