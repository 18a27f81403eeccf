//! Closed segments between upload and answer, in the order in which they were closed.
//!
//! Uploads end in any order. A segment is committed as soon as it is stored, unless one that was closed
//! before it has batches of the same sender in the same partition and is not with the metadata service
//! yet: then it waits, so that what a sender sent in order is committed in order.

use std::collections::{BTreeMap, HashSet};

use tidelog_env::MonoTime;

use super::request::{AppendError, OrderedBy};
use super::segment::{ClosedSegment, StoredSegment};

/// Counts closed segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// Where a closed segment is.
#[derive(Debug)]
pub(super) enum Stage {
    /// On its way into the bucket.
    Uploading,
    /// In the bucket; waits for its turn.
    Stored(StoredSegment),
    /// With the metadata service; `open` are the manifests that it has not answered.
    Committing {
        stored: StoredSegment,
        open: Vec<usize>,
    },
}

/// A closed segment.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) segment: ClosedSegment,
    pub(super) stage: Stage,
    pub(super) closed_at: MonoTime,
}

/// All closed segments that are not answered.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pending: BTreeMap<Ticket, Pending>,
    last: Ticket,
}

impl Pipeline {
    /// How many segments are not answered.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many are being uploaded.
    pub(super) fn uploading(&self) -> usize {
        self.pending
            .values()
            .filter(|p| matches!(p.stage, Stage::Uploading))
            .count()
    }

    /// Takes a segment in.
    pub(super) fn push(&mut self, segment: ClosedSegment, closed_at: MonoTime) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        let pending = Pending {
            segment,
            stage: Stage::Uploading,
            closed_at,
        };
        self.pending.insert(self.last, pending);
        self.last
    }

    /// Puts a segment back under its ticket, to be uploaded again.
    pub(super) fn put_back(&mut self, ticket: Ticket, pending: Pending) {
        self.pending.insert(ticket, pending);
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Pending> {
        self.pending.get_mut(&ticket)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Pending> {
        self.pending.remove(&ticket)
    }

    /// The stored segments that may be committed now, oldest first.
    pub(super) fn ready(&self) -> Vec<Ticket> {
        let mut waiting: HashSet<OrderedBy> = HashSet::new();
        let mut ready = Vec::new();
        for (ticket, pending) in &self.pending {
            let senders = &pending.segment.senders;
            match &pending.stage {
                Stage::Committing { .. } => {}
                Stage::Stored(_) if senders.is_disjoint(&waiting) => ready.push(*ticket),
                Stage::Stored(_) | Stage::Uploading => waiting.extend(senders),
            }
        }
        ready
    }

    /// Fails what depends on a segment that could not be stored: the batches of its senders in later
    /// segments, and what depends on those. Returns all senders concerned.
    pub(super) fn fail_behind(
        &mut self,
        ticket: Ticket,
        mut senders: HashSet<OrderedBy>,
        error: &AppendError,
    ) -> HashSet<OrderedBy> {
        for (_, pending) in self.pending.range_mut(ticket..) {
            // What is with the metadata service already was sent before, since it shares no sender.
            if matches!(pending.stage, Stage::Committing { .. }) {
                continue;
            }
            let more = pending.segment.fail_dependants(&senders, error);
            senders.extend(more);
        }
        senders
    }
}
