//! What readers ask of the bucket.

use super::SegmentRate;
use crate::load::Load;
use crate::uses::{Kind, MIB, Use};

/// What is read of a segment at once.
const PAGE_BYTES: f64 = 4.0 * MIB;

/// Reads of the tail and of old data.
///
/// Who writes a segment keeps it for readers of its cache. Every other cache whose clients read the tail gets each
/// page once, however many of them there are. Caches are the brokers, or with a read tier one for each zone. Old
/// data is got page by page.
#[derive(Debug)]
pub(super) struct Reads {
    /// Bytes got each second.
    pub(super) bytes: f64,
    tail: f64,
    catch_up: f64,
    from: (String, String),
}

impl Reads {
    pub(super) fn of(load: &Load, segments: &SegmentRate) -> Self {
        let (caches, whose) = if load.readers > 0 {
            (load.zones.min(load.readers), "zones")
        } else {
            (load.brokers, "brokers")
        };
        let is_read = load.fan_out > 0.0;
        let others = if is_read {
            f64::from(caches) - 1.0
        } else {
            0.0
        };
        let pages = (segments.bytes / PAGE_BYTES).ceil().max(1.0);
        let tail = segments.rate * pages * others;
        let catch_up = load.catch_up_rate / PAGE_BYTES;
        Self {
            bytes: load.write_rate * others + load.catch_up_rate,
            tail,
            catch_up,
            from: (
                format!(
                    "{:.2} segments/s x {pages:.0} pages x {others:.0} other {whose} whose clients read the tail",
                    segments.rate
                ),
                format!("{:.1} MiB/s in pages of 4 MiB", load.catch_up_rate / MIB),
            ),
        }
    }

    pub(super) fn uses(&self) -> Vec<Use> {
        let (tail, catch_up) = self.from.clone();
        vec![
            Use::each_second(Kind::ClassB, "pages of the tail got", self.tail, tail),
            Use::each_second(
                Kind::ClassB,
                "pages of old data got",
                self.catch_up,
                catch_up,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;

    fn reads(change: impl FnOnce(&mut Load)) -> Reads {
        let mut load = load();
        change(&mut load);
        Reads::of(&load, &SegmentRate::of(&load, 0.08))
    }

    #[test]
    fn the_tail_is_got_once_for_each_other_cache_however_many_read_it() {
        let few = reads(|load| load.fan_out = 1.0);
        let many = reads(|load| load.fan_out = 50.0);
        assert!((few.tail - many.tail).abs() < 1e-9);
        let alone = reads(|load| load.brokers = 1);
        assert!(alone.tail.abs() < 1e-9, "one broker has written all of it");
        let tier = reads(|load| (load.brokers, load.readers) = (30, 6));
        let without = reads(|load| load.brokers = 30);
        assert!(
            tier.tail * 10.0 < without.tail,
            "a read tier is one cache a zone"
        );
        assert!(reads(|load| load.fan_out = 0.0).tail.abs() < 1e-9);
    }
}
