//! Closed segments between upload and answer, in the order in which they were closed.
//!
//! Uploads end in any order. A segment is committed as soon as it is stored, unless one that was closed
//! before it has batches of the same sender in the same partition and is not with the metadata service:
//! then it waits, so that what a sender sent in order is committed in order. When both are with the
//! metadata service at the same time, the commit of the later one names the earlier one, which may yet be
//! refused and come back: then the later one is refused too, and waits again.

use std::collections::{BTreeMap, HashSet};

use tidelog_env::{Backoff, MonoTime};
use tidelog_metadata_api::ShardCommit;
use tidelog_types::SegmentName;

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
    Stored(Uncommitted),
    /// With the metadata service.
    Committing(Uncommitted),
    /// Asked about without an answer; will be asked about again after a while.
    Resting(Uncommitted),
}

/// A segment in the bucket.
#[derive(Debug)]
pub(super) struct Uncommitted {
    pub(super) stored: StoredSegment,
    /// The manifests that the metadata service has not answered.
    pub(super) open: Vec<usize>,
}

/// A closed segment.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) segment: ClosedSegment,
    pub(super) stage: Stage,
    pub(super) closed_at: MonoTime,
    /// How long to wait before the metadata service is asked again.
    pub(super) backoff: Backoff,
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

    /// Takes a segment in that is being uploaded.
    pub(super) fn push(
        &mut self,
        segment: ClosedSegment,
        closed_at: MonoTime,
        backoff: Backoff,
    ) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        let pending = Pending {
            segment,
            stage: Stage::Uploading,
            closed_at,
            backoff,
        };
        self.pending.insert(self.last, pending);
        self.last
    }

    /// Puts a segment back under its ticket.
    pub(super) fn put_back(&mut self, ticket: Ticket, pending: Pending) {
        self.pending.insert(ticket, pending);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Pending> {
        self.pending.remove(&ticket)
    }

    /// Takes note that a segment is in the bucket.
    pub(super) fn on_stored(&mut self, ticket: Ticket, stored: StoredSegment) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            let open = (0..stored.manifests.len()).collect();
            pending.stage = Stage::Stored(Uncommitted { stored, open });
        }
    }

    /// Takes note that a segment has rested.
    pub(super) fn on_rested(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.stage = match std::mem::replace(&mut pending.stage, Stage::Uploading) {
                Stage::Resting(uncommitted) => Stage::Stored(uncommitted),
                other => other,
            };
        }
    }

    /// The stored segments that may be committed now, oldest first.
    pub(super) fn ready(&self) -> Vec<Ticket> {
        let mut waiting: HashSet<OrderedBy> = HashSet::new();
        let mut ready = Vec::new();
        for (ticket, pending) in &self.pending {
            let senders = pending.segment.senders();
            match &pending.stage {
                Stage::Committing(_) => {}
                Stage::Stored(_) if senders.is_disjoint(&waiting) => ready.push(*ticket),
                Stage::Stored(_) | Stage::Uploading | Stage::Resting(_) => waiting.extend(senders),
            }
        }
        ready
    }

    /// The commits of a stored segment, which is with the metadata service from now on, and the manifests
    /// that they are of.
    pub(super) fn commit(&mut self, ticket: Ticket) -> Option<(Vec<usize>, Vec<ShardCommit>)> {
        let pending = self.pending.get_mut(&ticket)?;
        pending.stage = match std::mem::replace(&mut pending.stage, Stage::Uploading) {
            Stage::Stored(uncommitted) => Stage::Committing(uncommitted),
            other => other,
        };
        let pending = self.pending.get(&ticket)?;
        let Stage::Committing(Uncommitted { stored, open }) = &pending.stage else {
            return None;
        };
        let earlier: Vec<(SegmentName, &HashSet<OrderedBy>)> = self
            .pending
            .range(..ticket)
            .rev()
            .filter_map(|(_, pending)| match &pending.stage {
                Stage::Committing(other) => Some((other.stored.name, pending.segment.senders())),
                _ => None,
            })
            .collect();
        let commits = pending.segment.commits(stored, open, &earlier);
        Some((open.clone(), commits))
    }

    /// Fails what depends on a segment whose batches are lost: the batches of its senders in later
    /// segments, and what depends on those. Adds all senders concerned. Segments that nobody waits for any
    /// more are let go; answers how many.
    ///
    /// What is with the metadata service already fails too: its commit comes after the lost segment, so it
    /// is refused.
    pub(super) fn fail_behind(
        &mut self,
        ticket: Ticket,
        senders: &mut HashSet<OrderedBy>,
        error: &AppendError,
    ) -> usize {
        for (_, pending) in self.pending.range_mut(ticket..) {
            pending.segment.fail_dependants(senders, error);
        }
        let before = self.len();
        self.pending.retain(|_, pending| {
            let is_at_rest = matches!(pending.stage, Stage::Stored(_) | Stage::Resting(_));
            !(is_at_rest && pending.segment.is_answered())
        });
        before - self.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidelog_env::BackoffPolicy;

    use super::super::segment::OpenSegment;
    use super::*;

    #[test]
    fn a_closed_segment_is_sent_once_when_it_is_stored() {
        let mut pipeline = Pipeline::default();
        let segment = OpenSegment::new(MonoTime::START).close();
        let backoff = BackoffPolicy::new(Duration::ZERO, Duration::ZERO, 1).start();
        let ticket = pipeline.push(segment, MonoTime::START, backoff);
        assert!(pipeline.ready().is_empty(), "it is not stored yet");
        assert_eq!(pipeline.uploading(), 1);
        let stored = StoredSegment {
            name: SegmentName::default(),
            manifests: Vec::new(),
            places: Vec::new(),
        };
        pipeline.on_stored(ticket, stored);
        assert_eq!(pipeline.ready(), [ticket]);
        assert!(pipeline.commit(ticket).is_some());
        assert!(pipeline.ready().is_empty(), "it was sent");
        assert!(pipeline.remove(ticket).is_some());
        assert!(pipeline.is_empty());
    }
}
