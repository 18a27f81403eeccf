//! What of sparse segments is written anew: the extents in them that pages still name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, IndexedSlice};
use tidelog_store::{KeyRange, ReadMode, ScanOptions};
use tidelog_types::{Offset, OffsetRange, SegmentName, Timestamp, TopicPartition};

use super::super::error::SequencerError;
use super::super::keeping::topic_of;
use super::super::retention::{Limits, span_millis, span_part};
use super::again::Timed;
use super::plan::{EXTENTS_MAX, Planned, Planning, merged_bytes};
use crate::keyspace::{KeyKind, Keyspace, LiveBytesRow, PageRow, PartitionRow};

/// Rows that are read at once.
const ROWS: usize = 256;
/// Rows of live bytes that are read at once, and so often before others have their turn.
const LIVE_ROWS: usize = 1_000;
const LIVE_SCANS: usize = 4;

/// What a look at live bytes has found.
#[derive(Debug, Default)]
pub(super) struct LiveRows {
    pub(super) found: Vec<(SegmentName, LiveBytesRow)>,
    /// Where the next one goes on.
    pub(super) rest: Option<KeyRange>,
}

/// An extent in a sparse segment that is named.
#[derive(Clone, Debug)]
struct Alive {
    extent: Extent,
    /// How long the topic keeps its records, in milliseconds, if not for ever.
    kept_for: Option<i64>,
    committed_at: Timestamp,
}

impl Alive {
    const fn segment(&self) -> Option<SegmentName> {
        match self.extent.location {
            Location::Segment { segment, .. } => Some(segment),
            Location::Inline { .. } | Location::Marker(_) => None,
        }
    }

    /// When the youngest of its records is from.
    fn time(&self) -> Timestamp {
        Timed::new(&self.extent, self.committed_at).time
    }

    /// When it goes by the retention of its topic, if it does.
    fn due(&self) -> Option<Timestamp> {
        let kept_for = self.kept_for?;
        let due = self.time().as_millis().saturating_add(kept_for);
        Some(Timestamp::from_millis(due))
    }

    /// Whether retention takes it in time from wherever it is written anew.
    fn may_move(&self) -> bool {
        let most = self.kept_for.map(span_millis);
        let timed = Timed::new(&self.extent, self.committed_at);
        most.is_none_or(|most| timed.may_move(most))
    }
}

/// What is written one after the other, and becomes extents together.
#[derive(Clone, Copy, Debug)]
struct Run {
    next: Offset,
    /// The part of the time that its records are from, where they go by it.
    part: Option<i64>,
}

impl Run {
    fn of(alive: &Alive) -> Self {
        Self {
            next: alive.extent.offsets.next,
            part: alive
                .kept_for
                .map(|kept_for| span_part(alive.time(), span_millis(kept_for))),
        }
    }

    /// The run with one more behind it, if there is no gap, and retention takes all of it at about the same time: an
    /// extent goes when the youngest of its records does.
    fn with(self, alive: &Alive) -> Option<Self> {
        let one = Self::of(alive);
        let follows = alive.extent.offsets.base == self.next && one.part == self.part;
        follows.then_some(one)
    }
}

/// All that is named of some sparse segments, each extent once.
#[derive(Debug, Default)]
pub(super) struct Left {
    partitions: BTreeMap<TopicPartition, BTreeMap<Offset, Alive>>,
    extents: usize,
}

/// Segments to be.
#[derive(Debug, Default)]
pub(super) struct Rewrites {
    pub(super) segments: Vec<Planned>,
    /// No extent of them is younger.
    pub(super) committed_at: Timestamp,
    /// Sparse segments of which most will have gone before long, and that are let be, each with the bytes that are left.
    pub(super) put_off: BTreeMap<SegmentName, u64>,
}

impl Left {
    /// Whether it is as much as is planned at once.
    pub(super) const fn is_full(&self) -> bool {
        self.extents >= EXTENTS_MAX
    }

    /// Puts two together.
    pub(super) fn take(&mut self, other: Self) {
        for (partition, alive) in other.partitions {
            let extents = self.partitions.entry(partition).or_default();
            for (base, alive) in alive {
                self.extents += usize::from(extents.insert(base, alive).is_none());
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (SegmentName, &Alive)> {
        let all = self.partitions.values().flat_map(BTreeMap::values);
        all.filter_map(|alive| Some((alive.segment()?, alive)))
    }

    /// The segments of which more than half goes by itself from now until a time. What is due already and still there
    /// waits for something else, such as for what lies before it: nobody knows for how long.
    fn dying(&self, now: Timestamp, before: Timestamp) -> BTreeMap<SegmentName, u64> {
        let mut bytes: HashMap<SegmentName, (u64, u64)> = HashMap::new();
        for (segment, alive) in self.all() {
            let (all, dying) = bytes.entry(segment).or_default();
            let length = merged_bytes(&alive.extent);
            *all += length;
            if alive.due().is_some_and(|due| due > now && due <= before) {
                *dying += length;
            }
        }
        let most = bytes
            .into_iter()
            .filter(|(_, (all, dying))| dying * 2 > *all);
        most.map(|(segment, (all, _))| (segment, all)).collect()
    }

    /// The segments with something that is not to move: to write the rest of them anew would free nothing.
    fn staying(&self) -> BTreeSet<SegmentName> {
        let staying = self.all().filter(|(_, alive)| !alive.may_move());
        staying.map(|(segment, _)| segment).collect()
    }

    /// Runs: a merged segment has one of a partition, so what begins anew comes into the next round. There are about as
    /// many rounds as there are segments at most, since each of these has one run of a partition as well.
    fn rounds(
        self,
        is_wanted: impl Fn(SegmentName) -> bool,
    ) -> Vec<BTreeMap<TopicPartition, Vec<Extent>>> {
        let mut rounds: Vec<BTreeMap<TopicPartition, Vec<Extent>>> = Vec::new();
        for (partition, extents) in self.partitions {
            let mut round = 0;
            let mut run: Option<Run> = None;
            for alive in extents.into_values() {
                if !alive.segment().is_some_and(&is_wanted) {
                    continue;
                }
                let longer = run.and_then(|run| run.with(&alive));
                round += usize::from(run.is_some() && longer.is_none());
                run = Some(longer.unwrap_or_else(|| Run::of(&alive)));
                if rounds.len() <= round {
                    rounds.push(BTreeMap::new());
                }
                if let Some(runs) = rounds.get_mut(round) {
                    runs.entry(partition).or_default().push(alive.extent);
                }
            }
        }
        rounds
    }
}

impl Planning {
    /// All live bytes of all shards.
    pub(super) fn live_bytes(&self) -> KeyRange {
        self.keys.all(KeyKind::LiveBytes)
    }

    /// Reads some live bytes; what is found are those of this shard.
    pub(super) async fn live_rows(&self, from: KeyRange) -> Result<LiveRows, SequencerError> {
        let mut rows = LiveRows {
            found: Vec::new(),
            rest: Some(from),
        };
        for _ in 0..LIVE_SCANS {
            let Some(range) = rows.rest.take() else {
                break;
            };
            let mut transaction = self.store.begin().await?;
            let options = ScanOptions::limit(LIVE_ROWS).snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rows.rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                // What is damaged stays as it is, which costs storage and nothing else.
                let named = Keyspace::receipt_segment(&key).zip(LiveBytesRow::decode(value).ok());
                if Keyspace::last_shard(&key) == Some(self.shard) {
                    rows.found.extend(named);
                }
            }
        }
        Ok(rows)
    }

    /// What pages still name of a segment, in the partitions and at the offsets that its index tells of. A partition with
    /// damaged pages is passed over: it stays as it is.
    pub(super) async fn left_of(
        &self,
        segment: SegmentName,
        slices: &[IndexedSlice],
    ) -> Result<Left, SequencerError> {
        let mut left = Left::default();
        for slices in slices.chunks(ROWS) {
            let mut transaction = self.store.begin().await?;
            let keys = slices.iter();
            let keys = keys.map(|slice| (self.keys.partition(slice.partition), ReadMode::Snapshot));
            let values = transaction.get_many(&keys.collect::<Vec<_>>()).await?;
            drop(transaction);
            for (slice, value) in slices.iter().zip(values) {
                let Some(value) = value.filter(|value| PartitionRow::has_pages(value)) else {
                    continue;
                };
                let extents = match self.left_of_slice(segment, slice, value).await {
                    Err(SequencerError::Row(error)) => {
                        let error = &error as &dyn std::error::Error;
                        let partition = slice.partition;
                        tracing::warn!(error, %partition, "a partition is not written anew");
                        continue;
                    }
                    found => found?,
                };
                if !extents.is_empty() {
                    left.extents += extents.len();
                    left.partitions.insert(slice.partition, extents);
                }
            }
        }
        Ok(left)
    }

    async fn left_of_slice(
        &self,
        segment: SegmentName,
        slice: &IndexedSlice,
        row: bytes::Bytes,
    ) -> Result<BTreeMap<Offset, Alive>, SequencerError> {
        let row = PartitionRow::decode(row)?;
        let offsets = OffsetRange {
            base: slice.offsets.base.max(row.reclaimed),
            next: slice.offsets.next,
        };
        let mut left = BTreeMap::new();
        if offsets.base >= offsets.next {
            return Ok(left);
        }
        let Some(topic) = topic_of(&self.catalogue, slice.partition.topic).await? else {
            return Ok(left);
        };
        let kept_for = Limits::kept_for(&topic);
        let mut transaction = self.store.begin().await?;
        let pages = self.pages(transaction.as_mut(), slice.partition, offsets);
        for PageRow {
            extents,
            committed_at,
            ..
        } in pages.await?
        {
            for extent in extents {
                let is_there = matches!(extent.location, Location::Segment { segment: at, .. } if at == segment);
                if !is_there || extent.offsets.next <= offsets.base {
                    continue;
                }
                let base = extent.offsets.base;
                let alive = Alive {
                    extent,
                    kept_for,
                    committed_at,
                };
                left.insert(base, alive);
            }
        }
        Ok(left)
    }

    /// Cuts what is left of sparse segments into new ones, together. Those of which most goes by itself between two times
    /// are let be.
    pub(super) async fn rewrites(
        &self,
        left: Left,
        now: Timestamp,
        before: Timestamp,
    ) -> Result<Rewrites, SequencerError> {
        let (put_off, staying) = (left.dying(now, before), left.staying());
        let committed_at = left.all().map(|(_, alive)| alive.committed_at).max();
        let mut rewrites = Rewrites {
            segments: Vec::new(),
            committed_at: committed_at.unwrap_or(Timestamp::NONE),
            put_off: BTreeMap::new(),
        };
        let is_wanted = |segment| !put_off.contains_key(&segment) && !staying.contains(&segment);
        let wanted = left.all().map(|(segment, _)| segment);
        let wanted: BTreeSet<SegmentName> = wanted.filter(|at| is_wanted(*at)).collect();
        let rounds = left.rounds(is_wanted);
        if rounds.len() > wanted.len() {
            // It would be more segments than there are, of which none is ever joined with others.
            tracing::debug!(
                rounds = rounds.len(),
                segments = wanted.len(),
                "sparse segments stay"
            );
            rewrites.put_off = put_off;
            return Ok(rewrites);
        }
        for runs in rounds {
            rewrites.segments.extend(self.cut_all(runs).await?);
        }
        rewrites.put_off = put_off;
        Ok(rewrites)
    }

    /// Those of some segments that have live bytes, each with them.
    pub(super) async fn alive(
        &self,
        segments: &[SegmentName],
    ) -> Result<Vec<(SegmentName, LiveBytesRow)>, SequencerError> {
        let mut transaction = self.store.begin().await?;
        let keys = segments.iter();
        let keys = keys.map(|segment| {
            (
                self.keys.live_bytes(*segment, self.shard),
                ReadMode::Snapshot,
            )
        });
        let values = transaction.get_many(&keys.collect::<Vec<_>>()).await?;
        let rows = segments.iter().zip(values);
        let rows = rows.filter_map(|(segment, value)| {
            // As above.
            Some((*segment, LiveBytesRow::decode(value?).ok()?))
        });
        Ok(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, PartitionIndex, SegmentSequence, TopicNumber};

    use super::*;

    const fn name(sequence: u64) -> SegmentName {
        SegmentName::new(Incarnation::new(9), SegmentSequence::new(sequence))
    }

    fn partition(index: u32) -> TopicPartition {
        TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
    }

    /// As many bytes as offsets, of records of one time that are kept for 800 ms.
    fn alive(sequence: u64, (base, next): (u64, u64), time: i64) -> Alive {
        Alive {
            extent: Extent {
                offsets: OffsetRange {
                    base: Offset::new(base),
                    next: Offset::new(next),
                },
                location: Location::Segment {
                    bucket: BucketId::new(0),
                    segment: name(sequence),
                    position: 40,
                    length: u32::try_from(next - base).expect("short"),
                },
                crc32c: None,
                max_timestamp: Timestamp::from_millis(time),
            },
            kept_for: Some(800),
            committed_at: Timestamp::from_millis(1_000_000),
        }
    }

    fn left(all: &[(u32, Alive)]) -> Left {
        let mut left = Left::default();
        for (index, alive) in all {
            let base = alive.extent.offsets.base;
            let extents = BTreeMap::from([(base, alive.clone())]);
            left.take(Left {
                partitions: BTreeMap::from([(partition(*index), extents)]),
                extents: 1,
            });
        }
        left
    }

    /// The offsets that the extents of each round begin at.
    fn rounds(left: Left, is_wanted: impl Fn(SegmentName) -> bool) -> Vec<Vec<(u32, Vec<u64>)>> {
        let bases = |run: &Vec<Extent>| -> Vec<u64> {
            run.iter().map(|extent| extent.offsets.base.get()).collect()
        };
        let rounds = left.rounds(is_wanted).into_iter();
        let runs = rounds.map(|runs| {
            let runs = runs.iter();
            runs.map(|(at, run)| (at.partition.get(), bases(run)))
                .collect()
        });
        runs.collect()
    }

    #[test]
    fn what_follows_is_one_run_whatever_it_lies_in_and_what_does_not_comes_in_a_later_round() {
        let left = left(&[
            (0, alive(1, (10, 20), 0)),
            (0, alive(2, (20, 30), 0)),
            (0, alive(4, (50, 60), 0)),
            (0, alive(4, (60, 65), 0)),
            (1, alive(2, (7, 8), 0)),
            (1, alive(2, (7, 8), 0)),
            (2, alive(3, (0, 9), 0)),
        ]);
        assert_eq!(left.extents, 6, "what is told twice is there once");
        let first = vec![(0, vec![10, 20]), (1, vec![7])];
        let rounds = rounds(left, |segment| segment != name(3));
        assert_eq!(rounds, [first, vec![(0, vec![50, 60])]]);
    }

    #[test]
    fn a_run_has_one_eighth_of_the_time_that_its_records_are_kept_however_often_it_is_written_anew()
    {
        let all = [
            (0, alive(1, (10, 20), 100)),
            (0, alive(2, (20, 30), 199)),
            (0, alive(3, (30, 40), 200)),
            (0, alive(4, (40, 50), 299)),
            (0, alive(5, (50, 60), -1)),
        ];
        let some = rounds(left(&all), |_| true);
        let wanted = [[(0, vec![10, 20])], [(0, vec![30, 40])], [(0, vec![50])]];
        assert_eq!(some, wanted);
        // Joined, each is as old as its youngest, and is not joined with the next.
        let joined = [
            (0, alive(6, (10, 30), 199)),
            (0, alive(7, (30, 50), 299)),
            (0, alive(8, (50, 60), -1)),
        ];
        assert_eq!(rounds(left(&joined), |_| true).len(), 3);
        let kept = all.map(|(index, alive)| {
            let kept_for = None;
            (index, Alive { kept_for, ..alive })
        });
        let one = rounds(left(&kept), |_| true);
        assert_eq!(one, [[(0, vec![10, 20, 30, 40, 50])]]);
    }

    #[test]
    fn segments_of_which_most_goes_by_itself_are_let_be_and_those_of_which_it_should_have_gone_are_not()
     {
        let left = left(&[
            (0, alive(1, (0, 10), 5)),
            (1, alive(1, (0, 10), 6)),
            (0, alive(2, (10, 20), 5)),
            (1, alive(2, (10, 19), 6)),
        ]);
        let dying =
            |now, before| left.dying(Timestamp::from_millis(now), Timestamp::from_millis(before));
        assert_eq!(dying(0, 804), BTreeMap::new());
        assert_eq!(dying(804, 805), BTreeMap::from([(name(2), 19)]));
        assert_eq!(
            dying(0, 806),
            BTreeMap::from([(name(1), 20), (name(2), 19)])
        );
        assert_eq!(
            dying(805, 806),
            BTreeMap::new(),
            "half of one, and less of the other"
        );
        assert_eq!(dying(806, 9_000), BTreeMap::new());
    }

    #[test]
    fn a_segment_with_records_whose_time_is_that_of_their_commit_stays() {
        let timeless = |alive: Alive| Alive {
            extent: Extent {
                max_timestamp: Timestamp::NONE,
                ..alive.extent
            },
            ..alive
        };
        let mut all = [
            (0, alive(1, (0, 10), 5)),
            (1, timeless(alive(1, (0, 10), 5))),
            (0, alive(2, (10, 20), 5)),
            (1, alive(3, (10, 20), 1_000_101)),
        ];
        assert_eq!(left(&all).staying(), BTreeSet::from([name(1), name(3)]));
        for (_, alive) in &mut all {
            alive.kept_for = None;
        }
        assert_eq!(left(&all).staying(), BTreeSet::new());
    }
}
