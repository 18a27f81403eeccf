//! Lays out the bytes of a segment and what its shards are told of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use smallvec::SmallVec;
use tidelog_types::{SegmentName, ShardId, TopicId};

use super::footer::{Footer, FooterSlice};
use super::writer::{OpenSlice, SegmentIdentity, SegmentWriter};
use super::{BatchHandle, Nonce, SegmentHeader, SegmentKind, Trailer};
use crate::Features;
use crate::batch::BatchBuf;
use crate::manifest::{Manifest, SliceEntry};

/// Batches up to this size are hashed for the CRC of their slice, larger ones combined.
const HASH_BYTES_MAX: u32 = 4096;

/// Where a batch is in the manifests of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BatchPlace {
    /// The manifest, in [`SealedSegment::manifests`].
    pub manifest: u32,
    /// The slice in the manifest.
    pub slice: u32,
    /// The batch in the slice.
    pub batch: u32,
    /// The outcome in the receipt of the manifest.
    pub outcome: u32,
}

/// A segment as it is to be put.
#[derive(Clone, Debug)]
pub struct SealedSegment {
    /// Its name.
    pub name: SegmentName,
    /// Which attempt to write it this is.
    pub nonce: Nonce,
    /// The bytes, in pieces: header, batches as they were pushed, footer with trailer.
    pub chunks: Vec<Bytes>,
    /// How many bytes that is.
    pub length: u64,
    /// CRC-32C of the whole object.
    pub crc32c: u32,
    /// What each shard is told, ascending by shard.
    pub manifests: Vec<Manifest>,
    places: Vec<BatchPlace>,
}

impl SealedSegment {
    /// Where a pushed batch is; `None` for the handle of another segment.
    pub fn place(&self, handle: BatchHandle) -> Option<BatchPlace> {
        self.places.get(handle.index()).copied()
    }

    /// The places of all batches in the order in which they were pushed.
    pub fn places(&self) -> &[BatchPlace] {
        &self.places
    }
}

/// Seals a writer that has at least one batch.
pub(super) fn seal(identity: &SegmentIdentity, writer: &SegmentWriter) -> SealedSegment {
    let kind = SegmentKind::Written;
    let features = Features::NONE;
    let header = SegmentHeader {
        kind,
        features,
        cluster: identity.cluster,
    }
    .encode();
    let mut layout = Layout::new(writer);
    layout.push_chunk(
        Bytes::copy_from_slice(&header),
        tidelog_crc32c::crc32c(&header),
    );
    for (topic_id, slice) in writer.open_slices() {
        layout.push_slice(identity, topic_id, slice);
    }
    let footer_position = layout.length;
    // The writer has kept order and limits, so this is the form that `Footer::new` accepts.
    let footer = Footer::new(std::mem::take(&mut layout.slices))
        .expect("a segment writer keeps the order and the limits of slices");
    let mut tail = footer.encode();
    let footer_crc32c = tidelog_crc32c::crc32c(&tail);
    let trailer = Trailer {
        footer_position,
        // The writer keeps a segment under 64 MiB.
        footer_length: u32::try_from(tail.len()).expect("a footer fits into its segment"),
        footer_crc32c,
        nonce: identity.nonce,
        cluster: identity.cluster,
        name: identity.name,
        kind,
        features,
    };
    tail.extend_from_slice(&trailer.encode());
    let tail_crc = tidelog_crc32c::crc32c(&tail);
    layout.push_chunk(tail.into(), tail_crc);
    layout.finish(identity)
}

/// The object as it grows.
struct Layout {
    chunks: Vec<Bytes>,
    length: u64,
    crc: u32,
    slices: Vec<FooterSlice>,
    manifests: BTreeMap<ShardId, OpenManifest>,
    places: Vec<BatchPlace>,
}

#[derive(Default)]
struct OpenManifest {
    manifest: Option<Manifest>,
    batches: u32,
    handles: Vec<BatchHandle>,
}

impl Layout {
    fn new(writer: &SegmentWriter) -> Self {
        Self {
            chunks: Vec::with_capacity(writer.batch_count() + 2),
            length: 0,
            crc: 0,
            slices: Vec::with_capacity(writer.slice_count()),
            manifests: BTreeMap::new(),
            places: vec![BatchPlace::default(); writer.batch_count()],
        }
    }

    fn push_chunk(&mut self, chunk: Bytes, crc: u32) {
        let length = chunk.len() as u64;
        self.chunks.push(chunk);
        self.push_hashed(length, crc);
    }

    fn push_hashed(&mut self, length: u64, crc: u32) {
        self.length += length;
        self.crc = tidelog_crc32c::combine(self.crc, crc, length);
    }

    fn push_slice(&mut self, identity: &SegmentIdentity, topic_id: TopicId, slice: &OpenSlice) {
        let open = self.manifests.entry(slice.shard).or_default();
        let manifest = open.manifest.get_or_insert_with(|| Manifest {
            segment: identity.name,
            bucket: identity.bucket,
            shard: slice.shard,
            slices: Vec::new(),
        });
        let slice_index = count(manifest.slices.len());
        let mut crc32c = 0;
        let mut length = 0_u32;
        let mut batches = SmallVec::with_capacity(slice.batches.len());
        for (batch_index, (handle, entry, batch)) in (0_u32..).zip(&slice.batches) {
            crc32c = append_crc(crc32c, batch);
            length += batch.size();
            self.chunks.extend(batch.chunks());
            batches.push(*entry);
            if let Some(place) = self.places.get_mut(handle.index()) {
                place.slice = slice_index;
                place.batch = batch_index;
                place.outcome = open.batches;
            }
            open.batches += 1;
            open.handles.push(*handle);
        }
        let position = u32::try_from(self.length).expect("a segment has less than 4 GiB");
        let entry = SliceEntry {
            partition: slice.partition,
            position,
            length,
            crc32c,
            batches,
        };
        self.slices
            .push(footer_slice(topic_id, slice.shard, &entry));
        manifest.slices.push(entry);
        self.push_hashed(u64::from(length), crc32c);
    }

    fn finish(mut self, identity: &SegmentIdentity) -> SealedSegment {
        let mut manifests = Vec::with_capacity(self.manifests.len());
        for open in self.manifests.into_values() {
            let Some(manifest) = open.manifest else {
                continue;
            };
            let index = count(manifests.len());
            for handle in open.handles {
                if let Some(place) = self.places.get_mut(handle.index()) {
                    place.manifest = index;
                }
            }
            manifests.push(manifest);
        }
        SealedSegment {
            name: identity.name,
            nonce: identity.nonce,
            chunks: self.chunks,
            length: self.length,
            crc32c: self.crc,
            manifests,
            places: self.places,
        }
    }
}

/// The CRC of a slice with one more batch. Combination costs as much as hashing a few KiB, so small
/// batches are hashed.
fn append_crc(before: u32, batch: &BatchBuf) -> u32 {
    if batch.size() <= HASH_BYTES_MAX {
        return batch.chunks().fold(before, |crc, chunk| {
            tidelog_crc32c::crc32c_append(crc, &chunk)
        });
    }
    tidelog_crc32c::combine(before, batch.whole_crc32c(), u64::from(batch.size()))
}

fn footer_slice(topic_id: TopicId, shard: ShardId, entry: &SliceEntry) -> FooterSlice {
    let batches = &entry.batches;
    FooterSlice {
        topic_id,
        partition: entry.partition,
        shard,
        position: entry.position,
        length: entry.length,
        crc32c: entry.crc32c,
        key_id: 0,
        batch_count: count(batches.len()),
        record_count: batches
            .iter()
            .map(|batch| u64::from(batch.record_count))
            .sum(),
        min_timestamp: batches
            .iter()
            .map(|batch| batch.min_timestamp)
            .min()
            .unwrap_or_default(),
        max_timestamp: batches
            .iter()
            .map(|batch| batch.max_timestamp)
            .max()
            .unwrap_or_default(),
    }
}

/// A count of things that fit into a segment, each at least a byte.
fn count(len: usize) -> u32 {
    u32::try_from(len).expect("what fits into a segment is counted by 32 bits")
}
