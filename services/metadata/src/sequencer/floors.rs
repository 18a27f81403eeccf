//! Floors of writers that live: each says with its commits below which sequence it is done, and its floor
//! follows, so that receipts go however long it lives (rules C5, C6).

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_store::{ReadMode, Store, Transaction};
use tidelog_types::{Incarnation, SegmentSequence};

use super::error::SequencerError;
use super::lease::Lease;
use super::message::{Answer, Message, read_oldest_live};
use crate::keyspace::{FloorRow, Keyspace};

/// Writers that are remembered. Of more the oldest are forgotten, until they say it again.
const WRITERS_MAX: usize = 1_024;

/// What the writers of a shard have said. It is in memory only: another owner hears it anew.
#[derive(Debug)]
pub(crate) struct Floors {
    /// A floor goes up by at least this many sequences.
    step: u64,
    /// Or by less, once it could have gone up for so long.
    age: Duration,
    is_time: bool,
    writers: BTreeMap<Incarnation, Writer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Writer {
    done_below: SegmentSequence,
    /// The floor as it was seen last.
    floor: SegmentSequence,
    /// Since when it could go up.
    since: Option<MonoTime>,
}

impl Writer {
    fn saw(&mut self, floor: SegmentSequence, now: MonoTime) {
        self.floor = floor;
        self.since = (self.done_below > floor).then_some(now);
    }
}

impl Floors {
    pub(crate) const fn new(step: u64, age: Duration) -> Self {
        Self {
            step,
            age,
            is_time: false,
            writers: BTreeMap::new(),
        }
    }

    /// Takes note of what the writer of a commit has said, if the commit made sense.
    pub(crate) fn note(&mut self, message: &Message, answer: &Answer, now: MonoTime) {
        let (Message::Commit { commit, .. }, Answer::Receipt(..)) = (message, answer) else {
            return;
        };
        if commit.done_below > SegmentSequence::default() {
            let incarnation = commit.manifest.segment.incarnation;
            self.hear(incarnation, commit.done_below, now);
        }
    }

    fn hear(&mut self, incarnation: Incarnation, done_below: SegmentSequence, now: MonoTime) {
        let writer = self.writers.entry(incarnation).or_default();
        // What comes late says less.
        writer.done_below = writer.done_below.max(done_below);
        if writer.done_below > writer.floor {
            writer.since.get_or_insert(now);
        }
        while self.writers.len() > WRITERS_MAX {
            self.writers.pop_first();
        }
    }

    /// Allows one transaction: a checkpoint is complete.
    pub(crate) const fn begin(&mut self) {
        self.is_time = true;
    }

    /// The floors that are to go up now, once after each checkpoint.
    pub(crate) fn take_due(&mut self) -> Vec<Incarnation> {
        if !std::mem::take(&mut self.is_time) {
            return Vec::new();
        }
        let writers = self.writers.iter();
        let due = writers.filter(|(_, writer)| self.is_due(writer.floor, writer.done_below));
        due.map(|(incarnation, _)| *incarnation).collect()
    }

    /// When floors are to go up that could have gone up for long; never where all have (invariant I8).
    pub(crate) fn deadline(&self) -> Option<MonoTime> {
        let since = self.writers.values().filter_map(|writer| writer.since);
        since.min().map(|since| since + self.age)
    }

    /// The floors that could have gone up for long.
    pub(crate) fn overdue(&self, now: MonoTime) -> Vec<Incarnation> {
        let is_overdue = |since: MonoTime| since + self.age <= now;
        let writers = self.writers.iter();
        let due = writers.filter(|(_, writer)| writer.since.is_some_and(is_overdue));
        due.map(|(incarnation, _)| *incarnation).collect()
    }

    /// Floors did not go up: that is tried again after as long.
    pub(crate) fn put_off(&mut self, due: &[Incarnation], now: MonoTime) {
        for incarnation in due {
            if let Some(writer) = self.writers.get_mut(incarnation) {
                writer.since = Some(now);
            }
        }
    }

    /// Whether it is time to raise floors.
    pub(crate) const fn is_time(&self) -> bool {
        self.is_time
    }

    /// The floors of writers as they were seen last.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (Incarnation, SegmentSequence)> {
        let writers = self.writers.iter();
        writers.map(|(incarnation, writer)| (*incarnation, writer.floor))
    }

    const fn is_due(&self, floor: SegmentSequence, done_below: SegmentSequence) -> bool {
        done_below.get().saturating_sub(floor.get()) >= self.step
    }

    /// Raises floors. They are read serializably, so that none ever goes down; and groups read them, so
    /// that a rise that lands late lets a group conflict and does no harm.
    pub(crate) async fn raise(
        &mut self,
        store: &dyn Store,
        lease: &Lease,
        due: &[Incarnation],
        now: MonoTime,
    ) -> Result<(), SequencerError> {
        let mut transaction = store.begin().await?;
        lease.check(transaction.as_mut()).await?;
        let oldest_live = read_oldest_live(lease.keys, transaction.as_mut()).await?;
        // Of a writer that has ended everything is refused without a floor.
        self.writers = self.writers.split_off(&oldest_live);
        let (mut seen, mut rises) = (Vec::new(), false);
        for &incarnation in due {
            let Some(writer) = self.writers.get(&incarnation) else {
                continue;
            };
            let is_overdue = writer.since.is_some_and(|since| since + self.age <= now);
            let floor = read_floor(lease.keys, transaction.as_mut(), incarnation).await?;
            let mut to = floor;
            let could_rise = is_overdue && writer.done_below > floor;
            if could_rise || self.is_due(floor, writer.done_below) {
                to = writer.done_below;
                let key = lease.keys.floor(incarnation);
                transaction.put(key, FloorRow { floor: to }.encode());
                rises = true;
            }
            seen.push((incarnation, to));
        }
        if rises {
            transaction.commit().await?;
        }
        for (incarnation, floor) in seen {
            self.writers.entry(incarnation).or_default().saw(floor, now);
        }
        Ok(())
    }
}

/// The floor of an incarnation. A later rise makes the transaction conflict.
pub(crate) async fn read_floor(
    keys: Keyspace,
    transaction: &mut dyn Transaction,
    incarnation: Incarnation,
) -> Result<SegmentSequence, SequencerError> {
    let key = keys.floor(incarnation);
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    let row = value.map(FloorRow::decode).transpose()?;
    Ok(row.map(|row| row.floor).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(floors: &mut Floors, incarnation: u64, done_below: u64) {
        hear_at(floors, incarnation, done_below, 0);
    }

    fn hear_at(floors: &mut Floors, incarnation: u64, done_below: u64, minutes: u64) {
        let done_below = SegmentSequence::new(done_below);
        let now = MonoTime::START + Duration::from_mins(minutes);
        floors.hear(Incarnation::new(incarnation), done_below, now);
    }

    #[test]
    fn a_floor_that_could_go_up_for_long_is_overdue_and_none_else() {
        let mut floors = Floors::new(1_000, Duration::from_mins(10));
        let at = |minutes| MonoTime::START + Duration::from_mins(minutes);
        assert_eq!(floors.deadline(), None);
        hear_at(&mut floors, 1, 5, 1);
        hear_at(&mut floors, 1, 9, 8);
        hear_at(&mut floors, 2, 7, 4);
        assert_eq!(floors.deadline(), Some(at(11)));
        assert_eq!(floors.overdue(at(10)), []);
        assert_eq!(floors.overdue(at(11)), [Incarnation::new(1)]);
        // What comes again after it went up says nothing new.
        let writer = floors.writers.get_mut(&Incarnation::new(1));
        writer
            .expect("it was heard")
            .saw(SegmentSequence::new(9), at(11));
        hear_at(&mut floors, 1, 9, 12);
        assert_eq!(floors.deadline(), Some(at(14)));
        floors.put_off(&[Incarnation::new(2)], at(14));
        assert_eq!(floors.deadline(), Some(at(24)));
    }

    #[test]
    fn a_floor_is_due_once_after_a_checkpoint_and_after_its_step() {
        let mut floors = Floors::new(10, Duration::from_mins(10));
        hear(&mut floors, 1, 10);
        hear(&mut floors, 2, 9);
        assert!(floors.take_due().is_empty(), "there was no checkpoint");
        floors.begin();
        assert_eq!(floors.take_due(), [Incarnation::new(1)]);
        assert!(floors.take_due().is_empty());
        // What comes late takes nothing back.
        hear(&mut floors, 1, 3);
        hear(&mut floors, 2, 10);
        floors.begin();
        assert_eq!(floors.take_due(), [1, 2].map(Incarnation::new));
    }

    #[test]
    fn of_too_many_writers_the_oldest_are_forgotten() {
        let mut floors = Floors::new(1, Duration::from_mins(10));
        let last = WRITERS_MAX as u64 + 5;
        for incarnation in 1..=last {
            hear(&mut floors, incarnation, 1);
        }
        floors.begin();
        let due = floors.take_due();
        assert_eq!(due.len(), WRITERS_MAX);
        assert_eq!(due.first(), Some(&Incarnation::new(6)));
        assert_eq!(due.last(), Some(&Incarnation::new(last)));
    }
}
