//! What a backup says of the writers that there were when it was taken.

use tidelog_blob::BackupName;
use tidelog_types::Tenant;

use super::Backups;
use super::generation::INCARNATIONS;
use super::objects::ObjectError;
use super::part_reader::Backup;
use crate::keyspace::{Counter, Keyspace, NumberRow};

/// The writers at the time of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// Every lower incarnation had ended.
    pub(crate) oldest_live: u64,
    /// The last incarnation that had been given out.
    pub(crate) last: u64,
}

impl Before {
    /// Where the incarnations of generations begin that are later than the one of the backup: a generation never comes
    /// near them.
    pub(crate) const fn later_generations(self) -> u64 {
        self.last.saturating_add(INCARNATIONS / 2)
    }
}

impl Backups {
    /// The writers at the time of a backup. Counters are in its last parts.
    pub(crate) async fn standing_of(&self, name: &BackupName) -> Result<Before, ObjectError> {
        let backup = Backup::open(self, name).await?;
        let keys = Keyspace::new(Tenant::default());
        let mut before = Before::default();
        for number in (1..=backup.end.parts).rev() {
            for (key, value) in backup.part(number).await? {
                let known = if key == keys.counter(Counter::OldestLiveIncarnation) {
                    &mut before.oldest_live
                } else if key == keys.counter(Counter::Incarnation) {
                    &mut before.last
                } else {
                    continue;
                };
                *known = NumberRow::decode(value).map_or(*known, |row| row.0);
            }
            if before.last > 0 {
                break;
            }
        }
        Ok(before)
    }
}
