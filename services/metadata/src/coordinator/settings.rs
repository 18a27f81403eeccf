//! Settings of the coordinators of groups.

use std::time::Duration;

use tidelog_groups::classic::ClassicSettings;
use tidelog_groups::consumer::ConsumerSettings;

use crate::driver::KEPT_SHARE;

/// How groups are coordinated.
#[derive(Clone, Copy, Debug)]
pub struct GroupSettings {
    /// Groups of the classic protocol.
    pub classic: ClassicSettings,
    /// Groups of the consumer protocol.
    pub consumer: ConsumerSettings,
    /// Committed offsets are kept so long after their group has lost its last member; those of a group that never
    /// had one, so long after they were committed.
    pub offsets_retention: Duration,
    /// How often groups are looked through at most for offsets that have expired.
    pub sweep_interval: Duration,
    /// A group without members is forgotten so long after it was last asked for, and read again when it is.
    pub idle: Duration,
    /// Bytes of memory of all groups of the process and of what waits for them. Beyond it nobody can join.
    pub memory_bytes: usize,
    /// Topics of other processes' making are looked for at most so often, and at least so often while there are
    /// groups of the consumer protocol.
    pub topics_interval: Duration,
}

impl GroupSettings {
    /// The default, within so many bytes of memory, of which a part is kept for those who are members already.
    pub fn within(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            memory_bytes: bytes / (KEPT_SHARE + 1) * KEPT_SHARE,
            ..Self::default()
        }
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            classic: ClassicSettings::default(),
            consumer: ConsumerSettings::default(),
            offsets_retention: Duration::from_hours(7 * 24),
            sweep_interval: Duration::from_mins(10),
            idle: Duration::from_mins(1),
            memory_bytes: 64 * 1024 * 1024,
            topics_interval: Duration::from_secs(5),
        }
    }
}
