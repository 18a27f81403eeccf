//! Segments that were put and never committed. They are found by name: those that metadata counts, and behind the last of
//! a writer that has ended one name after the other, until none is there any more.

use futures::StreamExt as _;
use futures::stream::iter;
use tidelog_blob::object_store::{self, ObjectStoreExt as _};
use tidelog_metadata_api::OrphanSearch;
use tidelog_types::{SegmentName, SegmentSequence};

use super::{Deletion, Done};
use crate::Pins;

/// Behind the last segment of a writer there is nothing more once so many names in a row have nothing: as many as it may
/// have had uploads under way, each of them twice, of which later ones were done before earlier ones.
const NOTHING_MAX: u64 = 128;
/// Names that are looked at together.
const TOGETHER: usize = 16;

/// Why a search has not come to its end.
enum Stopped {
    Pinned,
    Failed(object_store::Error),
}

impl Deletion {
    pub(super) async fn orphans(&self, search: OrphanSearch, pins: &dyn Pins, done: &mut Done) {
        match self.search(&search, pins).await {
            Ok(()) => done.deletions.orphans.push(search),
            Err(Stopped::Pinned) => self.pinned(1, done),
            Err(Stopped::Failed(error)) => done.error = Some(error),
        }
    }

    async fn search(&self, search: &OrphanSearch, pins: &dyn Pins) -> Result<(), Stopped> {
        let name = |sequence| SegmentName::new(search.writer, sequence);
        let counted = search.sequences.iter().map(|sequence| name(*sequence));
        self.delete_orphans(counted.collect(), search, pins).await?;
        if !search.is_last {
            return Ok(());
        }
        let mut from = search.below.get().max(1);
        loop {
            let end = from.saturating_add(NOTHING_MAX);
            let names = (from..end).map(|sequence| name(SegmentSequence::new(sequence)));
            let found = self.there(names.collect()).await.map_err(Stopped::Failed)?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            from = last.sequence.get().saturating_add(1);
            self.delete_orphans(found, search, pins).await?;
        }
    }

    /// Those of the names that have an object in one of the buckets, in order.
    async fn there(&self, names: Vec<SegmentName>) -> object_store::Result<Vec<SegmentName>> {
        let looks = names.into_iter().map(|name| async move {
            for bucket in self.layout.buckets() {
                match self.objects.head(&self.layout.segment(bucket, name)).await {
                    Ok(_) => return Ok(Some(name)),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        });
        let mut looked = iter(looks).buffered(TOGETHER);
        let mut found = Vec::new();
        while let Some(look) = looked.next().await {
            found.extend(look?);
        }
        Ok(found)
    }

    async fn delete_orphans(
        &self,
        names: Vec<SegmentName>,
        search: &OrphanSearch,
        pins: &dyn Pins,
    ) -> Result<(), Stopped> {
        if names.iter().any(|name| pins.need(*name, search.since)) {
            return Err(Stopped::Pinned);
        }
        for result in self.delete(names).await {
            result.map_err(Stopped::Failed)?;
            self.metrics.orphans_deleted.inc();
        }
        Ok(())
    }
}
