//! Transactional ids whose producers have had higher epochs since the backup.

use std::collections::BTreeMap;

use tidelog_metadata_api::ProducerIdentity;
use tidelog_transactions::Phase;
use tidelog_types::{ProducerEpoch, ProducerId};

use super::write::Rows;
use super::{RebuildError, Rebuilding};
use crate::backup::{Change, Rest};
use crate::keyspace::{KeyKind, TransactionRow};

/// The epoch that fences whoever had these two: nobody goes on with a transaction of which a part may be lost.
fn above(known: ProducerEpoch, found: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch::new(known.max(found).get().saturating_add(1))
}

impl Rebuilding<'_> {
    /// Raises the epochs of transactional ids above those that partitions have seen, since they would refuse what the
    /// next producer sends with a lower one. Says of how many.
    pub(super) async fn raise_epochs(
        &self,
        found: &BTreeMap<ProducerId, ProducerEpoch>,
        rows: &mut Rows<'_>,
    ) -> Result<u64, RebuildError> {
        let mut raised = 0;
        if found.is_empty() {
            return Ok(raised);
        }
        let mut rest = Rest::of(self.keys.all(KeyKind::Transaction));
        while let Some(some) = self.pages.next(&mut rest).await? {
            for (key, value) in some {
                let TransactionRow(mut row) = TransactionRow::decode(value)?;
                let id = row.producer.id;
                let found = found.get(&id).copied();
                let Some(found) = found.filter(|found| *found > row.producer.epoch) else {
                    continue;
                };
                row.producer = ProducerIdentity::new(id, above(row.producer.epoch, found));
                row.previous = None;
                if let Phase::Ending { marker, .. } = &mut row.phase
                    && marker.id == id
                {
                    marker.epoch = above(marker.epoch, found);
                }
                raised += 1;
                let value = TransactionRow(row).encode();
                rows.push(Change::Put(key, value)).await?;
            }
        }
        Ok(raised)
    }
}
