//! Writing a manifest, and the rules that a manifest keeps.

use tidelog_types::limits::SEGMENT_SLICES_MAX;

use super::{BatchEntry, Manifest, ManifestError, SliceEntry, size};
use crate::Features;
use crate::batch::HEADER_BYTES;
use crate::wire::{put_crc, put_varint, put_zigzag};

/// The version byte that is written; it must not change without a new layout.
pub(super) const VERSION: u8 = 1;

/// The required feature of a manifest whose segment lies in the store: who does not know it would take the commit
/// without the bytes.
pub(super) const FEATURE_IN_STORE: u32 = 1;

// The bits of a batch's flags; they must not change.
pub(super) const FLAG_TRANSACTIONAL: u8 = 1;
pub(super) const FLAG_CONTROL: u8 = 1 << 1;
pub(super) const FLAG_IDEMPOTENT: u8 = 1 << 2;
pub(super) const FLAG_CONTINUES: u8 = 1 << 3;
pub(super) const FLAGS_KNOWN: u8 =
    FLAG_TRANSACTIONAL | FLAG_CONTROL | FLAG_IDEMPOTENT | FLAG_CONTINUES;

impl Manifest {
    /// The stored form. The manifest must satisfy [`Manifest::check`]; of one that does not, the bytes
    /// are refused by [`Manifest::decode`] or differ from it.
    pub fn encode(&self) -> Vec<u8> {
        debug_assert_eq!(self.check(), Ok(()), "a manifest keeps its rules");
        let mut out = Vec::with_capacity(self.encoded_len_estimate());
        out.push(VERSION);
        let in_store = if self.bucket.is_store() {
            FEATURE_IN_STORE
        } else {
            0
        };
        put_varint(&mut out, u64::from(Features::NONE.required | in_store));
        put_varint(&mut out, u64::from(Features::NONE.ignorable));
        put_varint(&mut out, self.segment.incarnation.get());
        put_varint(&mut out, self.segment.sequence.get());
        put_varint(&mut out, u64::from(self.bucket.get()));
        put_varint(&mut out, u64::from(self.shard.get()));
        put_varint(&mut out, self.slices.len() as u64);
        let mut end = 0_u32;
        for slice in &self.slices {
            put_slice(&mut out, slice, end);
            end = slice.position.saturating_add(slice.length);
        }
        // No ignorable feature writes an extension yet.
        put_varint(&mut out, 0);
        put_crc(&mut out, 0);
        out
    }

    /// An upper bound of the length of the stored form: exact but for at most 29 bytes a slice and 58
    /// bytes a manifest.
    pub fn encoded_len_estimate(&self) -> usize {
        size::bound(&self.slices)
    }

    /// Checks the rules: slices in order, their lengths the sums of their batches, no field of a batch
    /// against another.
    pub fn check(&self) -> Result<(), ManifestError> {
        let count = self.slices.len() as u64;
        if count == 0 || count > u64::from(SEGMENT_SLICES_MAX) {
            return Err(ManifestError::SliceCount(count));
        }
        let mut end = 0_u64;
        for (index, slice) in (0_u32..).zip(&self.slices) {
            end = check_slice(index, slice, end)?;
        }
        Ok(())
    }
}

fn put_slice(out: &mut Vec<u8>, slice: &SliceEntry, end_before: u32) {
    put_varint(out, slice.partition.topic.get());
    put_varint(out, u64::from(slice.partition.partition.get()));
    put_varint(out, u64::from(slice.position.saturating_sub(end_before)));
    out.extend_from_slice(&slice.crc32c.to_be_bytes());
    put_varint(out, slice.batches.len() as u64);
    let mut before = None;
    for batch in &slice.batches {
        put_batch(out, batch, before);
        before = Some(batch);
    }
}

fn put_batch(out: &mut Vec<u8>, batch: &BatchEntry, before: Option<&BatchEntry>) {
    let flags = flags(batch, before);
    out.push(flags);
    put_varint(out, u64::from(batch.length));
    put_varint(out, u64::from(batch.record_count));
    if flags & (FLAG_IDEMPOTENT | FLAG_CONTINUES) == FLAG_IDEMPOTENT {
        put_varint(out, batch.producer_id.get().cast_unsigned());
        put_varint(out, u64::from(batch.producer_epoch.get().cast_unsigned()));
        put_varint(
            out,
            u64::from(batch.base_sequence.wrapping_add(1).cast_unsigned()),
        );
    }
    let (min_delta, max_delta) = timestamp_deltas(batch, before);
    put_zigzag(out, min_delta);
    put_zigzag(out, max_delta);
    put_varint(out, u64::from(tail(batch)));
}

/// The flags byte of a batch behind another of the same slice.
pub(super) fn flags(batch: &BatchEntry, before: Option<&BatchEntry>) -> u8 {
    let mut flags = 0;
    if batch.transactional {
        flags |= FLAG_TRANSACTIONAL;
    }
    if batch.control {
        flags |= FLAG_CONTROL;
    }
    if batch.producer_id.is_idempotent() {
        flags |= FLAG_IDEMPOTENT;
        if before.is_some_and(|before| continues(batch, before)) {
            flags |= FLAG_CONTINUES;
        }
    }
    flags
}

fn continues(batch: &BatchEntry, before: &BatchEntry) -> bool {
    before.producer_id == batch.producer_id
        && before.producer_epoch == batch.producer_epoch
        && before.next_sequence() == batch.base_sequence
}

pub(super) fn timestamp_deltas(batch: &BatchEntry, before: Option<&BatchEntry>) -> (i64, i64) {
    let min = batch.min_timestamp.as_millis();
    let min_before = before.map_or(0, |before| before.min_timestamp.as_millis());
    (
        min.wrapping_sub(min_before),
        batch.max_timestamp.as_millis().wrapping_sub(min),
    )
}

/// How many records lie behind the one with the largest timestamp.
pub(super) const fn tail(batch: &BatchEntry) -> u32 {
    batch
        .record_count
        .saturating_sub(1)
        .saturating_sub(batch.max_timestamp_offset_delta)
}

/// Checks one slice behind bytes that end at `end_before`; answers where it ends.
pub(super) fn check_slice(
    index: u32,
    slice: &SliceEntry,
    end_before: u64,
) -> Result<u64, ManifestError> {
    if slice.batches.is_empty() {
        return Err(ManifestError::EmptySlice { slice: index });
    }
    for (batch_index, batch) in (0_u32..).zip(&slice.batches) {
        if let Some((field, value)) = broken_field(batch) {
            return Err(ManifestError::Batch {
                slice: index,
                batch: batch_index,
                field,
                value,
            });
        }
    }
    let length = u64::from(slice.length);
    let sum: u64 = slice
        .batches
        .iter()
        .map(|batch| u64::from(batch.length))
        .sum();
    if sum != length {
        return Err(ManifestError::SliceLength {
            slice: index,
            length,
            sum,
        });
    }
    let position = u64::from(slice.position);
    let end = position + length;
    if position < end_before || end > u64::from(u32::MAX) {
        return Err(ManifestError::SlicePosition {
            slice: index,
            position,
        });
    }
    Ok(end)
}

/// The first field of a batch that contradicts the rules, with its value.
fn broken_field(batch: &BatchEntry) -> Option<(&'static str, i64)> {
    let count = i64::from(batch.record_count);
    let epoch = i64::from(batch.producer_epoch.get());
    let sequence = i64::from(batch.base_sequence);
    let idempotent = batch.producer_id.is_idempotent();
    let rules = [
        (
            "length",
            i64::from(batch.length),
            (batch.length as usize) < HEADER_BYTES,
        ),
        (
            "record count",
            count,
            !(1..=i64::from(i32::MAX)).contains(&count),
        ),
        (
            "producer id",
            batch.producer_id.get(),
            batch.producer_id.get() < -1,
        ),
        (
            "producer epoch",
            epoch,
            if idempotent { epoch < 0 } else { epoch != -1 },
        ),
        (
            "base sequence",
            sequence,
            sequence < -1 || (!idempotent && sequence != -1),
        ),
        (
            "max timestamp offset delta",
            i64::from(batch.max_timestamp_offset_delta),
            batch.max_timestamp_offset_delta >= batch.record_count,
        ),
    ];
    rules
        .into_iter()
        .find(|(_, _, broken)| *broken)
        .map(|(field, value, _)| (field, value))
}
