//! Bounds and extents of many partitions, each from the owner of its shard.

use std::collections::{BTreeMap, HashMap};

use futures::FutureExt as _;
use futures::future::join_all;
use tidelog_env::MonoTime;
use tidelog_metadata_api::{
    LogError, LookupAnswer, LookupRequest, OffsetQuery, PartitionBounds, ShardOwner,
};
use tidelog_types::{MemberId, Offset, ShardId, TopicPartition};

use super::ask::{Elsewhere as _, no_answer, no_owner, unavailable};
use super::shards::Topics;
use super::{Router, named};
use crate::following::{Known, Trust, highest};
use crate::server::Parts;

/// After so many waits for an owner another process is asked for history, which it may know by itself.
const WAITS_BEFORE_HISTORY: u32 = 3;

type Answer = Result<LookupAnswer, LogError>;

/// A lookup that has no answer yet.
struct Open {
    /// Its place among all.
    at: usize,
    shard: ShardId,
    /// What the view says of the shard.
    named: Option<ShardOwner>,
    /// What was shown before; an answer below it is an old one.
    floor: PartitionBounds,
    session: Option<u64>,
    trust: Trust,
}

/// Lookups that one process is asked.
struct Batch {
    parts: Parts,
    open: Vec<Open>,
    /// It does not own the shards: what it knows is old, and of old things it knows enough.
    is_history: bool,
}

impl Router {
    pub(super) async fn locate_all(&self, requests: &[LookupRequest]) -> Vec<Answer> {
        let mut patience = self.patience();
        let mut answers: Vec<Answer> = requests.iter().map(|_| Err(LogError::NotOwner)).collect();
        let mut left: Vec<usize> = (0..requests.len()).collect();
        loop {
            let asks_history = patience.waits >= WAITS_BEFORE_HISTORY;
            let deadline = patience.deadline();
            let batches = self.plan(requests, &mut left, &mut answers, asks_history, deadline);
            let batches = batches.await;
            let asked = batches.into_iter();
            let asked = asked.map(|batch| self.ask(requests, batch, deadline));
            for (at, answer) in join_all(asked).await.into_iter().flatten() {
                let is_open = matches!(&answer, Err(error) if error.is_elsewhere());
                if !is_open {
                    left.retain(|open| *open != at);
                }
                put(&mut answers, at, answer);
            }
            if left.is_empty() {
                return answers;
            }
            if answers.iter().any(Result::is_ok) {
                // Those who have their answers do not wait long for the others.
                patience.limit(self.inner.settings.owner_wait);
            }
            self.inner.metrics.rerouted.inc();
            if !patience.wait().await {
                let answers = answers.into_iter();
                return answers.map(|answer| answer.map_err(unavailable)).collect();
            }
        }
    }

    /// Answers what is known, and parts the rest by whom to ask.
    async fn plan(
        &self,
        requests: &[LookupRequest],
        left: &mut Vec<usize>,
        answers: &mut [Answer],
        asks_history: bool,
        deadline: MonoTime,
    ) -> Vec<Batch> {
        let view = self.view();
        let mut batches: HashMap<MemberId, Batch> = HashMap::new();
        let mut orphans = Vec::new();
        let mut still_left = Vec::with_capacity(left.len());
        let asked = left.drain(..);
        let asked = asked.filter_map(|at| Some((at, requests.get(at)?)));
        let asked: Vec<(usize, &LookupRequest)> = asked.collect();
        let partitions: Vec<_> = asked.iter().map(|(_, asked)| asked.partition).collect();
        let shards = self.shards_of(&partitions, Topics::Live, deadline).await;
        for ((at, request), shard) in asked.into_iter().zip(shards) {
            let shard = match shard {
                Ok(shard) => shard,
                Err(error) => {
                    put(answers, at, Err(error));
                    continue;
                }
            };
            let owner = self.owner(&view, shard);
            let member = owner.as_ref().map(|(member, _)| *member);
            let known = self
                .inner
                .following
                .bounds(shard, request.partition, member);
            let (floor, session, trust) = match known {
                Known::Current(bounds) if is_answered_by(request, bounds.high_watermark) => {
                    let extents = Vec::new();
                    put(answers, at, Ok(LookupAnswer { bounds, extents }));
                    continue;
                }
                Known::Current(bounds) => (bounds, None, Trust::Floor),
                Known::Ask {
                    floor,
                    session,
                    trust,
                } => (floor, session, trust),
            };
            still_left.push(at);
            let open = Open {
                at,
                shard,
                named: named(&view, shard),
                floor,
                session,
                trust,
            };
            if let Some((member, parts)) = owner {
                let new = || Batch {
                    parts,
                    open: Vec::new(),
                    is_history: false,
                };
                batches.entry(member).or_insert_with(new).open.push(open);
            } else {
                put(answers, at, Err(no_owner(shard)));
                orphans.push(open);
            }
        }
        *left = still_left;
        let mut batches: Vec<Batch> = batches.into_values().collect();
        if asks_history {
            batches.extend(self.history(requests, orphans));
        }
        batches
    }

    /// What another process than an owner can be asked of partitions without one: only extents, since bounds
    /// are for the owner to tell. So are all of a partition of which it is forgotten what was shown.
    fn history(&self, requests: &[LookupRequest], mut orphans: Vec<Open>) -> Option<Batch> {
        orphans.retain(|open| {
            let request = requests.get(open.at);
            open.trust == Trust::Floor && request.is_some_and(|asked| asked.extents_max > 0)
        });
        if orphans.is_empty() {
            return None;
        }
        let somebody = self.anybody().into_iter().next();
        somebody.map(|parts| Batch {
            parts,
            open: orphans,
            is_history: true,
        })
    }

    /// Lets the process prove that it owns the shards of partitions of which it is forgotten what was shown.
    /// What it does not prove is answered here.
    async fn prove(
        &self,
        requests: &[LookupRequest],
        batch: &mut Batch,
        deadline: MonoTime,
    ) -> Vec<(usize, Answer)> {
        let partition_of = |open: &Open| requests.get(open.at).map(|asked| asked.partition);
        let unproven = batch.open.iter().filter(|open| open.trust == Trust::Proof);
        // One partition of each shard will do.
        let unproven: BTreeMap<ShardId, TopicPartition> = unproven
            .filter_map(|open| Some((open.shard, partition_of(open)?)))
            .collect();
        let proofs = unproven.into_iter().map(|(shard, partition)| {
            let proof = batch.parts.log.offset(partition, OffsetQuery::Latest);
            let proof = self.until(deadline, proof);
            proof.map(move |proof| {
                let proof = proof.unwrap_or_else(|late| Err(LogError::unheard(no_answer(late))));
                (shard, proof.err().map(|error| (partition, error)))
            })
        });
        let failed: HashMap<_, _> = join_all(proofs).await.into_iter().collect();
        let mut answers = Vec::new();
        batch.open.retain(|open| {
            let proof = failed
                .get(&open.shard)
                .filter(|_| open.trust == Trust::Proof);
            let Some(Some((partition, error))) = proof else {
                return true;
            };
            let is_its_own = partition_of(open).as_ref() == Some(partition);
            let error = if is_its_own || error.is_elsewhere() {
                error.clone()
            } else {
                // Of the shard that says nothing: another partition is asked for next.
                no_owner(open.shard)
            };
            answers.push((open.at, Err(error)));
            false
        });
        answers
    }

    async fn ask(
        &self,
        requests: &[LookupRequest],
        mut batch: Batch,
        deadline: MonoTime,
    ) -> Vec<(usize, Answer)> {
        let mut answers = self.prove(requests, &mut batch, deadline).await;
        if batch.open.is_empty() {
            return answers;
        }
        let asked = batch.open.iter();
        let asked = asked.filter_map(|open| requests.get(open.at).cloned());
        let asked: Vec<LookupRequest> = asked.collect();
        let found = self.until(deadline, batch.parts.log.locate(&asked)).await;
        let found = found.unwrap_or_else(|elapsed| {
            let error = LogError::unheard(no_answer(elapsed));
            asked.iter().map(|_| Err(error.clone())).collect()
        });
        let mut found = found.into_iter();
        let located = batch.open.into_iter().zip(&asked).map(|(open, request)| {
            let answer = found.next().unwrap_or(Err(LogError::Behind));
            if matches!(&answer, Err(LogError::NotOwner)) && !batch.is_history {
                self.on_denial(open.named, request.partition.topic);
            }
            let answer = match answer {
                Ok(answer) if batch.is_history => old_answer(&open, answer),
                Ok(answer) => self.owners_answer(&open, request, answer),
                Err(error) if is_old_error(&open, &error) => Err(LogError::NotOwner),
                Err(error) => Err(error),
            };
            (open.at, answer)
        });
        answers.extend(located);
        answers
    }

    /// Takes note of what an owner has answered.
    fn owners_answer(
        &self,
        open: &Open,
        request: &LookupRequest,
        mut answer: LookupAnswer,
    ) -> Answer {
        let is_old = answer.bounds.high_watermark < open.floor.high_watermark;
        if is_old {
            // It was the owner once, and answers from what it had then.
            return old_answer(open, answer);
        }
        let following = &self.inner.following;
        let known = following.learnt(open.shard, request.partition, answer.bounds, open.session);
        answer.bounds = if request.extents_max == 0 {
            known
        } else {
            highest(answer.bounds, open.floor)
        };
        Ok(answer)
    }
}

/// What another process than the owner knows, where that is extents.
fn old_answer(open: &Open, mut answer: LookupAnswer) -> Answer {
    if answer.extents.is_empty() {
        return Err(LogError::NotOwner);
    }
    answer.bounds = highest(answer.bounds, open.floor);
    Ok(answer)
}

/// Whether an answer says that the log ends below what was shown of it: its giver was the owner once.
fn is_old_error(open: &Open, error: &LogError) -> bool {
    match error {
        LogError::OffsetOutOfRange { valid, .. } => valid.next < open.floor.high_watermark,
        _ => false,
    }
}

/// Whether bounds that are current say it all.
fn is_answered_by(request: &LookupRequest, high_watermark: Offset) -> bool {
    request.extents_max == 0 || request.offset == high_watermark
}

fn put(answers: &mut [Answer], at: usize, answer: Answer) {
    if let Some(place) = answers.get_mut(at) {
        *place = answer;
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::OffsetRange;

    use super::*;

    #[test]
    fn an_end_of_the_log_below_what_was_shown_is_no_answer() {
        let floor = PartitionBounds {
            high_watermark: Offset::new(20),
            ..PartitionBounds::default()
        };
        let open = Open {
            at: 0,
            shard: ShardId::default(),
            named: None,
            floor,
            session: None,
            trust: Trust::Floor,
        };
        let ends_at = |next| LogError::OffsetOutOfRange {
            offset: Offset::new(30),
            valid: OffsetRange {
                base: Offset::ZERO,
                next: Offset::new(next),
            },
        };
        assert!(is_old_error(&open, &ends_at(15)));
        assert!(!is_old_error(&open, &ends_at(20)));
        assert!(!is_old_error(&open, &LogError::Behind));
    }
}
