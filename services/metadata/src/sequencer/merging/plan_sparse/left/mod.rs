//! What is left of sparse segments, and how it is cut into runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, SegmentName, Timestamp, TopicPartition};

use super::super::super::retention::span_millis;
use super::super::again::Timed;
use super::super::plan::{Class, EXTENTS_MAX, merged_bytes};

/// An extent in a sparse segment that is named.
#[derive(Clone, Debug)]
pub(super) struct Alive {
    pub(super) extent: Extent,
    /// How long the topic keeps its records, in milliseconds, if not for ever.
    pub(super) kept_for: Option<i64>,
    pub(super) committed_at: Timestamp,
    /// What it may share a merged segment with.
    pub(super) class: Class,
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
                .map(|kept_for| alive.time().part(span_millis(kept_for))),
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
pub(crate) struct Left {
    pub(super) partitions: BTreeMap<TopicPartition, BTreeMap<Offset, Alive>>,
    pub(super) extents: usize,
}

impl Left {
    /// Whether it is as much as is planned at once.
    pub(crate) const fn is_full(&self) -> bool {
        self.extents >= EXTENTS_MAX
    }

    /// Puts two together.
    pub(crate) fn take(&mut self, other: Self) {
        for (partition, alive) in other.partitions {
            let extents = self.partitions.entry(partition).or_default();
            for (base, alive) in alive {
                self.extents += usize::from(extents.insert(base, alive).is_none());
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (SegmentName, &Alive)> {
        let all = self.partitions.values().flat_map(BTreeMap::values);
        all.filter_map(|alive| Some((alive.segment()?, alive)))
    }

    /// The segments of which more than half goes by itself from now until a time. What is due already and still there
    /// waits for something else, such as for what lies before it: nobody knows for how long.
    pub(super) fn dying(&self, now: Timestamp, before: Timestamp) -> BTreeMap<SegmentName, u64> {
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
    pub(super) fn staying(&self) -> BTreeSet<SegmentName> {
        let staying = self.all().filter(|(_, alive)| !alive.may_move());
        staying.map(|(segment, _)| segment).collect()
    }

    /// Takes segments out of those that are wanted until no partition has more runs than there are segments with something of
    /// its class: it would be more segments than there are, of which none is ever joined with others. Those that go have
    /// several runs of a partition, since its records are of several parts of the time, or some between them have gone.
    /// Answers them with the bytes that are left of each.
    pub(super) fn fit(&self, wanted: &mut BTreeSet<SegmentName>) -> BTreeMap<SegmentName, u64> {
        let mut bytes: BTreeMap<SegmentName, u64> = BTreeMap::new();
        loop {
            let most_cut = self.most_cut(wanted);
            if most_cut.is_empty() {
                break;
            }
            for segment in most_cut {
                wanted.remove(&segment);
                bytes.insert(segment, 0);
            }
        }
        for (segment, alive) in self.all() {
            if let Some(bytes) = bytes.get_mut(&segment) {
                *bytes += merged_bytes(&alive.extent);
            }
        }
        bytes
    }

    /// Of the partition with the most runs too many the segments that are in most of them.
    fn most_cut(&self, wanted: &BTreeSet<SegmentName>) -> Vec<SegmentName> {
        let mut of_class: BTreeMap<Class, BTreeSet<SegmentName>> = BTreeMap::new();
        for (segment, alive) in self.all().filter(|(segment, _)| wanted.contains(segment)) {
            of_class.entry(alive.class).or_default().insert(segment);
        }
        let too_many = self.partitions.values().filter_map(|extents| {
            let runs = runs_of(extents.values(), wanted);
            let class = runs.first()?.first()?.class;
            let segments = of_class.get(&class).map_or(0, BTreeSet::len);
            let more = runs.len().checked_sub(segments + 1)?;
            Some((more, runs))
        });
        let Some((_, runs)) = too_many.max_by_key(|(more, _)| *more) else {
            return Vec::new();
        };
        let mut counts: BTreeMap<SegmentName, usize> = BTreeMap::new();
        for run in runs {
            let segments: BTreeSet<_> = run.into_iter().filter_map(Alive::segment).collect();
            for segment in segments {
                *counts.entry(segment).or_default() += 1;
            }
        }
        let most = counts.values().max().copied();
        let most_cut = counts.into_iter().filter(|(_, count)| Some(*count) == most);
        most_cut.map(|(segment, _)| segment).collect()
    }

    /// The runs of some segments: a merged segment has one of a partition, so what begins anew comes into the next round.
    pub(super) fn rounds(
        &self,
        wanted: &BTreeSet<SegmentName>,
    ) -> Vec<BTreeMap<TopicPartition, Vec<Extent>>> {
        let mut rounds: Vec<BTreeMap<TopicPartition, Vec<Extent>>> = Vec::new();
        for (partition, extents) in &self.partitions {
            for (round, run) in runs_of(extents.values(), wanted).into_iter().enumerate() {
                if rounds.len() <= round {
                    rounds.push(BTreeMap::new());
                }
                if let Some(runs) = rounds.get_mut(round) {
                    let extents = run.into_iter().map(|alive| alive.extent.clone());
                    runs.insert(*partition, extents.collect());
                }
            }
        }
        rounds
    }
}

/// The runs of a partition, of the extents in some segments.
fn runs_of<'a>(
    extents: impl Iterator<Item = &'a Alive>,
    wanted: &BTreeSet<SegmentName>,
) -> Vec<Vec<&'a Alive>> {
    let mut runs: Vec<Vec<&Alive>> = Vec::new();
    let mut run: Option<Run> = None;
    for alive in extents {
        if !alive.segment().is_some_and(|at| wanted.contains(&at)) {
            continue;
        }
        let longer = run.and_then(|run| run.with(alive));
        match runs.last_mut().filter(|_| longer.is_some()) {
            Some(last) => last.push(alive),
            None => runs.push(vec![alive]),
        }
        run = Some(longer.unwrap_or_else(|| Run::of(alive)));
    }
    runs
}

#[cfg(test)]
mod tests;
