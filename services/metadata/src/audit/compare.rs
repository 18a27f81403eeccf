//! Compares what metadata says of segments with what lies in the bucket. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelog_blob::object_store::ObjectMeta;
use tidelog_types::{BucketId, SegmentName, ShardId, Timestamp};

use super::difference::{Difference, Part};
use super::known::{Known, Named, Picture};
use super::writers::Unnamed;
use crate::backup::Pins;

/// An object as the bucket lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bucket: BucketId,
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
}

impl Stored {
    pub(super) fn of(bucket: BucketId, object: &ObjectMeta) -> Self {
        Self {
            bucket,
            bytes: object.size,
            modified: Timestamp::from_millis(object.last_modified.timestamp_millis()),
        }
    }
}

/// What is compared with what.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) objects: &'a BTreeMap<SegmentName, Stored>,
    pub(super) picture: &'a Picture,
    pub(super) pins: &'a Pins,
    pub(super) now: Timestamp,
    /// What was put less long ago may still be in flight.
    pub(super) grace: Duration,
    /// The same for what writers have put that no row knows of.
    pub(super) unknown_grace: Duration,
}

/// What comes of it.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) differences: BTreeSet<Difference>,
    /// What changed while it was read, so that nothing can be said of it yet.
    pub(super) moving: BTreeSet<SegmentName>,
    /// Objects that may be committed yet, or that the cluster looks for itself.
    pub(super) in_flight: u64,
    /// Objects that nothing names and that are kept until a restore is accepted.
    pub(super) kept: u64,
}

impl Comparison<'_> {
    pub(super) fn run(&self) -> Compared {
        let mut compared = Compared::default();
        for (segment, known) in &self.picture.segments {
            self.named(*segment, known, &mut compared);
        }
        let unnamed = self.objects.iter();
        for (segment, stored) in
            unnamed.filter(|(segment, _)| !self.picture.segments.contains_key(segment))
        {
            self.unnamed(*segment, *stored, &mut compared);
        }
        // Their live bytes come with them, in one transaction, and go with them too.
        let picture = self.picture;
        for segment in picture.inline.keys().copied() {
            let is_looked_at = picture.dying.contains(&segment);
            if !picture.segments.contains_key(&segment) && !is_looked_at {
                compared
                    .differences
                    .insert(Difference::Forgotten { segment });
            }
        }
        compared
    }

    fn named(&self, segment: SegmentName, known: &Known, compared: &mut Compared) {
        let inline = self.picture.inline.get(&segment).copied();
        let stored = if known.is_in_store() || inline.is_some() {
            inline
        } else {
            let is_there = |stored: &&Stored| known.is_in(stored.bucket);
            let stored = self.objects.get(&segment).filter(is_there);
            stored.map(|stored| stored.bytes)
        };
        let named = known.named();
        let shards: BTreeSet<ShardId> = named.keys().chain(known.after.keys()).copied().collect();
        if known.before == known.after {
            for shard in shards {
                let of = |rows: &BTreeMap<ShardId, u64>| rows.get(&shard).copied();
                let (row, sum) = (of(&known.after), of(&named).unwrap_or_default());
                if row != Some(sum) {
                    compared.differences.insert(Difference::LiveBytes {
                        segment,
                        shard,
                        stored: row,
                        named: sum,
                    });
                }
            }
        } else {
            compared.moving.insert(segment);
        }
        let Some(stored) = stored else {
            let lost = parts(known, 0);
            if !lost.is_empty() {
                let missing = Difference::Missing { segment, lost };
                compared.differences.insert(missing);
            }
            return;
        };
        let ends = known.extents.iter().map(Named::end);
        let needed = ends.max().unwrap_or_default();
        if stored < needed {
            compared.differences.insert(Difference::Short {
                segment,
                bytes: stored,
                needed,
                lost: parts(known, stored),
            });
        }
        let names_none = known.extents.is_empty() && known.after.values().all(|bytes| *bytes == 0);
        if names_none && known.before == known.after && !known.is_dying {
            compared
                .differences
                .insert(Difference::Forgotten { segment });
        }
    }

    fn unnamed(&self, segment: SegmentName, stored: Stored, compared: &mut Compared) {
        if self.picture.restored.is_some() {
            compared.kept += 1;
            return;
        }
        let is_young = |grace: Duration| {
            let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
            stored.modified.as_millis().saturating_add(grace) > self.now.as_millis()
        };
        let is_left = match self.picture.writers.of(segment) {
            Unnamed::Left => true,
            Unnamed::Unknown => !is_young(self.unknown_grace),
            Unnamed::InFlight | Unnamed::Searched => false,
        };
        if is_young(self.grace) || !is_left {
            compared.in_flight += 1;
            return;
        }
        compared.differences.insert(Difference::Orphan {
            segment,
            bytes: stored.bytes,
            modified: stored.modified,
            pinned: self.pins.name(segment),
        });
    }
}

/// What extents that end beyond a length name: those of each partition together that follow each other.
fn parts(known: &Known, length: u64) -> Vec<Part> {
    let extents = known.extents.iter();
    let beyond = extents.filter(|extent| length == 0 || extent.end() > length);
    let mut parts: Vec<Part> = beyond.map(|extent| extent.part).collect();
    parts.sort_unstable();
    parts.dedup_by(|part, before| {
        let follows =
            part.partition == before.partition && part.offsets.base == before.offsets.next;
        if follows {
            before.offsets.next = part.offsets.next;
        }
        follows
    });
    parts
}
