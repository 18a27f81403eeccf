//! Begins a generation of a cluster without a backup: of its rows nothing is known but what segments say.

use tidelog_store::ScanOptions;
use tidelog_types::{ClusterGeneration, Incarnation, ShardId, Tenant, Timestamp};

use super::Backups;
use super::error::RestoreError;
use super::generation::first_numbers;
use super::restore::{RestoreOptions, Restored, Restoring};
use super::restore_rows::Change;
use super::scan::Pages;
use crate::keyspace::{
    CheckpointRow, ClusterRow, Counter, Keyspace, NumberRow, RestoreRow, RestoreState,
};

/// What is known of a cluster that has lost its rows and its backups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    pub(crate) shards: u32,
    /// No shard has committed anything later.
    pub(crate) committed_at: Timestamp,
}

impl Backups {
    /// Takes over a store, and leaves in it a cluster without topics, which nobody opens: somebody goes on with it.
    pub(crate) async fn begin_anew(
        &self,
        options: &RestoreOptions<'_>,
        remains: Remains,
    ) -> Result<(Restored, RestoreRow), RestoreError> {
        let keys = Keyspace::new(Tenant::default());
        let restoring = Restoring {
            backups: self,
            options,
            keys,
            pages: Pages {
                source: options.store,
                env: options.env,
                options: ScanOptions::default(),
            },
        };
        let first = ClusterGeneration::new(1);
        let (claimed, ()) = restoring.claim(first, async { Ok(()) }).await?;
        let generation = claimed.generation;
        let numbers = first_numbers(generation)?;
        let first = Incarnation::new(numbers.incarnation);
        let (mut steps, row) = restoring.begin(claimed, first).await?;
        for (counter, number) in [
            (Counter::TopicNumber, numbers.topic),
            (Counter::Incarnation, numbers.incarnation.saturating_sub(1)),
            (Counter::ProducerId, numbers.producer),
            (Counter::OldestLiveIncarnation, numbers.incarnation),
        ] {
            let value = NumberRow(number).encode();
            steps
                .push(Change::Put(keys.counter(counter), value))
                .await?;
        }
        let checkpoint = CheckpointRow {
            commit_time: remains.committed_at,
            is_paged: true,
            ..CheckpointRow::default()
        };
        for shard in (0..remains.shards).map(ShardId::new) {
            let change = Change::Put(keys.checkpoint(shard), checkpoint.encode());
            steps.push(change).await?;
        }
        let cluster = ClusterRow {
            id: self.cluster,
            generation,
            shards: remains.shards,
        };
        let cluster = Change::Put(keys.cluster(), cluster.encode());
        steps.push(cluster).await?;
        let state = RestoreState::Running;
        restoring.end(steps, RestoreRow { state, ..row }).await
    }
}
