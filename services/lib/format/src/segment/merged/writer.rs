//! Lays out a merged segment.

use bytes::Bytes;
use thiserror::Error;
use tidelog_types::limits::{MERGED_BYTES_MAX, MERGED_EXTENT_BYTES, MERGED_SLICES_MAX};
use tidelog_types::{
    Offset, OffsetRange, SegmentName, ShardId, Timestamp, TopicId, TopicName, TopicPartition,
};

use super::{MergedExtent, MergedFooter, MergedSize, MergedSlice, MergedTopic};
use crate::Features;
use crate::batch::{BatchError, BatchHeader, BatchView};
use crate::manifest::BatchEntry;
use crate::segment::{
    HEADER_BYTES, Nonce, SegmentError, SegmentHeader, SegmentIdentity, SegmentKind, Trailer,
};

/// Why a slice cannot join a merged segment; the segment is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The segment would become too large.
    #[error("a merged segment has at most `{MERGED_BYTES_MAX}` bytes")]
    Bytes,
    /// The segment has slices of as many partitions as it may.
    #[error("a merged segment has slices of at most `{MERGED_SLICES_MAX}` partitions")]
    Slices,
    /// The slice is not behind the one before by topic id and partition, or tells other things of its topic.
    #[error("partition `{0}` is not behind the slice before it, or its topic differs")]
    Order(TopicPartition),
    /// The slice has no batches, or the partition is not one of its topic's.
    #[error("partition `{0}` has nothing to write, or is beyond its topic's partitions")]
    Empty(TopicPartition),
    /// A batch does not carry the offset that it should have.
    #[error(
        "a batch of partition `{partition}` carries offset `{found}` where `{expected}` or more is due"
    )]
    Offset {
        /// The partition.
        partition: TopicPartition,
        /// The lowest that it may have.
        expected: Offset,
        /// What it has.
        found: i64,
    },
    /// The batches go on past the end of the slice's offsets.
    #[error("batches of partition `{partition}` end after offset `{next}`, where they should")]
    End {
        /// The partition.
        partition: TopicPartition,
        /// Where they should end.
        next: Offset,
    },
    /// A batch is broken.
    #[error("a batch of partition `{partition}` is broken")]
    Batch {
        /// The partition.
        partition: TopicPartition,
        /// What is wrong with it.
        source: BatchError,
    },
}

/// A slice that is to be written.
#[derive(Clone, Debug)]
pub struct NewSlice {
    /// The topic, by the name that is never reused.
    pub topic_id: TopicId,
    /// Its name.
    pub topic_name: TopicName,
    /// How many partitions it has.
    pub partition_count: u32,
    /// The partition.
    pub partition: TopicPartition,
    /// The offsets of the slice.
    pub offsets: OffsetRange,
}

/// A merged segment as it is to be put.
#[derive(Clone, Debug)]
pub struct SealedMerged {
    /// Its name.
    pub name: SegmentName,
    /// Which attempt to write it this is.
    pub nonce: Nonce,
    /// The bytes, in pieces: header, what was pushed, footer with trailer.
    pub chunks: Vec<Bytes>,
    /// How many bytes that is.
    pub length: u64,
}

/// Gathers slices for a merged segment, in the order of topic id and partition. Bytes are kept as they are, not copied.
#[derive(Debug)]
pub struct MergedWriter {
    shard: ShardId,
    committed_at: Timestamp,
    topics: Vec<MergedTopic>,
    chunks: Vec<Bytes>,
    position: u32,
    slice_count: u32,
    size: MergedSize,
}

impl MergedWriter {
    /// A segment without slices, for partitions of one shard.
    pub const fn new(shard: ShardId, committed_at: Timestamp) -> Self {
        Self {
            shard,
            committed_at,
            topics: Vec::new(),
            chunks: Vec::new(),
            position: HEADER_BYTES,
            slice_count: 0,
            size: MergedSize::new(),
        }
    }

    /// Adds a slice. `pieces` are whole batches that carry their offsets and leader epoch 0, ascending. They are
    /// hashed as they are: who pushes them has proven that they are what was written.
    ///
    /// Answers the slice's extents.
    pub fn push(
        &mut self,
        slice: NewSlice,
        pieces: &[Bytes],
    ) -> Result<&[MergedExtent], WriteError> {
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let (size, is_new_topic) = self.check(&slice, bytes)?;
        let mut cutter = Cutter::new(slice.partition, self.position, slice.offsets);
        for piece in pieces {
            cutter.piece(piece)?;
        }
        let written = cutter.finish()?;
        self.position += written.length;
        self.slice_count += 1;
        self.size = size;
        self.chunks
            .extend(pieces.iter().filter(|piece| !piece.is_empty()).cloned());
        if is_new_topic {
            self.topics.push(MergedTopic {
                id: slice.topic_id,
                number: slice.partition.topic,
                name: slice.topic_name,
                partition_count: slice.partition_count,
                slices: Vec::new(),
            });
        }
        let Some(topic) = self.topics.last_mut() else {
            return Err(WriteError::Order(slice.partition));
        };
        topic.slices.push(written);
        let last = topic.slices.last();
        Ok(last.map_or(&[], |slice| slice.extents.as_slice()))
    }

    /// Checks limits and order; answers the size with the slice, and whether it is the first of its topic.
    fn check(&self, slice: &NewSlice, bytes: u64) -> Result<(MergedSize, bool), WriteError> {
        let partition = slice.partition;
        if bytes == 0 || partition.partition.get() >= slice.partition_count {
            return Err(WriteError::Empty(partition));
        }
        if self.slice_count >= MERGED_SLICES_MAX {
            return Err(WriteError::Slices);
        }
        let is_new_topic = match self.topics.last() {
            None => true,
            Some(topic) if topic.id == slice.topic_id => {
                let is_same = topic.number == partition.topic
                    && topic.name == slice.topic_name
                    && topic.partition_count == slice.partition_count;
                let last = topic.slices.last();
                let before = last.map(|slice| slice.partition.partition);
                if !is_same || before >= Some(partition.partition) {
                    return Err(WriteError::Order(partition));
                }
                false
            }
            Some(topic) if topic.id < slice.topic_id => true,
            Some(_) => return Err(WriteError::Order(partition)),
        };
        let mut size = self.size;
        if is_new_topic {
            size.add_topic(slice.topic_name.as_str().len());
        }
        size.add_slice(bytes);
        if size.bytes() > u64::from(MERGED_BYTES_MAX) {
            return Err(WriteError::Bytes);
        }
        Ok((size, is_new_topic))
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.slice_count == 0
    }

    /// The slices so far, in the order in which they were pushed.
    pub fn slices(&self) -> impl Iterator<Item = &MergedSlice> {
        self.topics.iter().flat_map(|topic| &topic.slices)
    }

    /// Lays out the object. `None` if nothing was pushed: there is no empty segment.
    ///
    /// Takes `&self`, so that the same slices can be sealed again under another name.
    pub fn seal(&self, identity: &SegmentIdentity) -> Option<SealedMerged> {
        let (kind, features) = (SegmentKind::Merged, Features::NONE);
        let header = SegmentHeader {
            kind,
            features,
            cluster: identity.cluster,
        };
        // The writer has kept order and limits, so this fails for want of slices alone.
        let footer: Result<_, SegmentError> =
            MergedFooter::new(self.shard, self.committed_at, self.topics.clone());
        let mut tail = footer.ok()?.encode();
        let trailer = Trailer {
            footer_position: u64::from(self.position),
            footer_length: u32::try_from(tail.len()).ok()?,
            footer_crc32c: tidelog_crc32c::crc32c(&tail),
            nonce: identity.nonce,
            cluster: identity.cluster,
            name: identity.name,
            kind,
            features,
        };
        tail.extend_from_slice(&trailer.encode());
        let length = u64::from(self.position) + tail.len() as u64;
        let mut chunks = Vec::with_capacity(self.chunks.len() + 2);
        chunks.push(Bytes::copy_from_slice(&header.encode()));
        chunks.extend(self.chunks.iter().cloned());
        chunks.push(tail.into());
        Some(SealedMerged {
            name: identity.name,
            nonce: identity.nonce,
            chunks,
            length,
        })
    }
}

/// Cuts the batches of a slice into extents.
struct Cutter {
    slice: MergedSlice,
    offsets: OffsetRange,
    open: MergedExtent,
}

impl Cutter {
    fn new(partition: TopicPartition, position: u32, offsets: OffsetRange) -> Self {
        let slice = MergedSlice {
            partition,
            position,
            length: 0,
            crc32c: 0,
            key_id: 0,
            batch_count: 0,
            min_timestamp: Timestamp::from_millis(i64::MAX),
            extents: Vec::new(),
        };
        let open = empty_extent(position, offsets.base);
        Self {
            slice,
            offsets,
            open,
        }
    }

    /// Takes batches that lie behind those before.
    fn piece(&mut self, piece: &Bytes) -> Result<(), WriteError> {
        let partition = self.slice.partition;
        // What of the piece is in the open extent, and not hashed yet.
        let (mut start, mut end) = (0, 0);
        for view in BatchView::all(piece.clone()) {
            let view = view.map_err(|source| WriteError::Batch { partition, source })?;
            let size = view.header().size();
            // All pieces together have been checked to fit into 32 bits.
            let pending = u32::try_from(end - start).unwrap_or(u32::MAX);
            let filled = self.open.length + pending;
            if filled > 0 && filled.saturating_add(size) > MERGED_EXTENT_BYTES {
                self.hash(&piece[start..end]);
                self.close();
                start = end;
            }
            self.batch(view.header())?;
            end += size as usize;
        }
        self.hash(&piece[start..end]);
        Ok(())
    }

    fn batch(&mut self, header: &BatchHeader) -> Result<(), WriteError> {
        let partition = self.slice.partition;
        let expected = self.open.offsets.next;
        let wrong = WriteError::Offset {
            partition,
            expected,
            found: header.base_offset,
        };
        let base = Offset::from_i64(header.base_offset).filter(|base| *base >= expected);
        let base = base.ok_or(wrong)?;
        let count = u64::from(header.offset_count());
        let end = WriteError::End {
            partition,
            next: self.offsets.next,
        };
        let next = base.checked_add(count);
        let next = next.filter(|next| *next <= self.offsets.next && count > 0);
        self.open.offsets.next = next.ok_or(end)?;
        let entry = BatchEntry::of(header);
        self.open.max_timestamp = self.open.max_timestamp.max(entry.max_timestamp);
        self.slice.min_timestamp = self.slice.min_timestamp.min(entry.min_timestamp);
        self.slice.batch_count += 1;
        Ok(())
    }

    /// Adds bytes to the open extent.
    fn hash(&mut self, bytes: &[u8]) {
        self.open.crc32c = tidelog_crc32c::crc32c_append(self.open.crc32c, bytes);
        self.open.length += u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    }

    fn close(&mut self) {
        let next = empty_extent(
            self.open.position + self.open.length,
            self.open.offsets.next,
        );
        let closed = std::mem::replace(&mut self.open, next);
        let length = u64::from(closed.length);
        self.slice.length += closed.length;
        self.slice.crc32c = tidelog_crc32c::combine(self.slice.crc32c, closed.crc32c, length);
        self.slice.extents.push(closed);
    }

    fn finish(mut self) -> Result<MergedSlice, WriteError> {
        if self.open.length == 0 {
            return Err(WriteError::Empty(self.slice.partition));
        }
        // Offsets that no batch has any more lie at the end of the last extent.
        self.open.offsets.next = self.offsets.next;
        self.close();
        Ok(self.slice)
    }
}

const fn empty_extent(position: u32, base: Offset) -> MergedExtent {
    MergedExtent {
        position,
        length: 0,
        crc32c: 0,
        offsets: OffsetRange { base, next: base },
        max_timestamp: Timestamp::from_millis(i64::MIN),
    }
}
