//! Latencies in bounded memory: buckets that grow by about three percent.

use std::time::Duration;

/// Buckets for each doubling. 32 keep every value within 1/32 of the truth.
const STEPS: usize = 32;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
/// Enough for all of `u64`.
const BUCKETS: usize = (64 - STEPS_LOG2 as usize + 1) * STEPS;

/// Counts of durations by microseconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }

    pub(super) fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    pub(super) const fn count(&self) -> u64 {
        self.total
    }

    pub(super) const fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The least duration that so many per mille of all are not above; zero without any.
    pub(super) fn per_mille(&self, per_mille: u64) -> Duration {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(index).min(self.max));
            }
        }
        Duration::ZERO
    }
}

/// Small values have a bucket each; above, the leading bits choose.
fn bucket(value: u64) -> usize {
    let doublings = value
        .checked_ilog2()
        .unwrap_or(0)
        .saturating_sub(STEPS_LOG2);
    // At most two times the steps, by the choice of the doublings.
    let step = usize::try_from(value >> doublings).unwrap_or(usize::MAX);
    doublings as usize * STEPS + step
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let doublings = (index / STEPS).saturating_sub(1);
    let step = (index - doublings * STEPS) as u64;
    ((step + 1) << doublings).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_whose_end_is_near() {
        for value in (0..2_000).chain([10_000, 123_456_789, u64::MAX / 2, u64::MAX]) {
            let end = upper(bucket(value));
            assert!(end >= value, "{value}");
            assert!(
                end - value <= value / STEPS as u64,
                "{value} in a bucket to {end}"
            );
        }
    }

    #[test]
    fn percentiles_are_where_they_should_be() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.per_mille(500), Duration::ZERO);
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        let near = |per_mille, millis: u64| {
            let found = u64::try_from(histogram.per_mille(per_mille).as_millis()).unwrap();
            assert!(
                found.abs_diff(millis) <= millis / 30,
                "{found} for {millis}"
            );
        };
        near(500, 500);
        near(990, 990);
        assert_eq!(histogram.per_mille(1000), Duration::from_secs(1));
        assert_eq!(
            (histogram.count(), histogram.max()),
            (1000, Duration::from_secs(1))
        );
    }
}
