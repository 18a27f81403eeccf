//! What merging small segments into large ones asks of the bucket.

use super::SegmentRate;
use crate::load::Load;
use crate::uses::{Kind, MIB, Use};

/// What a merged segment has, where enough is written (`metadata.merge_bytes`).
const MERGED_BYTES: f64 = 64.0 * MIB;
/// What was written is merged after this time, however little it is (`metadata.merge_age`).
const WINDOW_SECONDS: f64 = 45.0;
/// Merged extents of a partition are merged again when the result is so many times as large (`metadata.merge_growth`), up
/// to a MiB, at least once an hour for each shard (`metadata.merge_again_age`).
const GROWTH: f64 = 8.0;
const AGAIN_SECONDS: f64 = 3_600.0;

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
    again: Again,
}

/// What is merged again.
#[derive(Debug)]
struct Again {
    /// How often a byte is, about.
    copies: f64,
    /// Bytes of a partition in a window.
    extent: f64,
    outputs: f64,
}

impl Again {
    fn of(load: &Load, shards: f64) -> Self {
        let of_shard = load.write_rate / shards.max(1.0);
        let window = MERGED_BYTES.min(of_shard * WINDOW_SECONDS);
        let extent = (window * shards / f64::from(load.partitions.max(1))).max(1.0);
        let copies = (MIB / extent).log(GROWTH).floor().max(0.0);
        let outputs = if copies > 0.0 && load.write_rate > 0.0 {
            (load.write_rate * copies / MERGED_BYTES).max(shards / AGAIN_SECONDS)
        } else {
            0.0
        };
        Self {
            copies,
            extent,
            outputs,
        }
    }

    fn uses(&self) -> Vec<Use> {
        if self.outputs <= 0.0 {
            return Vec::new();
        }
        let extent = self.extent / 1_024.0;
        let put = format!(
            "a partition has {extent:.1} KiB in a window: each byte {:.0} times more, in segments of 64 MiB, at least one an hour",
            self.copies
        );
        let got = format!("each of what {GROWTH:.0} segments have of its partitions");
        let gets = self.outputs * GROWTH;
        vec![
            Use::each_second(Kind::ClassA, "merged segments put again", self.outputs, put),
            Use::each_second(Kind::ClassB, "merged segments got again", gets, got),
        ]
    }
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
        let again = Again::of(load, shards);
        let outputs = by_size.max(by_time) + again.outputs;
        Self {
            outputs,
            bytes: load.write_rate * (1.0 + again.copies),
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
            again,
        }
    }

    pub(super) fn uses(&self) -> Vec<Use> {
        let (put, get) = self.from.clone();
        let first = self.outputs - self.again.outputs;
        let mut uses = vec![
            Use::each_second(Kind::ClassA, "merged segments put", first, put),
            Use::each_second(Kind::ClassB, "segments got to be merged", self.gets, get),
        ];
        uses.extend(self.again.uses());
        uses
    }
}
