//! What a backup says of the writers that there were when it was taken.

use bytes::Bytes;
use tidelog_blob::BackupName;
use tidelog_types::{ClusterGeneration, Tenant};

use super::Backups;
use super::generation::{INCARNATIONS, first_incarnation};
use super::objects::ObjectError;
use super::part_reader::Backup;
use crate::keyspace::{Counter, KeyKind, Keyspace, NumberRow};

/// The writers and topics at the time of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// Every lower incarnation had ended before the backup began, so that the backup knows what it has merged.
    pub(crate) merged_from: u64,
    /// The same for what was written and not merged. What is below and not in the backup was never committed.
    pub(crate) written_from: u64,
    /// The last incarnation that had been given out.
    pub(crate) last: u64,
    /// Every topic up to this number that there was is in the backup.
    pub(crate) topics: u64,
}

/// Counters as they were at some time of a backup.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    oldest_live: u64,
    incarnation: u64,
    topic: u64,
}

impl Counted {
    fn note(&mut self, keys: Keyspace, key: &Bytes, value: &Bytes) {
        for (counter, known) in [
            (Counter::OldestLiveIncarnation, &mut self.oldest_live),
            (Counter::Incarnation, &mut self.incarnation),
            (Counter::TopicNumber, &mut self.topic),
        ] {
            if *key == keys.counter(counter) {
                *known = NumberRow::decode(value.clone()).map_or(*known, |row| row.0);
            }
        }
    }
}

impl Before {
    /// `first`: as it began, which older backups do not say; writers may have ended and topics begun since.
    fn of(generation: ClusterGeneration, first: Option<Counted>, last: Counted) -> Self {
        let merged_from = match first {
            Some(first) => first.oldest_live.min(last.oldest_live),
            None => first_incarnation(generation),
        };
        Self {
            merged_from,
            written_from: first.map_or(last.oldest_live, |_| merged_from),
            last: last.incarnation,
            topics: first.map_or(0, |first| first.topic),
        }
    }

    /// Where the incarnations of generations begin that are later than the one of the backup: a generation never comes
    /// near them.
    pub(crate) const fn later_generations(self) -> u64 {
        self.last.saturating_add(INCARNATIONS / 2)
    }
}

impl Backups {
    /// The writers and topics at the time of a backup. Counters are in its first rows and in its last parts.
    pub(crate) async fn standing_of(&self, name: &BackupName) -> Result<Before, ObjectError> {
        let backup = Backup::open(self, name).await?;
        let keys = Keyspace::new(Tenant::default());
        let mut first = None;
        if backup.end.parts > 0 {
            let rows = backup.part(1).await?.into_iter();
            for (key, value) in
                rows.take_while(|(key, _)| Keyspace::kind_of(key) == Some(KeyKind::Counter))
            {
                let first: &mut Counted = first.get_or_insert_default();
                first.note(keys, &key, &value);
            }
        }
        let mut last = Counted::default();
        for number in (1..=backup.end.parts).rev() {
            for (key, value) in backup.part(number).await? {
                last.note(keys, &key, &value);
            }
            if last.incarnation > 0 {
                break;
            }
        }
        Ok(Before::of(backup.origin.generation, first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_while_the_backup_was_taken_is_looked_at() {
        let counted = |oldest_live, topic| Counted {
            oldest_live,
            incarnation: 9,
            topic,
        };
        let generation = ClusterGeneration::new(1);
        let before = Before::of(generation, Some(counted(3, 7)), counted(8, 8));
        assert_eq!((before.merged_from, before.written_from), (3, 3));
        assert_eq!((before.last, before.topics), (9, 7));
        // An older backup does not say who lived as it began: of its generation everybody may have.
        let third = ClusterGeneration::new(3);
        let before = Before::of(third, None, counted((2 << 32) + 8, 8));
        assert_eq!(before.merged_from, 2 << 32);
        assert_eq!(before.written_from, (2 << 32) + 8);
        assert_eq!(before.topics, 0);
    }
}
