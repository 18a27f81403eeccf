//! What happens before a service takes its shards: the cluster is found or founded, and writers of
//! processes that have ended are let go.

use tidelog_store::{ReadMode, Store, TransactError, transact};
use tidelog_types::{ClusterGeneration, Tenant};

use super::OpenOptions;
use crate::OpenError;
use crate::catalogue::RETRY;
use crate::generation::Generation;
use crate::keyspace::{ClusterRow, Counter, Keyspace, NumberRow, RestoreRow, RestoreState};

/// Reads the cluster's row or writes it.
pub(super) async fn found(options: &OpenOptions, keys: Keyspace) -> Result<ClusterRow, OpenError> {
    let fresh = ClusterRow {
        id: options.cluster,
        generation: ClusterGeneration::new(1),
        shards: options.shards.max(1),
    };
    let row = transact(
        options.store.as_ref(),
        &options.env,
        RETRY,
        |mut transaction| async move {
            let restore = transaction
                .get(&keys.restore(), ReadMode::Serializable)
                .await?;
            let restore = restore.map(RestoreRow::decode).transpose();
            let restore = restore.map_err(|error| TransactError::Abort(OpenError::Row(error)))?;
            if let Some(RestoreRow { backup, .. }) =
                restore.filter(|row| row.state == RestoreState::Running)
            {
                return Err(TransactError::Abort(OpenError::HalfRestored { backup }));
            }
            let key = keys.cluster();
            let stored = transaction.get(&key, ReadMode::Serializable).await?;
            let row = stored
                .map(ClusterRow::decode)
                .transpose()
                .map_err(|error| TransactError::Abort(OpenError::Row(error)))?;
            if row.is_none() {
                transaction.put(key, fresh.encode());
            }
            let row = row.unwrap_or(fresh);
            Ok((transaction, row))
        },
    )
    .await
    .map_err(OpenError::from)?;
    if row.id != options.cluster {
        return Err(OpenError::WrongCluster {
            found: row.id,
            wanted: options.cluster,
        });
    }
    Ok(row)
}

/// Whether a store holds a cluster: opening a service on one that does not founds one. A restore that has
/// begun counts.
pub async fn is_founded(store: &dyn Store) -> Result<bool, OpenError> {
    let keys = Keyspace::new(Tenant::default());
    let mut transaction = store.begin().await.map_err(OpenError::Read)?;
    for key in [keys.cluster(), keys.restore()] {
        let row = transaction.get(&key, ReadMode::Snapshot).await;
        if row.map_err(OpenError::Read)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes note that every writer that was registered so far has ended with its process (rule C6).
pub(super) async fn end_writers(
    options: &OpenOptions,
    generation: &Generation,
) -> Result<(), OpenError> {
    let keys = generation.keys();
    transact(
        options.store.as_ref(),
        &options.env,
        RETRY,
        |mut transaction| async move {
            generation.check(transaction.as_mut()).await?;
            let mut numbers = [0; 2];
            let counters = [Counter::Incarnation, Counter::OldestLiveIncarnation];
            for (counter, number) in counters.into_iter().zip(&mut numbers) {
                let key = keys.counter(counter);
                let value = transaction.get(&key, ReadMode::Serializable).await?;
                let row = value
                    .map(NumberRow::decode)
                    .transpose()
                    .map_err(|error| TransactError::Abort(OpenError::Row(error)))?;
                *number = row.map_or(0, |row| row.0);
            }
            let [last, oldest_live] = numbers;
            if last > 0 && oldest_live <= last {
                let key = keys.counter(Counter::OldestLiveIncarnation);
                transaction.put(key, NumberRow(last.saturating_add(1)).encode());
            }
            Ok((transaction, ()))
        },
    )
    .await
    .map_err(OpenError::from)
}
