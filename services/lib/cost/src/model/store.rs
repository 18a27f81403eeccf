//! What the embedded store asks of the bucket.

use super::SegmentRate;
use crate::load::{Load, Metadata};
use crate::uses::{Kind, Use};

/// A group writes a log object; about one in twenty of such requests more goes to tables and to what the store
/// says of them, and to listings by its collector.
const CLASS_A_PER_GROUP: f64 = 1.05;
/// GETs and HEADs of compactions and collections, for each group.
const CLASS_B_PER_GROUP: f64 = 0.2;
/// How often a member of a consumer group commits its offsets, as Kafka's clients do by themselves.
const OFFSETS_SECONDS: f64 = 5.0;
/// A shard writes a checkpoint this often, or after so many manifests.
const CHECKPOINT_SECONDS: f64 = 10.0;
const CHECKPOINT_MANIFESTS: f64 = 2000.0;

/// Each segment and each commit of offsets is a commit of the store. One flush is on its way at a time, and what
/// comes meanwhile shares the next one: so a flush takes its time, and where nothing has come meanwhile, the time
/// until something does.
pub(super) fn uses(load: &Load, segments: &SegmentRate, flush_seconds: f64) -> Vec<Use> {
    if matches!(load.metadata, Metadata::FoundationDb(_)) {
        return Vec::new();
    }
    let offsets = load.fan_out.ceil() * f64::from(load.consumers) / OFFSETS_SECONDS;
    let checkpoints = if segments.rate > 0.0 {
        (1.0 / CHECKPOINT_SECONDS).max(segments.rate / CHECKPOINT_MANIFESTS)
    } else {
        0.0
    };
    let commits = segments.rate + offsets + checkpoints;
    let groups = flushes(commits, flush_seconds);
    let from = format!(
        "{:.2}/s segments + {offsets:.2}/s offsets + {checkpoints:.2}/s checkpoints share {groups:.2} flushes/s",
        segments.rate
    );
    vec![
        Use::each_second(
            Kind::ClassA,
            "store written",
            groups * CLASS_A_PER_GROUP,
            format!("{from}, x {CLASS_A_PER_GROUP} for tables"),
        ),
        Use::each_second(
            Kind::ClassB,
            "store read",
            groups * CLASS_B_PER_GROUP,
            format!("{groups:.2} flushes/s x {CLASS_B_PER_GROUP} for compaction"),
        ),
    ]
}

/// How many flushes a second so many commits a second share.
fn flushes(commits: f64, flush_seconds: f64) -> f64 {
    if commits <= 0.0 {
        return 0.0;
    }
    let none_came = (-commits * flush_seconds).exp();
    1.0 / (flush_seconds + none_came / commits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;
    use crate::uses::MONTH_SECONDS;

    fn written(load: &Load, flush_seconds: f64) -> f64 {
        let segments = SegmentRate::of(load, 0.08);
        let uses = uses(load, &segments, flush_seconds);
        uses.first()
            .map_or(0.0, |used| used.quantity / MONTH_SECONDS)
    }

    #[test]
    fn commits_share_flushes_when_there_are_more_of_them_than_a_second_has_room_for() {
        let mut load = load();
        let few = written(&load, 0.001);
        load.brokers = 100;
        assert!(few < written(&load, 0.001));
        let most = written(&load, 0.1);
        assert!((most - 10.0 * CLASS_A_PER_GROUP).abs() < 1e-3, "{most}");
        // 223 commits a second whose flushes took 3 ms made 147 of them on a disk.
        let shared = flushes(223.0, 0.003);
        assert!((147.0..223.0).contains(&shared), "{shared}");
        assert!(
            (flushes(0.1, 0.003) - 0.1).abs() < 1e-4,
            "few commits share nothing"
        );
    }

    #[test]
    fn an_idle_log_and_another_store_ask_nothing_of_the_bucket() {
        let mut load = load();
        load.metadata = Metadata::FoundationDb(3);
        assert!(written(&load, 0.08).abs() < f64::EPSILON);
        load.metadata = Metadata::Embedded;
        (load.write_rate, load.fan_out) = (0.0, 0.0);
        assert!(written(&load, 0.08).abs() < f64::EPSILON);
    }
}
