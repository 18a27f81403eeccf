//! Who may still commit which segments, and whose orphans the cluster looks for itself.

use std::collections::BTreeMap;

use tidelog_store::{RowSource, StoreError};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use crate::backup::{Pages, Rest};
use crate::keyspace::{Counter, FloorRow, KeyKind, Keyspace, NumberRow, OrphansRow};

/// What becomes of a segment that nothing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// It may be committed yet.
    InFlight,
    /// No writer had its number when the rows were read. It may have been given out since then: rows may be seen late.
    Unknown,
    /// It can never be committed, and the cluster looks for it itself.
    Searched,
    /// It can never be committed, and nobody looks for it.
    Left,
}

/// The writers of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Writers {
    /// The last incarnation that was given out.
    pub(super) last: u64,
    pub(super) oldest_live: u64,
    pub(super) searched: u64,
    pub(super) floors: BTreeMap<Incarnation, SegmentSequence>,
    pub(super) orphans: BTreeMap<Incarnation, OrphansRow>,
}

impl Writers {
    /// Reads them. Rows that are damaged count as missing ones: then more is in flight.
    pub(super) async fn read<R: RowSource + ?Sized>(
        pages: &Pages<'_, R>,
        keys: Keyspace,
    ) -> Result<Self, StoreError> {
        let mut writers = Self {
            last: u64::MAX,
            ..Self::default()
        };
        for (counter, number) in [
            (Counter::OldestLiveIncarnation, &mut writers.oldest_live),
            (Counter::SearchedIncarnation, &mut writers.searched),
            (Counter::Incarnation, &mut writers.last),
        ] {
            let value = pages.value(keys.counter(counter)).await?;
            let row = value.map(NumberRow::decode);
            match row {
                None => *number = 0,
                Some(Ok(row)) => *number = row.0,
                Some(Err(_)) => {}
            }
        }
        let mut rest = Rest::of(keys.all(KeyKind::Floor));
        while let Some(rows) = pages.next(&mut rest).await? {
            for (key, value) in rows {
                let row = FloorRow::decode(value).ok();
                let row = Keyspace::floor_incarnation(&key).zip(row);
                writers.floors.extend(row.map(|(at, row)| (at, row.floor)));
            }
        }
        let mut rest = Rest::of(keys.all(KeyKind::Orphans));
        while let Some(rows) = pages.next(&mut rest).await? {
            for (key, value) in rows {
                let row = OrphansRow::decode(value).ok();
                writers
                    .orphans
                    .extend(Keyspace::floor_incarnation(&key).zip(row));
            }
        }
        Ok(writers)
    }

    /// What becomes of a segment that nothing names.
    pub(super) fn of(&self, segment: SegmentName) -> Unnamed {
        let writer = segment.incarnation;
        if writer.get() > self.last {
            return Unnamed::Unknown;
        }
        let floor = self.floors.get(&writer).copied().unwrap_or_default();
        if writer.get() >= self.oldest_live && segment.sequence >= floor {
            return Unnamed::InFlight;
        }
        let row = self.orphans.get(&writer).copied().unwrap_or_default();
        if writer.get() <= self.searched || row.is_done() || segment.sequence < row.below {
            Unnamed::Left
        } else {
            Unnamed::Searched
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::Timestamp;

    use super::*;

    fn name(incarnation: u64, sequence: u64) -> SegmentName {
        SegmentName::new(
            Incarnation::new(incarnation),
            SegmentSequence::new(sequence),
        )
    }

    #[test]
    fn only_what_can_never_be_committed_and_nobody_looks_for_is_left() {
        let row = |below| OrphansRow {
            below: SegmentSequence::new(below),
            until: OrphansRow::ALL,
            since: Timestamp::from_millis(0),
        };
        let writers = Writers {
            last: 9,
            oldest_live: 7,
            searched: 3,
            floors: BTreeMap::from([
                (Incarnation::new(8), SegmentSequence::new(100)),
                (Incarnation::new(9), FloorRow::ENDED.floor),
            ]),
            orphans: BTreeMap::from([
                (Incarnation::new(5), row(50)),
                (Incarnation::new(6), row(u64::MAX)),
                (Incarnation::new(8), row(40)),
            ]),
        };
        for (incarnation, sequence, expected) in [
            (3, 7, Unnamed::Left),
            (4, 7, Unnamed::Searched),
            (5, 49, Unnamed::Left),
            (5, 50, Unnamed::Searched),
            (6, 1 << 40, Unnamed::Left),
            (7, 1, Unnamed::InFlight),
            (8, 39, Unnamed::Left),
            (8, 40, Unnamed::Searched),
            (8, 99, Unnamed::Searched),
            (8, 100, Unnamed::InFlight),
            (9, 1 << 40, Unnamed::Searched),
            (10, 1, Unnamed::Unknown),
        ] {
            let found = writers.of(name(incarnation, sequence));
            assert_eq!(found, expected, "{incarnation}/{sequence}");
        }
    }
}
