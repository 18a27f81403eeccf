//! Telling partitions and groups how a transaction has ended: in parallel over their shards, and for as long as it
//! takes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use tidelog_env::{Backoff, BackoffPolicy};
use tidelog_metadata_api::{
    EndGroupTransaction, GroupsError, LogError, MARKERS_MAX, Participant, TransactionMarker,
    TransactionNumber, TransactionalId, group_shard,
};
use tidelog_transactions::Markers;
use tidelog_types::{ShardId, TopicPartition};

use super::TransactorParts;
use super::actor::{Actor, Done};
use super::keeper::{Keeper, Telling};

/// The waits after somebody could not be told. There is no end: a decision stands.
const AGAIN: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(50), Duration::from_secs(5), u32::MAX);
/// What cannot be told this often is worth a line in the log, and again each time that it doubles.
const WORTH_A_LINE: u32 = 8;

/// Everybody has been told, unless it was given up since another one tells.
#[derive(Debug)]
pub(super) struct Told {
    id: TransactionalId,
    instance: u64,
    markers: Option<Markers>,
}

impl Actor {
    /// Tells everybody of a decision that is durable.
    pub(super) fn begin_telling(&mut self, keeper: &mut Keeper, markers: Markers) {
        let telling = Telling::new(self.parts.metrics.clone());
        let (parts, stop) = (self.parts.clone(), telling.stop());
        let (id, instance) = (keeper.id.clone(), keeper.instance);
        keeper.begin_telling(telling);
        let told = async move {
            let all = tell(&parts, &id, &markers);
            let is_told = stop.run_until_cancelled(all).await.is_some();
            Done::Told(Told {
                id,
                instance,
                markers: is_told.then_some(markers),
            })
        };
        self.jobs.push(told.boxed());
    }

    pub(super) fn told(&mut self, told: &Told) {
        let Some(markers) = &told.markers else {
            return;
        };
        let Some(mut keeper) = self.take_instance(&told.id, told.instance) else {
            return;
        };
        keeper.end_telling();
        let effects = keeper.machine.marked(markers, self.now());
        keeper.take(effects);
        self.end_turn(keeper);
    }
}

/// Ends when everybody has been told.
async fn tell(parts: &TransactorParts, id: &TransactionalId, markers: &Markers) {
    let mut partitions = Vec::new();
    let mut by_shard: BTreeMap<ShardId, Vec<EndGroupTransaction>> = BTreeMap::new();
    for participant in &markers.participants {
        match participant {
            Participant::Partition(partition) => partitions.push(*partition),
            Participant::Group(group) => {
                let shard = group_shard(group, parts.shard_count);
                by_shard
                    .entry(shard)
                    .or_default()
                    .push(EndGroupTransaction {
                        group: group.clone(),
                        producer: markers.producer,
                        number: TransactionNumber(markers.number),
                        decision: markers.decision,
                    });
            }
        }
    }
    let to_groups = by_shard.into_values();
    let to_groups = join_all(to_groups.map(|ends| tell_groups(parts, id, ends)));
    let to_partitions = async {
        let by_shard = place(parts, id, partitions).await;
        let calls = by_shard
            .values()
            .flat_map(|shard| shard.chunks(MARKERS_MAX));
        let calls = calls.map(|partitions| {
            let marker = |partition: &TopicPartition| TransactionMarker {
                partition: *partition,
                producer: markers.producer,
                number: Some(TransactionNumber(markers.number)),
                coordinator_epoch: markers.coordinator_epoch,
                decision: markers.decision,
            };
            tell_partitions(parts, id, partitions.iter().map(marker).collect())
        });
        join_all(calls).await;
    };
    tokio::join!(to_groups, to_partitions);
}

/// The partitions by their shards; those that there are not any more are in none. A topic that can be brought back is
/// told too: else its transactions would be open for ever once it is back.
async fn place(
    parts: &TransactorParts,
    id: &TransactionalId,
    partitions: Vec<TopicPartition>,
) -> BTreeMap<ShardId, Vec<TopicPartition>> {
    let mut by_shard: BTreeMap<ShardId, Vec<TopicPartition>> = BTreeMap::new();
    let mut again = Again::new(parts, id);
    for partition in partitions {
        loop {
            match parts.shards.kept_shard(partition).await {
                Ok(shard) => by_shard.entry(shard).or_default().push(partition),
                Err(LogError::UnknownPartition(_)) => {}
                Err(error) => {
                    again.wait(1, &error).await;
                    continue;
                }
            }
            break;
        }
    }
    by_shard
}

/// Tells partitions of one shard, all at once.
async fn tell_partitions(
    parts: &TransactorParts,
    id: &TransactionalId,
    mut markers: Vec<TransactionMarker>,
) {
    let mut again = Again::new(parts, id);
    while !markers.is_empty() {
        let seams = parts.reach.seams().await;
        let outcomes = {
            // Closed by nobody.
            let _permit = parts.telling.acquire().await;
            seams.log.end_transactions(markers.clone()).await
        };
        let mut failed = None;
        let mut outcomes = outcomes.into_iter();
        markers.retain(|_| match outcomes.next() {
            // A partition that is gone needs no end.
            Some(Ok(()) | Err(LogError::UnknownPartition(_))) => {
                parts.metrics.markers.inc();
                false
            }
            Some(Err(error)) => {
                failed = Some(error);
                true
            }
            None => true,
        });
        if !markers.is_empty() {
            let error = failed.unwrap_or(LogError::Behind);
            again.wait(markers.len(), &error).await;
        }
    }
}

/// Tells groups of one shard.
async fn tell_groups(
    parts: &TransactorParts,
    id: &TransactionalId,
    mut ends: Vec<EndGroupTransaction>,
) {
    let mut again = Again::new(parts, id);
    while !ends.is_empty() {
        let seams = parts.reach.seams().await;
        let outcomes = {
            let _permit = parts.telling.acquire().await;
            seams.groups.end_group_transactions(ends.clone()).await
        };
        let mut failed = None;
        let mut outcomes = outcomes.into_iter();
        ends.retain(|_| match outcomes.next() {
            // A group that is gone needs no end, and one that knows of a later transaction or producer has had it.
            Some(
                Ok(())
                | Err(
                    GroupsError::GroupNotFound
                    | GroupsError::FencedProducer
                    | GroupsError::TransactionEnded,
                ),
            ) => {
                parts.metrics.markers.inc();
                false
            }
            Some(Err(error)) => {
                failed = Some(error);
                true
            }
            None => true,
        });
        if !ends.is_empty() {
            let error = failed.unwrap_or(GroupsError::Unknown);
            again.wait(ends.len(), &error).await;
        }
    }
}

/// Waits before somebody is told again.
struct Again<'a> {
    parts: &'a TransactorParts,
    id: &'a TransactionalId,
    backoff: Backoff,
}

impl<'a> Again<'a> {
    const fn new(parts: &'a TransactorParts, id: &'a TransactionalId) -> Self {
        Self {
            parts,
            id,
            backoff: AGAIN.start(),
        }
    }

    async fn wait(&mut self, count: usize, error: &(dyn std::error::Error + Sync + 'static)) {
        let not_told = &self.parts.metrics.markers_not_told;
        not_told.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        let attempts = self.backoff.retries() + 1;
        if attempts >= WORTH_A_LINE && attempts.is_power_of_two() {
            tracing::warn!(
                id = self.id.as_str(),
                count,
                attempts,
                error = error as &dyn std::error::Error,
                "partitions or groups cannot be told of the end of a transaction; they are told again"
            );
        }
        let env = &self.parts.env;
        let wait = self.backoff.next_wait(env.rng.as_ref());
        env.clock.sleep(wait.unwrap_or(AGAIN.max)).await;
    }
}
