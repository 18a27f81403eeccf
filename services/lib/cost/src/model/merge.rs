//! What merging small segments into large ones asks of the bucket.

use super::SegmentRate;
use crate::load::Load;
use crate::uses::{Kind, MIB, Use};

/// What a merged segment has, where enough is written (`metadata.merge_bytes`).
const MERGED_BYTES: f64 = 64.0 * MIB;
/// What was written is merged after this time, however little it is (`metadata.merge_age`).
const WINDOW_SECONDS: f64 = 45.0;
/// How long a segment lies beside the one that it was merged into: the window, and the time in which caches
/// may still name it.
pub(super) const GRACE_SECONDS: f64 = WINDOW_SECONDS + 600.0;

/// Merges of all shards.
#[derive(Debug)]
pub(super) struct Merges {
    /// Merged segments each second.
    pub(super) outputs: f64,
    /// Bytes that are read and written again, each second.
    pub(super) bytes: f64,
    gets: f64,
    from: (String, String),
}

impl Merges {
    /// A merged segment is of one shard: it takes the part of the shard out of each segment.
    pub(super) fn of(load: &Load, segments: &SegmentRate) -> Self {
        let per_segment = if load.batch_bytes > 0.0 {
            segments.bytes / load.batch_bytes
        } else {
            0.0
        };
        let shards = f64::from(load.shards.min(load.partitions));
        let parts = shards.min(per_segment.max(1.0));
        let gets = segments.rate * parts;
        let by_time = (shards / WINDOW_SECONDS).min(gets);
        let by_size = load.write_rate / MERGED_BYTES;
        let outputs = by_size.max(by_time);
        Self {
            outputs,
            bytes: load.write_rate,
            gets,
            from: (
                format!(
                    "{:.1} MiB/s in segments of {:.0} MiB, or one each {WINDOW_SECONDS} s of each of {shards} shards",
                    load.write_rate / MIB,
                    MERGED_BYTES / MIB
                ),
                format!(
                    "{:.2} segments/s x {parts:.1} shards in each",
                    segments.rate
                ),
            ),
        }
    }

    pub(super) fn uses(&self) -> Vec<Use> {
        let (put, get) = self.from.clone();
        vec![
            Use::each_second(Kind::ClassA, "merged segments put", self.outputs, put),
            Use::each_second(Kind::ClassB, "segments got to be merged", self.gets, get),
        ]
    }
}
