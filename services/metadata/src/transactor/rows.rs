//! From an id to its row and back.

use tidelog_metadata_api::{TransactionalId, TransactionsError};
use tidelog_store::{ReadMode, Store};
use tidelog_transactions::StoredTransaction;
use tidelog_types::ShardId;

use super::errors::{of_row, of_store};
use crate::keyspace::{Keyspace, TransactionRow};

/// Reads what is stored of an id, if something is.
pub(super) async fn load(
    store: &dyn Store,
    keys: Keyspace,
    shard: ShardId,
    id: &TransactionalId,
) -> Result<Option<StoredTransaction>, TransactionsError> {
    let key = keys.transaction(shard, id);
    let mut transaction = store.begin().await.map_err(of_store)?;
    let value = transaction.get(&key, ReadMode::Snapshot).await;
    let row = value
        .map_err(of_store)?
        .map(TransactionRow::decode)
        .transpose();
    Ok(row.map_err(of_row)?.map(|row| row.0))
}
