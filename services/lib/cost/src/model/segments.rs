//! How often brokers put a segment.

use super::MANIFEST_BATCH_BYTES;
use crate::load::Load;
use crate::uses::{Kind, MIB, Use};

/// A segment closes when the manifest of one shard has so many bytes.
const MANIFEST_BYTES_MAX: f64 = 65_536.0;

/// Segments of all brokers.
///
/// A segment closes when it has its size, when its manifest has, when its linger from its first byte is over, or
/// early: when nothing is being uploaded, a broker may close one `flush_rate` times a second. So a broker puts
///
/// - by size: its bytes / the size of a segment, and with early closes, which come at any moment of the time in
///   which a segment fills, half of them more;
/// - by time: the larger of 1 / (linger + time to the first batch) and the early closes;
/// - never more than it gets batches, for there is no empty segment.
///
/// There are no early closes while an upload is always on its way, and no more of them than uploads that follow one
/// another.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentRate {
    /// Segments each second, of all brokers.
    pub rate: f64,
    /// Bytes of a segment on average.
    pub bytes: f64,
    /// How the rate came to be.
    pub from: String,
}

impl SegmentRate {
    /// Of a load, where a PUT takes so long.
    pub fn of(load: &Load, put_seconds: f64) -> Self {
        let brokers = f64::from(load.brokers);
        let (bytes, batches) = (load.write_rate / brokers, load.batch_rate() / brokers);
        if batches <= 0.0 {
            return Self {
                rate: 0.0,
                bytes: 0.0,
                from: "nothing is written".to_owned(),
            };
        }
        let target = size_at_which_it_closes(load);
        let by_size = bytes / target;
        let by_linger = 1.0 / (load.linger + 1.0 / batches);
        let is_always_uploading = by_size.max(by_linger) * put_seconds >= 1.0;
        let early = if is_always_uploading {
            0.0
        } else {
            load.flush_rate.min(1.0 / put_seconds)
        };
        let (why, each) = [
            ("by linger", by_linger),
            ("closed early while nothing is uploaded", early),
            ("by size, some closed early", by_size + early / 2.0),
        ]
        .into_iter()
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
        .unwrap_or(("by size", by_size));
        let (why, each) = if batches < each {
            ("one for each batch", batches)
        } else {
            (why, each)
        };
        let rate = each * brokers;
        Self {
            rate,
            bytes: load.write_rate / rate,
            from: format!(
                "{brokers} brokers x {each:.2}/s, {why} (of {:.2} MiB at most, {:.0} ms linger)",
                target / MIB,
                load.linger * 1000.0
            ),
        }
    }

    pub(super) fn uses(&self) -> Vec<Use> {
        vec![Use::each_second(
            Kind::ClassA,
            "segments put",
            self.rate,
            self.from.clone(),
        )]
    }
}

/// The size that a segment has when something of it is full.
fn size_at_which_it_closes(load: &Load) -> f64 {
    let shards = f64::from(load.shards.min(load.partitions));
    let batches = MANIFEST_BYTES_MAX / MANIFEST_BATCH_BYTES * shards;
    load.segment_bytes
        .min(batches * load.batch_bytes)
        .max(load.batch_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;

    fn per_broker(change: impl FnOnce(&mut Load), put_seconds: f64) -> f64 {
        let mut load = load();
        load.brokers = 1;
        change(&mut load);
        SegmentRate::of(&load, put_seconds).rate
    }

    #[test]
    fn nothing_written_is_nothing_put() {
        assert!(per_broker(|load| load.write_rate = 0.0, 0.08).abs() < f64::EPSILON);
    }

    #[test]
    fn a_quiet_log_puts_each_batch_and_a_busy_one_fills_its_segments() {
        // Two batches a second.
        let quiet = per_broker(|load| load.write_rate = 32_768.0, 0.08);
        assert!((quiet - 2.0).abs() < 1e-9, "{quiet}");
        // 64 batches a second: as many as may be closed early.
        let middling = per_broker(|load| load.write_rate = 1_048_576.0, 0.08);
        assert!((middling - 4.0).abs() < 1e-9, "{middling}");
        // 800 MiB/s: uploads never end, so no segment is closed early.
        let busy = per_broker(|load| load.write_rate = 800.0 * 1_048_576.0, 0.08);
        assert!((busy - 100.0).abs() < 1e-9, "{busy}");
    }

    #[test]
    fn a_short_linger_closes_what_the_budget_does_not() {
        let local = per_broker(|load| load.linger = 0.005, 0.001);
        assert!((100.0..200.0).contains(&local), "{local}");
    }

    #[test]
    fn small_batches_fill_the_manifest_before_the_segment() {
        let rate = |shards| {
            per_broker(
                |load| {
                    load.write_rate = 100.0 * 1_048_576.0;
                    load.batch_bytes = 1024.0;
                    load.shards = shards;
                },
                0.2,
            )
        };
        assert!((rate(1) - 31.25).abs() < 0.1, "{}", rate(1));
        assert!((rate(32) - 12.5).abs() < 0.1, "{}", rate(32));
    }

    #[test]
    fn requests_for_a_gib_at_a_hundred_megabytes_a_second_are_few() {
        let rate = per_broker(|load| load.write_rate = 100e6, 0.05);
        let per_gib = rate / 100e6 * 1_073_741_824.0;
        assert!((128.0..170.0).contains(&per_gib), "{per_gib}");
    }
}
