//! What is in the tail of a shard and not merged, as far as one has to know it to say when to merge.

use std::time::Duration;

use tidelog_types::{GroupNumber, Timestamp};

use super::super::state::ShardState;

/// What is not merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmerged {
    /// Up to which group extents are in pages.
    pub(crate) checkpoint: GroupNumber,
    /// Up to which group it is merged.
    pub(crate) merged: GroupNumber,
    pub(crate) manifests: u64,
    pub(crate) bytes: u64,
    /// Whether there may be more than was counted.
    pub(crate) is_guess: bool,
    /// Whether so much of it lies in the store that it is to be moved now.
    pub(crate) is_much_inline: bool,
    /// The commit time of the first entry.
    pub(crate) since: Option<Timestamp>,
}

/// When to merge.
#[derive(Clone, Copy, Debug)]
pub struct MergeSettings {
    /// Whether anything is merged.
    pub is_on: bool,
    /// What there is is merged once there are so many bytes of it: as many as a merged segment has.
    pub bytes: u64,
    /// And once the oldest is older than this.
    pub age: Duration,
    /// Merged extents of a partition are merged again once the result is so many times as large as each of them; 0:
    /// never.
    pub growth: u64,
    /// And once there are as many bytes of such as a merged segment has, or the first was found so long ago.
    pub again_age: Duration,
    /// How long a janitor may be silent about a merge before it is given to another: some times
    /// [`MERGE_KEEP_EVERY`](tidelog_metadata_api::MERGE_KEEP_EVERY).
    pub lent_for: Duration,
    /// How long there is between two looks for partitions to compact.
    pub compaction_interval: Duration,
    /// Which merged segments are written anew.
    pub rewrite: RewriteSettings,
}

/// When what is left of a merged segment is written anew, so that the rest of its bytes can go.
#[derive(Clone, Copy, Debug)]
pub struct RewriteSettings {
    /// Less than so many hundredths of it are named; 0: never.
    pub live_percent: u64,
    /// And have been for so long.
    pub age: Duration,
    /// And so many bytes go by it at least: to store them for a few months costs about as much as the requests for that.
    pub freed_min: u64,
}

impl Default for MergeSettings {
    fn default() -> Self {
        Self {
            is_on: true,
            bytes: 64 * 1024 * 1024,
            age: Duration::from_secs(45),
            growth: 8,
            again_age: Duration::from_hours(1),
            lent_for: Duration::from_secs(30),
            compaction_interval: Duration::from_secs(15),
            rewrite: RewriteSettings {
                live_percent: 30,
                age: Duration::from_hours(1),
                freed_min: 128 * 1024,
            },
        }
    }
}

impl MergeSettings {
    /// Whether sparse segments are written anew.
    pub(super) const fn rewrites(&self) -> bool {
        self.is_on && self.rewrite.live_percent > 0
    }
}

/// Fewer segments than this are left as they are: they would be copied for nothing.
const MANIFESTS_MIN: u64 = 2;

/// Whether it is time to merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// In so long.
    In(Duration),
    /// Not before something else is committed.
    Never,
}

impl Unmerged {
    /// What an owner knows that has just read the shard: that there is something, and not how much.
    pub(crate) fn loaded(state: &ShardState) -> Self {
        Self {
            checkpoint: state.checkpoint,
            merged: state.merged,
            manifests: state.tail_since.map_or(0, |_| MANIFESTS_MIN),
            bytes: 0,
            is_guess: state.tail_since.is_some(),
            is_much_inline: false,
            since: state.tail_since,
        }
    }

    /// A group may have landed that nobody counted.
    pub(crate) fn recovered(&mut self, state: &ShardState) {
        if state.tail_since.is_some() {
            self.manifests = self.manifests.max(MANIFESTS_MIN);
            self.is_guess = true;
        }
    }

    /// Whether there is so much that it would be merged once it is old enough.
    pub(crate) const fn are_some(&self) -> bool {
        self.manifests >= MANIFESTS_MIN
    }

    /// Takes note of a group.
    pub(crate) fn committed(&mut self, manifests: u32, bytes: u64) {
        self.manifests += u64::from(manifests);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Takes note that some were merged, and since when there is more.
    pub(crate) fn merged(&mut self, manifests: u64, bytes: u64, since: Option<Timestamp>) {
        self.manifests = self.manifests.saturating_sub(manifests);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_guess &= since.is_some();
        if self.is_guess {
            self.manifests = self.manifests.max(MANIFESTS_MIN);
        }
    }

    /// When to merge what is in pages.
    pub(crate) fn due(&self, settings: &MergeSettings, now: Timestamp) -> Due {
        let Some(since) = self.since.filter(|_| settings.is_on) else {
            return Due::Never;
        };
        if self.checkpoint <= self.merged || !self.are_some() {
            return Due::Never;
        }
        if self.bytes >= settings.bytes || self.is_much_inline {
            return Due::Now;
        }
        let age = now.as_millis().saturating_sub(since.as_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        match settings.age.checked_sub(age).filter(|left| !left.is_zero()) {
            Some(left) => Due::In(left),
            None => Due::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn unmerged(manifests: u64, bytes: u64) -> Unmerged {
        Unmerged {
            checkpoint: GroupNumber::new(9),
            merged: GroupNumber::new(3),
            manifests,
            bytes,
            is_guess: false,
            is_much_inline: false,
            since: Some(Timestamp::from_millis(1_000)),
        }
    }

    fn due(unmerged: &Unmerged, now: i64) -> Due {
        let settings = MergeSettings {
            bytes: 100,
            age: Duration::from_mins(1),
            ..MergeSettings::default()
        };
        unmerged.due(&settings, Timestamp::from_millis(now))
    }

    #[test]
    fn it_is_time_when_there_is_enough_or_it_is_old_enough_and_never_for_one_segment() {
        assert_eq!(due(&unmerged(2, 100), 0), Due::Now);
        assert_eq!(
            due(&unmerged(2, 99), 1_000),
            Due::In(Duration::from_mins(1))
        );
        assert_eq!(
            due(&unmerged(2, 99), 31_000),
            Due::In(Duration::from_secs(30))
        );
        assert_eq!(due(&unmerged(2, 99), 61_000), Due::Now);
        let full = Unmerged {
            is_much_inline: true,
            ..unmerged(2, 99)
        };
        assert_eq!(due(&full, 1_000), Due::Now);
        assert_eq!(due(&unmerged(1, 1_000), 99_000), Due::Never);
        let all = Unmerged {
            merged: GroupNumber::new(9),
            ..unmerged(2, 100)
        };
        assert_eq!(due(&all, 99_000), Due::Never);
        let off = MergeSettings {
            is_on: false,
            ..MergeSettings::default()
        };
        let now = Timestamp::from_millis(99_000);
        assert_eq!(unmerged(2, 1_000).due(&off, now), Due::Never);
    }
}
