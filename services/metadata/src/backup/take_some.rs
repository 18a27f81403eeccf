//! What a backup takes for what it has taken before.

use std::collections::BTreeSet;

use tidelog_store::RowSource;
use tidelog_types::SegmentName;

use super::error::TakeError;
use super::scan::Rest;
use super::take::{Taking, segment_of};
use crate::keyspace::{KeyKind, TailRow};

impl<R: RowSource + ?Sized> Taking<'_, R> {
    /// Segments that lie in the store, without those of groups that are not in the backup: nothing would ever delete them.
    pub(super) async fn inline(&mut self, known: &BTreeSet<SegmentName>) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Inline));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                if known.contains(&segment_of(&key, "inline")?) {
                    self.writer.row(&key, &value).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes the rows of what markers have aborted that are not below the end of their partition's row.
    pub(super) async fn aborted(&mut self, row: &TailRow) -> Result<(), TakeError> {
        let TailRow::Markers { markers, .. } = row else {
            return Ok(());
        };
        for marker in markers {
            if let Some(aborted) = marker.aborted() {
                let key = self.keys.aborted(marker.partition, marker.offset);
                self.writer.row(&key, &aborted.encode()).await?;
            }
        }
        Ok(())
    }
}
