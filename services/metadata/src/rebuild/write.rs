//! Writes what a rebuild has found, a bounded part at a time, while nobody opens the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_types::{SegmentName, ShardId};

use super::chain::Piece;
use super::{RebuildError, Rebuilding};
use crate::backup::{Change, Steps};
use crate::keyspace::{DyingRow, LiveBytesRow, RestoreRow, RestoreState};

/// Segments whose live bytes have changed and are not written yet, at most.
const LIVE_MAX: usize = 100_000;

/// Rows on their way into the store.
pub(super) struct Rows<'a> {
    rebuilding: &'a Rebuilding<'a>,
    steps: Steps<'a>,
    restore: RestoreRow,
    /// By how many bytes the live bytes of segments change.
    live: BTreeMap<(SegmentName, ShardId), i128>,
}

impl<'a> Rows<'a> {
    /// Goes on with a restore that is running. Fails if another one has begun since.
    pub(super) async fn begin(
        rebuilding: &'a Rebuilding<'a>,
        before: RestoreRow,
    ) -> Result<Self, RebuildError> {
        let options = rebuilding.options;
        let (store, env) = (options.store.as_ref(), options.env);
        // Of its own: nothing that the restore has left on its way counts from here on.
        let restore = RestoreRow {
            nonce: env.rng.bytes_16(),
            ..before.clone()
        };
        let keys = rebuilding.keys;
        let steps = Steps::begin(store, env, keys, restore.clone(), Some(before), Vec::new());
        Ok(Self {
            rebuilding,
            steps: steps.await?,
            restore,
            live: BTreeMap::new(),
        })
    }

    pub(super) async fn push(&mut self, change: Change) -> Result<(), RebuildError> {
        Ok(self.steps.push(change).await?)
    }

    /// Extents that came are named, and those that went are not.
    pub(super) async fn note_live(
        &mut self,
        before: &[Piece],
        after: &[Piece],
        shard: ShardId,
    ) -> Result<(), RebuildError> {
        let mut note = |piece: &Piece, sign: i128| {
            if let Location::Segment {
                segment, length, ..
            } = piece.extent.location
            {
                *self.live.entry((segment, shard)).or_default() += sign * i128::from(length);
            }
        };
        for piece in before {
            note(piece, -1);
        }
        for piece in after {
            note(piece, 1);
        }
        // Most have stayed.
        self.live.retain(|_, more| *more != 0);
        if self.live.len() > LIVE_MAX {
            self.flush_live().await?;
        }
        Ok(())
    }

    async fn flush_live(&mut self) -> Result<(), RebuildError> {
        // Each row is read as it was written last.
        self.steps.flush().await?;
        for ((segment, shard), more) in std::mem::take(&mut self.live) {
            for (key, value) in self.live_rows(segment, shard, more).await? {
                self.steps.push(Change::Put(key, value)).await?;
            }
        }
        Ok(self.steps.flush().await?)
    }

    /// The rows of a segment with other live bytes.
    async fn live_rows(
        &self,
        segment: SegmentName,
        shard: ShardId,
        more: i128,
    ) -> Result<Vec<(Bytes, Bytes)>, RebuildError> {
        let Rebuilding { pages, keys, .. } = self.rebuilding;
        let key = keys.live_bytes(segment, shard);
        let row = pages.value(key.clone()).await?;
        let row = row.map(LiveBytesRow::decode).transpose()?;
        let row = row.unwrap_or(LiveBytesRow::committed(0));
        let bytes = u64::try_from(i128::from(row.bytes) + more).unwrap_or_default();
        let row = LiveBytesRow {
            bytes,
            committed: row.committed.max(bytes),
        };
        let mut rows = vec![(key, row.encode())];
        if bytes == 0 {
            rows.push((keys.dying(segment), DyingRow::default().encode()));
        }
        Ok(rows)
    }

    /// Writes what waits, and lets the store be opened.
    pub(super) async fn finish(mut self) -> Result<(), RebuildError> {
        self.flush_live().await?;
        let restore = RestoreRow {
            state: RestoreState::Pending,
            ..self.restore
        };
        self.steps.finish(restore).await?;
        Ok(())
    }
}
