//! The open segments: one for topics without a storage class, and one for each class.

use tidelog_blob::MAIN;
use tidelog_env::MonoTime;
use tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX;
use tidelog_types::{BucketId, ShardId};

use super::overflow::Overflow;
use super::request::Entry;
use super::segment::OpenSegment;
use crate::classes::{Classes, Lane};
use crate::settings::AppendSettings;

/// An open segment, and when it closes.
#[derive(Debug)]
pub(super) struct OpenLane {
    /// When it closes, and everything else that does not differ between classes.
    pub(super) settings: AppendSettings,
    /// Whether it may close before its linger is over since nothing is being uploaded. Who asks for a longer linger
    /// than others wants fewer requests, not sooner answers.
    pub(super) closes_early: bool,
    /// Up to which size segments are committed together with their bytes.
    pub(super) express_bytes: u32,
    /// Where its segments lie.
    pub(super) bucket: BucketId,
    pub(super) open: Option<OpenSegment>,
    /// What did not fit into the open segment; the next one begins with it.
    pub(super) overflow: Overflow,
}

impl OpenLane {
    fn new(
        settings: AppendSettings,
        closes_early: bool,
        express_bytes: u32,
        bucket: BucketId,
    ) -> Self {
        Self {
            settings,
            closes_early,
            express_bytes,
            bucket,
            open: None,
            overflow: Overflow::default(),
        }
    }

    /// The open segment, if somebody waits for it.
    pub(super) fn waiting(&self) -> Option<&OpenSegment> {
        self.open.as_ref().filter(|open| !open.entries.is_empty())
    }

    /// The shards that have a part in the open segment, if it is small enough to be committed together with its bytes and
    /// somebody waits for it; else none.
    pub(super) fn express_shards(&self) -> impl Iterator<Item = ShardId> {
        let is_small = |open: &&OpenSegment| open.writer.bytes() <= u64::from(self.express_bytes);
        let open = self.waiting().filter(is_small).into_iter();
        open.flat_map(|open| open.writer.shards())
    }

    /// When its linger is over.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        let open = self.waiting()?;
        Some(open.opened_at + self.settings.linger)
    }

    /// Whether it takes nothing more.
    pub(super) fn is_full(&self) -> bool {
        let settings = &self.settings;
        !self.overflow.is_empty()
            || self.open.as_ref().is_some_and(|open| {
                open.writer.bytes() >= u64::from(settings.segment_bytes)
                    || open.writer.slice_count() >= to_usize(settings.segment_slices)
                    || open.writer.manifest_bytes_max() >= to_usize(settings.manifest_bytes)
            })
    }

    /// The bytes of all that waits in it.
    pub(super) fn bytes(&self) -> u64 {
        let open = self.open.as_ref().map(|open| open.writer.bytes());
        open.unwrap_or_default() + self.overflow.bytes()
    }

    /// Puts a batch in, or aside for the next segment.
    pub(super) fn push(&mut self, entry: Entry, now: MonoTime) {
        if !self.overflow.is_empty() {
            self.overflow.push(Box::new(entry));
            return;
        }
        let open = self
            .open
            .get_or_insert_with(|| OpenSegment::new(self.bucket, now));
        // A segment that is a little larger than its target would take one more page to read.
        let bytes = open.writer.bytes() + u64::from(entry.append.batch.size());
        let is_larger = bytes > u64::from(self.settings.segment_bytes);
        if is_larger && !open.entries.is_empty() {
            self.overflow.push(Box::new(entry));
        } else if let Err((entry, _)) = open.push(entry) {
            self.overflow.push(entry);
        }
    }
}

/// All open segments, by [`Lane`].
#[derive(Debug)]
pub(super) struct Lanes(Vec<OpenLane>);

impl Lanes {
    pub(super) fn new(settings: AppendSettings, classes: &Classes) -> Self {
        let classes = classes.iter().map(|class| {
            let own = AppendSettings {
                linger: class.linger,
                segment_bytes: class.segment_bytes,
                ..settings
            };
            let express_bytes = class.express_bytes.min(INLINE_SEGMENT_BYTES_MAX);
            let closes_early = class.linger <= settings.linger;
            OpenLane::new(own, closes_early, express_bytes, class.bucket)
        });
        let first = OpenLane::new(settings, true, 0, MAIN);
        Self(std::iter::once(first).chain(classes).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Lane, &OpenLane)> {
        self.0
            .iter()
            .enumerate()
            .map(|(index, lane)| (Lane(index), lane))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenLane> {
        self.0.iter_mut()
    }

    pub(super) fn get(&self, lane: Lane) -> Option<&OpenLane> {
        self.0.get(lane.0)
    }

    /// Whether segments go to more than one bucket.
    pub(super) fn has_several_buckets(&self) -> bool {
        self.0.iter().any(|lane| lane.bucket != MAIN)
    }

    pub(super) fn get_mut(&mut self, lane: Lane) -> Option<&mut OpenLane> {
        self.0.get_mut(lane.0)
    }

    /// Where a batch goes. A topic may have changed its class: as long as a segment is open that has batches of the
    /// same partition, the batch goes there, since segments that close in any order would turn the batches of a
    /// sender around.
    pub(super) fn of(&self, entry: &Entry) -> Lane {
        let has_slice = |lane: &OpenLane| {
            let append = &entry.append;
            let open = lane.open.as_ref();
            open.is_some_and(|open| open.writer.has_slice(append.topic.id, append.partition))
                || lane.overflow.has(entry.partition)
        };
        let mut others = self.iter().filter(|(lane, _)| *lane != entry.lane);
        let found = others.find(|(_, lane)| has_slice(lane));
        found.map_or(entry.lane, |(lane, _)| lane)
    }

    /// Whether one of them takes nothing more.
    pub(super) fn has_full(&self) -> bool {
        self.0.iter().any(OpenLane::is_full)
    }

    /// Whether nobody waits for any of them.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|lane| lane.waiting().is_none())
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
