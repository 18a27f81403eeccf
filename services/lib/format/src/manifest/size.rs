//! How long a manifest will be, known while its segment fills.

use tidelog_types::TopicPartition;

use super::{BatchEntry, SliceEntry, encode};
use crate::wire::{varint_len, zigzag};

/// Bytes of a manifest beside its slices at most: version, two feature sets, incarnation, sequence,
/// bucket, shard, slice count, extension length, CRC.
const FIXED_BYTES_MAX: usize = 1 + 5 + 5 + 10 + 10 + 3 + 5 + 10 + 5 + 4;

/// Bytes of a slice beside its batches at most: topic number, partition, gap, CRC, batch count.
const SLICE_BYTES_MAX: usize = 10 + 5 + 5 + 4 + 5;

/// Adds up the bound of the length of a manifest, batch by batch, before its slices have a place.
#[derive(Clone, Copy, Debug)]
pub struct ManifestSize {
    bytes: usize,
}

impl ManifestSize {
    /// The bound for a manifest without slices.
    pub const fn new() -> Self {
        Self {
            bytes: FIXED_BYTES_MAX,
        }
    }

    /// Adds a slice, still without batches.
    pub const fn add_slice(&mut self, partition: TopicPartition) {
        self.bytes += slice_bound(partition);
    }

    /// Adds a batch behind another one (or none) of its slice.
    pub fn add_batch(&mut self, batch: &BatchEntry, before: Option<&BatchEntry>) {
        self.bytes += batch_len(batch, before);
    }

    /// What adding a batch would add; `slice` if its partition has no slice yet.
    pub fn cost(batch: &BatchEntry, before: Option<&BatchEntry>, new_slice: bool) -> usize {
        batch_len(batch, before) + if new_slice { SLICE_BYTES_MAX } else { 0 }
    }

    /// The bound so far.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Default for ManifestSize {
    fn default() -> Self {
        Self::new()
    }
}

/// The bound for all slices and the rest of the manifest.
pub(super) fn bound(slices: &[SliceEntry]) -> usize {
    let mut size = ManifestSize::new();
    for slice in slices {
        size.add_slice(slice.partition);
        let mut before = None;
        for batch in &slice.batches {
            size.add_batch(batch, before);
            before = Some(batch);
        }
    }
    size.bytes()
}

const fn slice_bound(partition: TopicPartition) -> usize {
    let topic = varint_len(partition.topic.get());
    let index = varint_len(partition.partition.get() as u64);
    topic + index + 5 + 4 + 5
}

/// The exact length of a batch behind another one of the same slice.
fn batch_len(batch: &BatchEntry, before: Option<&BatchEntry>) -> usize {
    let flags = encode::flags(batch, before);
    let producer =
        if flags & (encode::FLAG_IDEMPOTENT | encode::FLAG_CONTINUES) == encode::FLAG_IDEMPOTENT {
            varint_len(batch.producer_id.get().cast_unsigned())
                + varint_len(u64::from(batch.producer_epoch.get().cast_unsigned()))
                + varint_len(u64::from(
                    batch.base_sequence.wrapping_add(1).cast_unsigned(),
                ))
        } else {
            0
        };
    let (min_delta, max_delta) = encode::timestamp_deltas(batch, before);
    1 + varint_len(u64::from(batch.length))
        + varint_len(u64::from(batch.record_count))
        + producer
        + varint_len(zigzag(min_delta))
        + varint_len(zigzag(max_delta))
        + varint_len(u64::from(encode::tail(batch)))
}
