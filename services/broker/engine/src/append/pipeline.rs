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
use tidelog_types::{BucketId, SegmentName, SegmentSequence, ShardId};

use super::request::{AppendError, OrderedBy};
use super::segment::{ClosedSegment, StoredSegment};
use crate::classes::Lane;

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
    /// The lowest sequence that is needed for it: it may be committed under that one, or its commit that
    /// is under way names that one as coming first.
    pub(super) needs_from: SegmentSequence,
    pub(super) closed_at: MonoTime,
    /// How long to wait before the metadata service is asked again.
    pub(super) backoff: Backoff,
    /// The class and the shard of which it is, as long as it is under way together with its bytes.
    pub(super) express: Option<(Lane, ShardId)>,
    /// Whether the store has not taken it so, and is asked again since the bucket has no room for it either.
    pub(super) is_refused: bool,
    /// Whether the metadata service was asked under the name that it is being uploaded under.
    pub(super) was_asked: bool,
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

    /// The segments that are being uploaded to a bucket: how many, and how large they are.
    pub(super) fn uploading_to(&self, bucket: BucketId) -> (usize, u64) {
        let pending = self.pending.values();
        let there = pending.filter(|pending| {
            matches!(pending.stage, Stage::Uploading) && pending.segment.bucket == bucket
        });
        there.fold((0, 0), |(count, bytes), pending| {
            (count + 1, bytes + pending.segment.writer.bytes())
        })
    }

    /// Takes a segment in that is being uploaded, under the sequence `next` or a later one.
    pub(super) fn push(
        &mut self,
        segment: ClosedSegment,
        next: SegmentSequence,
        closed_at: MonoTime,
        backoff: Backoff,
    ) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        let pending = Pending {
            segment,
            stage: Stage::Uploading,
            needs_from: next,
            closed_at,
            backoff,
            express: None,
            is_refused: false,
            was_asked: false,
        };
        self.pending.insert(self.last, pending);
        self.last
    }

    /// Takes note that a segment goes with its bytes, as one of a class and a shard.
    pub(super) fn on_express(
        &mut self,
        ticket: Ticket,
        of: (Lane, ShardId),
        stored: StoredSegment,
    ) {
        self.on_stored(ticket, stored);
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.express = Some(of);
        }
    }

    /// Whether a segment of a class and a shard is on its way together with its bytes, also where it rests: what comes next
    /// waits for it, at most for the linger of its class. It would make a segment with each batch, and a broker has so many
    /// unanswered ones in all.
    pub(super) fn has_express(&self, of: (Lane, ShardId)) -> bool {
        let mut pending = self.pending.values();
        pending.any(|pending| pending.express == Some(of))
    }

    /// Whether the store is to be asked again about a segment of a class and a shard that it has not taken.
    pub(super) fn has_refused(&self, of: (Lane, ShardId)) -> bool {
        let mut pending = self.pending.values();
        pending.any(|pending| pending.is_refused && pending.express == Some(of))
    }

    /// How many such segments would go to a bucket.
    pub(super) fn refused_of(&self, bucket: BucketId) -> usize {
        let pending = self.pending.values();
        let refused = pending.filter(|pending| pending.is_refused && pending.express.is_some());
        refused
            .filter(|pending| pending.segment.bucket == bucket)
            .count()
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
            pending.needs_from = stored.name.sequence;
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
        let mut commits = pending.segment.commits(stored, open, &earlier);
        let (open, own) = (open.clone(), stored.name);
        let named = commits.iter().flat_map(|commit| &commit.after);
        let needs_from = named.chain([&own]).map(|name| name.sequence).min();
        self.pending.get_mut(&ticket)?.needs_from = needs_from?;
        let done_below = self.done_below()?;
        for commit in &mut commits {
            commit.done_below = done_below;
        }
        Some((open, commits))
    }

    /// Below it nothing is asked about any more. Segments that are closed later have later sequences.
    fn done_below(&self) -> Option<SegmentSequence> {
        let pending = self.pending.values();
        pending.map(|pending| pending.needs_from).min()
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
    use std::sync::Arc;
    use std::time::Duration;

    use tidelog_env::BackoffPolicy;
    use tidelog_format::batch::{BatchBuilder, Compression};
    use tidelog_format::segment::{Nonce, SegmentIdentity};
    use tidelog_metadata_api::{
        BatchCondition, OrderKey, PartitionInfo, TopicConfig, TopicInfo, TopicState,
    };
    use tidelog_types::{
        ClusterId, Incarnation, PartitionIndex, ShardId, Timestamp, TopicId, TopicName,
        TopicNumber, TopicPartition,
    };
    use tokio::sync::oneshot;

    use super::super::request::{Append, Entry};
    use super::super::segment::OpenSegment;
    use super::*;
    use crate::memory::MemoryShare;

    /// A batch of one sender.
    fn entry(order: u64) -> Entry {
        let topic = TopicInfo {
            id: TopicId::from_bytes([1; 16]),
            number: TopicNumber::new(1),
            name: TopicName::new("log").unwrap(),
            partitions: vec![PartitionInfo {
                shard: ShardId::new(0),
            }],
            counts: Vec::new(),
            config: TopicConfig::default(),
            state: TopicState::Live,
            created_at: Timestamp::default(),
        };
        let mut batch = BatchBuilder::new(Compression::None, 0);
        let time = Timestamp::default();
        batch.append(time, None, Some(b"value"), &[]).unwrap();
        let (reply, _) = oneshot::channel();
        Entry {
            append: Append {
                topic: Arc::new(topic),
                partition: PartitionIndex::new(0),
                batch: batch.finish(None).unwrap(),
                condition: BatchCondition::default(),
                order: Some(OrderKey(order)),
            },
            partition: TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(0)),
            lane: Lane::default(),
            log_append_time: None,
            reply: Some(reply),
            _hold: Arc::new(MemoryShare::new(1).try_hold(1).unwrap()),
        }
    }

    /// Segments of one batch each, uploaded under sequences from `next` on.
    fn push(pipeline: &mut Pipeline, order: u64, next: u64) -> Ticket {
        let mut open = OpenSegment::new(BucketId::default(), MonoTime::START);
        assert!(open.push(entry(order)).is_ok());
        let backoff = BackoffPolicy::new(Duration::ZERO, Duration::ZERO, 1).start();
        let next = SegmentSequence::new(next);
        pipeline.push(open.close(), next, MonoTime::START, backoff)
    }

    fn store(pipeline: &mut Pipeline, ticket: Ticket, sequence: u64) {
        let identity = SegmentIdentity {
            cluster: ClusterId::from_bytes([2; 16]),
            bucket: BucketId::default(),
            name: SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence)),
            nonce: Nonce::new([3; 16]),
        };
        let pending = pipeline.pending.get(&ticket).unwrap();
        let sealed = pending.segment.writer.seal(&identity).unwrap();
        let stored = StoredSegment {
            name: sealed.name,
            places: sealed.places().to_vec(),
            manifests: sealed.manifests,
            inline: None,
        };
        pipeline.on_stored(ticket, stored);
    }

    /// What the commit of a segment says: which come first, and below which all is done.
    fn commit(pipeline: &mut Pipeline, ticket: Ticket) -> (Vec<u64>, u64) {
        let (_, commits) = pipeline.commit(ticket).unwrap();
        assert_eq!(commits.len(), 1);
        let after = commits[0].after.iter().map(|name| name.sequence.get());
        (after.collect(), commits[0].done_below.get())
    }

    fn rest(pipeline: &mut Pipeline, ticket: Ticket) {
        let pending = pipeline.pending.get_mut(&ticket).unwrap();
        pending.stage = match std::mem::replace(&mut pending.stage, Stage::Uploading) {
            Stage::Committing(uncommitted) => Stage::Resting(uncommitted),
            other => panic!("{other:?} is not asked about"),
        };
        pipeline.on_rested(ticket);
    }

    #[test]
    fn a_closed_segment_is_sent_once_when_it_is_stored() {
        let mut pipeline = Pipeline::default();
        let ticket = push(&mut pipeline, 1, 1);
        assert!(pipeline.ready().is_empty(), "it is not stored yet");
        assert_eq!(pipeline.uploading(), 1);
        store(&mut pipeline, ticket, 1);
        assert_eq!(pipeline.ready(), [ticket]);
        assert!(pipeline.commit(ticket).is_some());
        assert!(pipeline.ready().is_empty(), "it was sent");
        assert!(pipeline.remove(ticket).is_some());
        assert!(pipeline.is_empty());
    }

    #[test]
    fn what_goes_with_its_bytes_counts_also_while_it_waits() {
        let mut pipeline = Pipeline::default();
        let of = (Lane::default(), ShardId::new(3));
        let ticket = push(&mut pipeline, 1, 5);
        store(&mut pipeline, ticket, 5);
        assert!(!pipeline.has_express(of));
        if let Some(pending) = pipeline.pending.get_mut(&ticket) {
            pending.express = Some(of);
        }
        assert!(pipeline.has_express(of), "it is stored");
        assert!(pipeline.commit(ticket).is_some());
        assert!(pipeline.has_express(of), "it is asked about");
        rest(&mut pipeline, ticket);
        assert!(pipeline.has_express(of), "it has rested");
        assert!(!pipeline.has_express((Lane::default(), ShardId::new(4))));
        pipeline.remove(ticket);
        assert!(!pipeline.has_express(of));
    }

    #[test]
    fn a_commit_says_that_all_is_done_below_the_lowest_that_is_not_answered() {
        let mut pipeline = Pipeline::default();
        let [slow, quick, last] = [(1, 4), (2, 5), (3, 6)].map(|(o, n)| push(&mut pipeline, o, n));
        store(&mut pipeline, quick, 5);
        // The slow one may be stored under any sequence from where it began.
        assert_eq!(commit(&mut pipeline, quick), (vec![], 4));
        // Its hedge was stored, and nothing will be asked about the first attempt.
        store(&mut pipeline, slow, 7);
        store(&mut pipeline, last, 6);
        assert_eq!(
            commit(&mut pipeline, last),
            (vec![], 5),
            "it is not answered"
        );
        pipeline.remove(quick);
        assert_eq!(commit(&mut pipeline, slow), (vec![], 6));
        pipeline.remove(last);
        // Without an answer it is asked about again, with what is known then.
        rest(&mut pipeline, slow);
        assert_eq!(commit(&mut pipeline, slow), (vec![], 7));
    }

    #[test]
    fn what_a_commit_under_way_names_is_not_done_although_it_is_answered() {
        let mut pipeline = Pipeline::default();
        let [first, second, other] =
            [(1, 1), (1, 2), (3, 3)].map(|(o, n)| push(&mut pipeline, o, n));
        for (ticket, sequence) in [(first, 1), (second, 2), (other, 3)] {
            store(&mut pipeline, ticket, sequence);
        }
        assert_eq!(commit(&mut pipeline, first), (vec![], 1));
        assert_eq!(commit(&mut pipeline, second), (vec![1], 1));
        pipeline.remove(first);
        assert_eq!(commit(&mut pipeline, other), (vec![], 1));
        // The next commit of the second names it no more.
        rest(&mut pipeline, second);
        assert_eq!(commit(&mut pipeline, second), (vec![], 2));
    }
}
