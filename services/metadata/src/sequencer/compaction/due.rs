//! Whether a partition is to be compacted, by what is known of its bytes and times. Nothing here does I/O.

use tidelog_metadata_api::{TopicInfo, TopicState};
use tidelog_types::{Offset, Timestamp};

use super::super::retention::{Limits, span_millis};
use crate::keyspace::CompactedRow;

/// What a topic wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    ratio_min: f64,
    lag_min: i64,
    lag_max: i64,
    pub(crate) tombstones_millis: i64,
    /// What retention takes as a whole.
    pub(crate) span_millis: Option<i64>,
}

impl Wanted {
    /// Nothing if its logs are not compacted.
    pub(crate) fn of(topic: &TopicInfo) -> Option<Self> {
        let config = &topic.config;
        let is_compacted = topic.state == TopicState::Live && config.cleanup_policy().compact;
        let (lag_min, lag_max) = config.compaction_lags_millis();
        is_compacted.then(|| Self {
            ratio_min: config.dirty_ratio_min(),
            lag_min,
            lag_max,
            tombstones_millis: config.tombstone_millis(),
            span_millis: Limits::of(topic).millis.map(span_millis),
        })
    }
}

/// An extent as compaction sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) next: Offset,
    pub(crate) bytes: u64,
    /// Of its latest record, or of its commit if that says nothing.
    pub(crate) time: Timestamp,
}

/// A look at the dirty part of a partition, extent by extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirty {
    wanted: Wanted,
    now: Timestamp,
    /// Nothing beyond it may be compacted.
    limit: Offset,
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    oldest: Option<Timestamp>,
    /// When the extent that is too young is old enough.
    of_age: Option<Timestamp>,
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is due, up to this offset, and so much of its bytes are dirty.
    Due { end: Offset, ratio: f64 },
    /// Not before this time, as things are; never if there is none.
    Later(Option<Timestamp>),
}

impl Dirty {
    pub(crate) const fn new(
        wanted: Wanted,
        now: Timestamp,
        cleaned: Offset,
        limit: Offset,
    ) -> Self {
        Self {
            wanted,
            now,
            limit,
            end: cleaned,
            bytes: 0,
            oldest: None,
            of_age: None,
        }
    }

    /// Looks at the next extent; whether it may be compacted. One that may not is the last to be looked at.
    pub(crate) fn take(&mut self, extent: &Seen) -> bool {
        if extent.next <= self.end {
            return true;
        }
        if extent.next > self.limit {
            return false;
        }
        let of_age = later(extent.time, self.wanted.lag_min);
        // What comes at this time is as old as it must be.
        if of_age > self.now {
            self.of_age = Some(of_age);
            return false;
        }
        self.oldest.get_or_insert(extent.time);
        self.bytes = self.bytes.saturating_add(extent.bytes);
        self.end = extent.next;
        true
    }

    /// `is_all` says that there is nothing that was not looked at.
    pub(crate) fn verdict(&self, row: &CompactedRow) -> Verdict {
        let Some(oldest) = self.oldest else {
            return match row.tombstones_until {
                Some(until) if until < self.now => Verdict::Due {
                    end: self.end,
                    ratio: 0.0,
                },
                until => Verdict::Later(earlier(until.map(|until| later(until, 1)), self.of_age)),
            };
        };
        let ratio = ratio(self.bytes, row.bytes);
        let must = later(oldest, self.wanted.lag_max);
        if ratio >= self.wanted.ratio_min || must <= self.now {
            return Verdict::Due {
                end: self.end,
                ratio,
            };
        }
        match row.tombstones_until {
            Some(until) if until < self.now => Verdict::Due {
                end: self.end,
                ratio,
            },
            until => {
                let must = Some(must).filter(|must| must.as_millis() < i64::MAX);
                let until = until.map(|until| later(until, 1));
                Verdict::Later(earlier(earlier(until, must), self.of_age))
            }
        }
    }
}

fn later(time: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(millis))
}

/// The earlier of two times, of which there may be none.
pub(crate) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is lost of a share of bytes matters to nobody"
)]
fn ratio(dirty: u64, clean: u64) -> f64 {
    let all = dirty.saturating_add(clean);
    if all == 0 {
        return 0.0;
    }
    dirty as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn verdict(wanted: Wanted, row: CompactedRow, extents: &[(u64, i64)]) -> Verdict {
        let limit = Offset::new(100);
        let mut dirty = Dirty::new(wanted, at(NOW), row.cleaned, limit);
        for (next, time) in extents {
            let seen = Seen {
                next: Offset::new(*next),
                bytes: 100,
                time: at(*time),
            };
            if !dirty.take(&seen) {
                break;
            }
        }
        dirty.verdict(&row)
    }

    const WANTED: Wanted = Wanted {
        ratio_min: 0.5,
        lag_min: 0,
        lag_max: i64::MAX,
        tombstones_millis: 0,
        span_millis: None,
    };

    fn row(bytes: u64) -> CompactedRow {
        CompactedRow {
            cleaned: Offset::new(10),
            bytes,
            tombstones_until: None,
            unread: None,
        }
    }

    fn due(end: u64) -> impl Fn(Verdict) -> bool {
        move |verdict| matches!(verdict, Verdict::Due { end: found, .. } if found.get() == end)
    }

    #[test]
    fn it_is_due_when_enough_of_it_is_dirty_or_some_of_it_has_waited_for_long() {
        let two = [(20, NOW - 9), (30, NOW - 5)];
        assert!(due(30)(verdict(WANTED, row(200), &two)));
        assert_eq!(verdict(WANTED, row(201), &two), Verdict::Later(None));
        let impatient = Wanted {
            lag_max: 9,
            ..WANTED
        };
        assert!(due(30)(verdict(impatient, row(9_999), &two)));
        let patient = Wanted {
            lag_max: 10,
            ..WANTED
        };
        let later = Verdict::Later(Some(at(NOW + 1)));
        assert_eq!(verdict(patient, row(9_999), &two), later);
        assert_eq!(verdict(WANTED, row(0), &[]), Verdict::Later(None));
    }

    #[test]
    fn what_is_too_young_or_beyond_what_may_be_compacted_is_left_alone() {
        let young = Wanted {
            lag_min: 7,
            ..WANTED
        };
        let two = [(20, NOW - 7), (30, NOW - 6)];
        assert!(due(20)(verdict(young, row(0), &two)));
        let later = Verdict::Later(Some(at(NOW + 1)));
        assert_eq!(verdict(young, row(0), &two[1..]), later);
        assert!(due(100)(verdict(WANTED, row(0), &[(100, 0), (101, 0)])));
        assert_eq!(verdict(WANTED, row(0), &[(101, 0)]), Verdict::Later(None));
    }

    #[test]
    fn tombstones_that_are_over_are_a_reason_of_their_own() {
        let with = |until| CompactedRow {
            tombstones_until: Some(at(until)),
            ..row(1_000)
        };
        assert!(due(10)(verdict(WANTED, with(NOW - 1), &[])));
        assert!(due(20)(verdict(WANTED, with(NOW - 1), &[(20, 0)])));
        let later = Verdict::Later(Some(at(NOW + 1)));
        assert_eq!(verdict(WANTED, with(NOW), &[]), later);
        assert_eq!(verdict(WANTED, with(NOW), &[(20, 0)]), later);
    }
}
