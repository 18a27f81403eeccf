//! The bytes of a header that a log changes.

use tidelog_types::{Offset, Timestamp};

use super::BatchError;
use super::header::{
    ATTRIBUTES_AT, BatchHeader, HEADER_BYTES, LEADER_EPOCH_AT, MAGIC, MAX_TIMESTAMP_END,
};

/// The leader epoch that every read shows: there are no leaders to tell apart.
const LEADER_EPOCH: i32 = 0;

/// The header of a batch as it is read at `base_offset`. The CRC stays right, since it does not cover
/// what changes.
pub fn patched_head(header: &BatchHeader, base_offset: Offset) -> [u8; HEADER_BYTES] {
    let base_offset = base_offset.to_i64();
    BatchHeader {
        base_offset,
        partition_leader_epoch: LEADER_EPOCH,
        ..*header
    }
    .encode()
}

/// Patches the header at the front of `bytes` in place, for callers that own a copy.
pub fn patch_offsets(bytes: &mut [u8], base_offset: Offset) -> Result<(), BatchError> {
    let short = BatchError::Truncated {
        needed: HEADER_BYTES as u64,
        remaining: bytes.len() as u64,
    };
    let head = bytes.first_chunk_mut::<HEADER_BYTES>().ok_or(short)?;
    if head[16] != MAGIC {
        return Err(BatchError::Magic(head[16]));
    }
    head[..8].copy_from_slice(&base_offset.to_i64().to_be_bytes());
    head[LEADER_EPOCH_AT..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
    Ok(())
}

/// The header with log append time, its CRC renewed by combination: the records are not hashed.
pub(super) fn stamped(header: &BatchHeader, time: Timestamp) -> BatchHeader {
    let attributes = header.attributes.log_append_time();
    let after = BatchHeader {
        attributes,
        max_timestamp: time,
        ..*header
    };
    let changed = ATTRIBUTES_AT..MAX_TIMESTAMP_END;
    let crc_before = tidelog_crc32c::crc32c(&header.encode()[changed.clone()]);
    let crc_after = tidelog_crc32c::crc32c(&after.encode()[changed]);
    let unchanged = u64::from(header.size()).saturating_sub(MAX_TIMESTAMP_END as u64);
    BatchHeader {
        crc: header.crc ^ tidelog_crc32c::shift(crc_before ^ crc_after, unchanged),
        ..after
    }
}
