//! Segments on their way: open, closed, stored, committed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tidelog_env::MonoTime;
use tidelog_format::manifest::{Manifest, Outcome};
use tidelog_format::segment::{BatchPlace, PushError, SegmentWriter};
use tidelog_metadata_api::{BatchPosition, BrokenKey, BrokenReason, CommitAnswer, ShardCommit};
use tidelog_types::{BucketId, ErrorCode, Offset, SegmentName, SegmentSequence, ShardId};

use super::request::{AppendError, Appended, Entry, OrderedBy};

/// The segment that batches join.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) writer: SegmentWriter,
    pub(super) entries: Vec<Entry>,
    pub(super) opened_at: MonoTime,
    /// Where it will lie.
    pub(super) bucket: BucketId,
}

impl OpenSegment {
    pub(super) fn new(bucket: BucketId, opened_at: MonoTime) -> Self {
        Self {
            writer: SegmentWriter::new(),
            entries: Vec::new(),
            opened_at,
            bucket,
        }
    }

    /// Adds a batch; gives it back if it does not fit.
    pub(super) fn push(&mut self, entry: Entry) -> Result<(), (Box<Entry>, PushError)> {
        let append = &entry.append;
        let Ok((partition, info)) = append.topic.partition(append.partition) else {
            // Checked when the batch was taken; a topic's description does not change.
            return Ok(());
        };
        match self
            .writer
            .push(append.topic.id, partition, info.shard, append.batch.clone())
        {
            Ok(_) => {
                self.entries.push(entry);
                Ok(())
            }
            Err(error) => Err((Box::new(entry), error)),
        }
    }

    /// The same batches in a segment for each of some shards, and in one for all others, if there are others. Those of one
    /// partition stay together, in their order.
    pub(super) fn by_shard(
        self,
        wanted: &BTreeSet<ShardId>,
    ) -> (BTreeMap<ShardId, Self>, Option<Self>) {
        let new = || Self::new(self.bucket, self.opened_at);
        let mut shards: BTreeMap<ShardId, Self> = BTreeMap::new();
        let mut others: Option<Self> = None;
        for entry in self.entries {
            let partition = entry.append.topic.partition(entry.append.partition);
            let shard = partition.ok().map(|(_, info)| info.shard);
            let open = match shard.filter(|shard| wanted.contains(shard)) {
                Some(shard) => shards.entry(shard).or_insert_with(new),
                None => others.get_or_insert_with(new),
            };
            // They fitted into one segment before.
            let _ = open.push(entry);
        }
        (shards, others)
    }

    /// A segment of the batches that were not answered, if there are any.
    fn of_unanswered(bucket: BucketId, entries: Vec<Entry>, opened_at: MonoTime) -> Option<Self> {
        let mut open = Self::new(bucket, opened_at);
        for entry in entries {
            if !entry.is_answered() {
                // They fitted into one segment before.
                let _ = open.push(entry);
            }
        }
        (!open.entries.is_empty()).then_some(open)
    }

    /// Fails what depends on `senders`, see [`ClosedSegment::fail_dependants`]; those batches are not
    /// stored any more. Nothing may be left.
    pub(super) fn fail_dependants(
        mut self,
        senders: &mut HashSet<OrderedBy>,
        error: &AppendError,
    ) -> Option<Self> {
        if fail_dependants(&mut self.entries, senders, error) {
            Self::of_unanswered(self.bucket, self.entries, self.opened_at)
        } else {
            Some(self)
        }
    }

    pub(super) fn close(self) -> ClosedSegment {
        let mut closed = ClosedSegment {
            writer: Arc::new(self.writer),
            entries: self.entries,
            bucket: self.bucket,
            senders: HashSet::new(),
        };
        closed.find_senders();
        closed
    }
}

/// A segment that takes no more batches.
#[derive(Debug)]
pub(super) struct ClosedSegment {
    pub(super) writer: Arc<SegmentWriter>,
    pub(super) entries: Vec<Entry>,
    pub(super) bucket: BucketId,
    /// Of the batches that are not answered.
    senders: HashSet<OrderedBy>,
}

/// What is known of a stored segment: its one name, and where its batches are.
#[derive(Debug)]
pub(super) struct StoredSegment {
    pub(super) name: SegmentName,
    pub(super) manifests: Vec<Manifest>,
    pub(super) places: Vec<BatchPlace>,
    /// Its bytes, if it is not in the bucket but goes with its commit.
    pub(super) inline: Option<Bytes>,
}

impl ClosedSegment {
    /// The senders of the batches that are not answered.
    pub(super) const fn senders(&self) -> &HashSet<OrderedBy> {
        &self.senders
    }

    /// Whether nobody waits for this segment any more.
    pub(super) fn is_answered(&self) -> bool {
        self.entries.iter().all(Entry::is_answered)
    }

    /// To be called whenever batches were answered.
    fn find_senders(&mut self) {
        let unanswered = self.entries.iter().filter(|entry| !entry.is_answered());
        self.senders = unanswered.flat_map(Entry::senders).collect();
    }

    /// Fails every unanswered batch; tells whose they were.
    pub(super) fn fail_all(&mut self, error: &AppendError) -> HashSet<OrderedBy> {
        for entry in &mut self.entries {
            entry.answer(Err(error.clone()));
        }
        std::mem::take(&mut self.senders)
    }

    /// Fails the unanswered batches that come from one of `senders`, and adds the senders that those
    /// batches have besides, since what is behind them fails too.
    pub(super) fn fail_dependants(
        &mut self,
        senders: &mut HashSet<OrderedBy>,
        error: &AppendError,
    ) {
        if fail_dependants(&mut self.entries, senders, error) {
            self.find_senders();
        }
    }

    /// The commits of some manifests of the stored segment, which do not say yet what is done. `earlier` are the segments that are with the
    /// metadata service already, and whose batches are not answered: the last one first.
    pub(super) fn commits(
        &self,
        stored: &StoredSegment,
        wanted: &[usize],
        earlier: &[(SegmentName, &HashSet<OrderedBy>)],
    ) -> Vec<ShardCommit> {
        let mut commits: Vec<Option<ShardCommit>> = stored
            .manifests
            .iter()
            .enumerate()
            .map(|(index, manifest)| {
                wanted.contains(&index).then(|| ShardCommit {
                    manifest: manifest.clone(),
                    conditions: Vec::new(),
                    orders: Vec::new(),
                    dropped: Vec::new(),
                    after: self.after(stored, index, earlier),
                    done_below: SegmentSequence::default(),
                    inline: stored.inline.clone(),
                })
            })
            .collect();
        for (entry, place) in self.entries.iter().zip(&stored.places) {
            let Some(Some(commit)) = commits.get_mut(index(place.manifest)) else {
                continue;
            };
            let position = BatchPosition {
                slice: place.slice,
                batch: place.batch,
            };
            if entry.is_answered() {
                commit.dropped.push(position);
            }
            if !entry.append.condition.is_empty() {
                commit
                    .conditions
                    .push((position, entry.append.condition.clone()));
            }
            commit
                .orders
                .extend(entry.append.order.map(|order| (position, order)));
        }
        let mut commits: Vec<ShardCommit> = commits.into_iter().flatten().collect();
        for commit in &mut commits {
            commit
                .conditions
                .sort_unstable_by_key(|(position, _)| *position);
            commit
                .orders
                .sort_unstable_by_key(|(position, _)| *position);
            commit.dropped.sort_unstable();
        }
        commits
    }

    /// The segments that must be committed before a manifest of this one: for each sender of its batches
    /// the last one, since that one in turn comes after those before it.
    fn after(
        &self,
        stored: &StoredSegment,
        manifest: usize,
        earlier: &[(SegmentName, &HashSet<OrderedBy>)],
    ) -> Vec<SegmentName> {
        if earlier.is_empty() {
            return Vec::new();
        }
        let entries = self.entries.iter().zip(&stored.places);
        let mut senders: HashSet<OrderedBy> = entries
            .filter(|(entry, place)| index(place.manifest) == manifest && !entry.is_answered())
            .flat_map(|(entry, _)| entry.senders())
            .collect();
        let mut after = Vec::new();
        for (name, theirs) in earlier {
            let before = senders.len();
            senders.retain(|sender| !theirs.contains(sender));
            if senders.len() < before {
                after.push(*name);
            }
            if senders.is_empty() {
                break;
            }
        }
        after
    }

    /// Answers the batches of one manifest. Returns the orders that a refusal breaks, with the reason.
    pub(super) fn answer_manifest(
        &mut self,
        stored: &StoredSegment,
        manifest: usize,
        answer: &CommitAnswer,
    ) -> Vec<(BrokenKey, BrokenReason)> {
        let mut refused = Vec::new();
        for (entry, place) in self.entries.iter_mut().zip(&stored.places) {
            if index(place.manifest) != manifest {
                continue;
            }
            let outcome = answer.outcomes.get(index(place.outcome));
            let result = appended(entry, outcome, answer);
            if let (Err(AppendError::Refused { code, detail }), Some(order)) =
                (&result, entry.append.order)
            {
                refused.push(((order, entry.partition), (*code, detail.clone())));
            }
            entry.answer(result);
        }
        self.find_senders();
        refused
    }

    /// Fails the unanswered batches of one manifest; tells whose they were.
    pub(super) fn fail_manifest(
        &mut self,
        stored: &StoredSegment,
        manifest: usize,
        error: &AppendError,
    ) -> HashSet<OrderedBy> {
        let mut senders = HashSet::new();
        for (entry, place) in self.entries.iter_mut().zip(&stored.places) {
            if index(place.manifest) == manifest && !entry.is_answered() {
                senders.extend(entry.senders());
                entry.answer(Err(error.clone()));
            }
        }
        self.find_senders();
        senders
    }

    /// The same batches, those that were answered left out, to be stored again under another name.
    pub(super) fn again(self, opened_at: MonoTime) -> Option<Self> {
        OpenSegment::of_unanswered(self.bucket, self.entries, opened_at).map(OpenSegment::close)
    }
}

/// See [`ClosedSegment::fail_dependants`]. Says whether any failed. Entries are in the order in which they
/// came, so that one pass finds all.
fn fail_dependants(
    entries: &mut [Entry],
    senders: &mut HashSet<OrderedBy>,
    error: &AppendError,
) -> bool {
    let mut any = false;
    for entry in entries.iter_mut().filter(|entry| !entry.is_answered()) {
        if entry.senders().any(|sender| senders.contains(&sender)) {
            senders.extend(entry.senders());
            entry.answer(Err(error.clone()));
            any = true;
        }
    }
    any
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a caller hears of a batch's outcome.
fn appended(
    entry: &Entry,
    outcome: Option<&Outcome>,
    answer: &CommitAnswer,
) -> Result<Appended, AppendError> {
    let count = u64::from(entry.append.batch.record_count());
    let at = |base_offset: Offset, duplicate: bool| Appended {
        base_offset,
        next_offset: Offset::new(base_offset.get().saturating_add(count)),
        duplicate,
        // What a duplicate was stamped with the first time is in the log, not here.
        log_append_time: entry.log_append_time.filter(|_| !duplicate),
        token: answer.token,
    };
    match outcome {
        Some(Outcome::Accepted { base_offset }) => Ok(at(*base_offset, false)),
        Some(Outcome::Duplicate { first_offset }) => Ok(at(*first_offset, true)),
        Some(Outcome::Refused { code, detail }) => Err(AppendError::Refused {
            code: *code,
            detail: detail.clone(),
        }),
        None => Err(AppendError::Refused {
            code: ErrorCode::Internal,
            detail: tidelog_format::manifest::RefusalDetail::None,
        }),
    }
}
