//! Reads the indexes of all segments that a backup does not know.

use std::collections::BTreeSet;
use std::ops::Range;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tidelog_format::location::Location;
use tidelog_format::segment::{Footer, MergedFooter};
use tidelog_metadata_api::Extent;
use tidelog_store::Store;
use tidelog_types::{BucketId, SegmentName, Tenant};

use super::chain::Piece;
use super::found::{Found, FoundTopic};
use super::{RebuildError, RebuildOptions};
use crate::audit::{Index, NoIndex, Reader, read_index};
use crate::backup::{Pages, Rest};
use crate::keyspace::{KeyKind, Keyspace};

/// The bucket that all segments are in.
const BUCKET: BucketId = BucketId::new(0);

/// Looks for what is newer than the backup.
pub(super) struct Gathering<'a> {
    pub(super) options: &'a RebuildOptions<'a>,
    pub(super) reader: &'a Reader,
    pub(super) pages: Pages<'a, dyn Store>,
    /// Who may have written after the backup: whoever had ended by then has not, and who comes behind is of a later
    /// generation of the cluster.
    pub(super) writers: Range<u64>,
}

impl Gathering<'_> {
    pub(super) async fn run(&self) -> Result<Found, RebuildError> {
        let names = self.names().await?;
        let reads = names.iter().map(|(name, length)| async move {
            let (path, cluster) = (self.options.layout.segment(*name), self.options.cluster);
            let index = read_index(self.reader, &path, cluster, *name, *length);
            (*name, *length, index.await)
        });
        let reads = reads.collect::<Vec<_>>();
        let mut reads = stream::iter(reads).buffered(self.options.reads_at_once.max(1));
        let mut found = Found::default();
        while let Some((name, length, index)) = reads.next().await {
            match index {
                Ok(Index::Merged(footer)) => found.merged(name, &footer),
                Ok(Index::Written(footer)) => found.written(name, length, &footer),
                Err(NoIndex::Missing) => {}
                Err(NoIndex::Broken(fault)) => found.unreadable.push((name, fault)),
                Err(NoIndex::Bucket(error)) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Names and lengths of segments that the backup does not know, in order.
    async fn names(&self) -> Result<Vec<(SegmentName, u64)>, RebuildError> {
        let keys = Keyspace::new(Tenant::default());
        let mut known = BTreeSet::new();
        let mut rest = Rest::of(keys.all(KeyKind::LiveBytes));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            let names = rows.iter().map(|(key, _)| Keyspace::receipt_segment(key));
            known.extend(names.flatten());
        }
        let layout = &self.options.layout;
        let root = layout.segments_root();
        let mut listed = self.options.objects.list(Some(&root));
        let mut names = Vec::new();
        while let Some(object) = listed.try_next().await? {
            let Ok(name) = layout.parse_segment(&object.location) else {
                continue;
            };
            let writer = name.incarnation.get();
            if writer >= self.writers.end {
                return Err(RebuildError::Generation { segment: name });
            }
            if writer >= self.writers.start && !known.contains(&name) {
                names.push((name, object.size));
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl Found {
    fn merged(&mut self, segment: SegmentName, footer: &MergedFooter) {
        self.merged += 1;
        for topic in footer.topics() {
            let new = || FoundTopic {
                id: topic.id,
                name: topic.name.clone(),
                partition_count: 0,
                since: footer.committed_at,
                segment,
            };
            let known = self.topics.entry(topic.number).or_insert_with(new);
            known.since = known.since.min(footer.committed_at);
            if topic.partition_count >= known.partition_count {
                known.partition_count = topic.partition_count;
                known.name = topic.name.clone();
                known.segment = segment;
            }
        }
        for (_, slice) in footer.slices() {
            let partition = self.partitions.entry(slice.partition).or_default();
            partition.shard = footer.shard;
            let pieces = slice.extents.iter().map(|extent| Piece {
                extent: Extent {
                    offsets: extent.offsets,
                    location: Location::Segment {
                        bucket: BUCKET,
                        segment,
                        position: extent.position,
                        length: extent.length,
                    },
                    crc32c: Some(extent.crc32c),
                    max_timestamp: extent.max_timestamp,
                },
                committed_at: footer.committed_at,
                is_found: true,
            });
            partition.pieces.extend(pieces);
        }
    }

    fn written(&mut self, segment: SegmentName, length: u64, footer: &Footer) {
        self.unmerged.segments.push(segment);
        self.unmerged.bytes += length;
        for slice in footer.slices() {
            let records = self.unmerged.records.entry(slice.partition).or_default();
            *records += slice.record_count;
        }
    }
}
