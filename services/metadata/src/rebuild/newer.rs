//! Reads the indexes of all segments that a backup does not know.

use std::collections::BTreeSet;
use std::ops::Range;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tidelog_format::location::Location;
use tidelog_format::segment::{Footer, MergedFooter};
use tidelog_metadata_api::Extent;
use tidelog_store::Store;
use tidelog_types::{BucketId, SegmentName, Tenant, Timestamp};

use super::chain::Piece;
use super::found::{Found, FoundTopic, UnmergedSlice};
use super::{RebuildError, RebuildOptions};
use crate::audit::{Index, NoIndex, Reader, read_index};
use crate::backup::{Pages, Rest, generation_of};
use crate::keyspace::{KeyKind, Keyspace};

/// Looks for what is newer than the backup.
pub(super) struct Gathering<'a> {
    pub(super) options: &'a RebuildOptions<'a>,
    pub(super) reader: &'a Reader,
    pub(super) pages: Pages<'a, dyn Store>,
    /// Who may have merged something after the backup: whoever had ended by then has not, and who comes behind is of a
    /// later generation of the cluster.
    pub(super) writers: Range<u64>,
    /// Who may have written something after it.
    pub(super) written_from: u64,
    /// There is no backup: all segments are looked at, which must be of one generation.
    pub(super) is_alone: bool,
}

/// A segment in the bucket.
struct Listed {
    bucket: BucketId,
    name: SegmentName,
    length: u64,
    put_at: Timestamp,
}

impl Gathering<'_> {
    pub(super) async fn run(&self) -> Result<Found, RebuildError> {
        let names = self.names().await?;
        let reads = names.iter().map(|listed| async move {
            let name = listed.name;
            let (path, cluster) = (
                self.options.layout.segment(listed.bucket, name),
                self.options.cluster,
            );
            let index = read_index(self.reader, &path, cluster, name, listed.length);
            (listed, index.await)
        });
        let reads = reads.collect::<Vec<_>>();
        let mut reads = stream::iter(reads).buffered(self.options.reads_at_once.max(1));
        let mut found = Found::default();
        while let Some((listed, index)) = reads.next().await {
            let name = listed.name;
            match index {
                Ok(Index::Merged(footer)) => found.merged(listed, &footer),
                Ok(Index::Written(_)) if name.incarnation.get() < self.written_from => {}
                Ok(Index::Written(footer)) => {
                    found.written(listed, &footer, self.options.append_newer);
                }
                Err(NoIndex::Missing) => {}
                Err(NoIndex::Broken(fault)) => found.unreadable.push((name, fault)),
                Err(NoIndex::Bucket(error)) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Segments that the backup does not know, in the order of their names.
    async fn names(&self) -> Result<Vec<Listed>, RebuildError> {
        let known = self.known().await?;
        let layout = &self.options.layout;
        let roots = layout.buckets().map(|bucket| layout.segments_root(bucket));
        let listed = roots.map(|root| self.options.objects.list(Some(&root)));
        let mut listed = stream::iter(listed).flatten();
        let mut names = Vec::new();
        while let Some(object) = listed.try_next().await? {
            let Ok((bucket, name)) = layout.parse_segment(&object.location) else {
                continue;
            };
            let writer = name.incarnation.get();
            if writer >= self.writers.end {
                return Err(RebuildError::Generation { segment: name });
            }
            if writer >= self.writers.start && !known.contains(&name) {
                names.push(Listed {
                    bucket,
                    name,
                    length: object.size,
                    put_at: Timestamp::from_millis(object.last_modified.timestamp_millis()),
                });
            }
        }
        names.sort_unstable_by_key(|listed| listed.name);
        let ends = names.first().zip(names.last());
        if let Some((first, last)) = ends.filter(|_| self.is_alone)
            && generation_of(first.name.incarnation) != generation_of(last.name.incarnation)
        {
            return Err(RebuildError::Generations {
                first: first.name,
                last: last.name,
            });
        }
        Ok(names)
    }

    /// The segments that the backup knows.
    async fn known(&self) -> Result<BTreeSet<SegmentName>, RebuildError> {
        let mut known = BTreeSet::new();
        if self.is_alone {
            return Ok(known);
        }
        let keys = Keyspace::new(Tenant::default());
        let mut rest = Rest::of(keys.all(KeyKind::LiveBytes));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            let names = rows.iter().map(|(key, _)| Keyspace::receipt_segment(key));
            known.extend(names.flatten());
        }
        Ok(known)
    }
}

impl Found {
    fn merged(&mut self, listed: &Listed, footer: &MergedFooter) {
        let (bucket, segment) = (listed.bucket, listed.name);
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
            partition.says(footer.shard, segment);
            let pieces = slice.extents.iter().map(|extent| {
                let extent = Extent {
                    offsets: extent.offsets,
                    location: Location::Segment {
                        bucket,
                        segment,
                        position: extent.position,
                        length: extent.length,
                    },
                    crc32c: Some(extent.crc32c),
                    max_timestamp: extent.max_timestamp,
                };
                Piece::whole(extent, footer.committed_at, Some(listed.put_at))
            });
            partition.pieces.extend(pieces);
        }
    }

    /// `are_kept`: what it has is to be appended again.
    fn written(&mut self, listed: &Listed, footer: &Footer, are_kept: bool) {
        let segment = listed.name;
        self.unmerged.segments.push(segment);
        self.unmerged.bytes += listed.length;
        for slice in footer.slices() {
            if are_kept {
                let partition = self.partitions.entry(slice.partition).or_default();
                partition.says(slice.shard, segment);
                partition.unmerged.push(UnmergedSlice {
                    bucket: listed.bucket,
                    segment,
                    position: slice.position,
                    length: slice.length,
                    crc32c: slice.crc32c,
                });
            }
            let records = self.unmerged.records.entry(slice.partition).or_default();
            *records += slice.record_count;
        }
    }
}
