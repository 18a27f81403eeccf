//! Small segments of express classes: they are not put into the bucket, but go with their commits, and lie in the
//! metadata store until a merge moves them. They have names, receipts and an order like all others.
//!
//! ```text
//!   closed -> one segment for each shard -> committing, with the bytes -> answered
//!                                               |
//!                                               not taken: uploading, under the same name -> stored -> committing
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidelog_env::MonoTime;
use tidelog_format::segment::SealedSegment;
use tidelog_types::{SegmentName, ShardId};

use super::batcher::Batcher;
use super::lanes::OpenLane;
use super::passage::{Event, stored_segment};
use super::pipeline::{Pending, Stage, Ticket, Uncommitted};
use super::segment::{OpenSegment, StoredSegment};
use crate::classes::Lane;
use crate::metrics::CloseReason;

/// For how long all of a shard is put into the bucket, after the store has not taken something of it: each time costs a
/// question. After that the store is also asked again about what waits for the bucket.
const PAUSE: Duration = Duration::from_secs(1);

impl Batcher {
    // ----- what goes so, and when -------------------------------------------------------------------

    /// A segment that is small enough to be committed together with its bytes closes as soon as no other one of its
    /// class and shard is with the metadata service so: what comes meanwhile gathers, as in the groups of a sequencer. No
    /// request of the bucket is saved by waiting longer.
    pub(super) fn express_due(&self) -> Option<Lane> {
        let mut lanes = self.lanes.iter();
        let is_due = |(lane, open): &(Lane, &OpenLane)| {
            self.has_room(open) && open.express_shards().any(|shard| self.may_go(*lane, shard))
        };
        lanes.find(is_due).map(|(lane, _)| lane)
    }

    /// Whether all of an open segment is to be committed together with its bytes, as far as is known: it waits for nothing
    /// else.
    pub(super) fn is_express(&self, lane: Lane, open: &OpenLane) -> bool {
        let is_some = open.express_shards().next().is_some();
        let mut shards = open.express_shards();
        is_some && self.has_room(open) && shards.all(|shard| !self.is_paused((lane, shard)))
    }

    /// The shards of whose batches an open segment is to have no more, since these go together with their bytes now. None
    /// if it goes into the bucket.
    pub(super) fn express_shards(&self, lane: Lane, reason: CloseReason) -> BTreeSet<ShardId> {
        let Some(open) = self.lanes.get(lane) else {
            return BTreeSet::new();
        };
        if reason == CloseReason::Express {
            let shards = open.express_shards();
            shards.filter(|shard| self.may_go(lane, *shard)).collect()
        } else if self.is_express(lane, open) {
            open.express_shards().collect()
        } else {
            BTreeSet::new()
        }
    }

    /// When the store may take of a shard again of which something waits.
    pub(super) fn pause_end(&self) -> Option<MonoTime> {
        let now = self.parts.env.clock.now();
        let shards = self
            .lanes
            .iter()
            .flat_map(|(_, open)| open.express_shards());
        let pauses = shards.filter_map(|shard| self.pauses.get(&shard).copied());
        pauses.filter(|until| *until > now).min()
    }

    /// Whether all segments of the shards may be under way.
    fn has_room(&self, open: &OpenLane) -> bool {
        let max = self.parts.settings.unanswered_max;
        open.express_shards().count() <= max.saturating_sub(self.pipeline.len())
    }

    fn may_go(&self, lane: Lane, shard: ShardId) -> bool {
        !self.is_paused((lane, shard)) && !self.pipeline.has_express((lane, shard))
    }

    /// Whether the store has just not taken something of a shard, or something of a class and a shard is still to be asked
    /// about again: all that comes behind would be one more that nobody takes.
    fn is_paused(&self, of: (Lane, ShardId)) -> bool {
        let now = self.parts.env.clock.now();
        let pause = self.pauses.get(&of.1);
        pause.is_some_and(|until| *until > now) || self.pipeline.has_refused(of)
    }

    // ----- the way --------------------------------------------------------------------------------

    /// Sends what a segment has of some shards on its way together with its bytes, in one segment for each: then each
    /// shard's rows have all of theirs, in one transaction. The rest stays open.
    pub(super) fn send_express(
        &mut self,
        lane: Lane,
        open: OpenSegment,
        express: &BTreeSet<ShardId>,
    ) {
        let (parts, rest) = open.by_shard(express);
        if let Some(open) = self.lanes.get_mut(lane) {
            open.open = rest;
        }
        for (shard, part) in parts {
            self.send((lane, shard), part);
        }
        self.commit_ready();
    }

    fn send(&mut self, of: (Lane, ShardId), open: OpenSegment) {
        let segment = open.close();
        let Some(sealed) = self.parts.uploader.inline(&segment.writer) else {
            return;
        };
        self.parts.tail.insert(&sealed);
        let name = sealed.name;
        let inline = Some(joined(&sealed));
        let stored = StoredSegment {
            inline,
            ..stored_segment(sealed)
        };
        let backoff = self.parts.settings.commit_retry.start();
        let now = self.parts.env.clock.now();
        let ticket = self.pipeline.push(segment, name.sequence, now, backoff);
        self.parts.metrics.unanswered.inc();
        self.pipeline.on_express(ticket, of, stored);
    }

    /// The store does not take the bytes of a segment.
    pub(super) fn on_not_inline(
        &mut self,
        ticket: Ticket,
        mut pending: Pending,
        stored: Uncommitted,
    ) {
        let now = self.parts.env.clock.now();
        self.pauses.retain(|_, until| *until > now);
        if let Some((_, shard)) = pending.express {
            self.pauses.insert(shard, now + PAUSE);
        }
        if self.has_its_share(pending.segment.bucket, 0) {
            // One more upload would wait for the others, which may take minutes: the store may have room before.
            pending.is_refused = true;
            pending.stage = Stage::Resting(stored);
            self.pipeline.put_back(ticket, pending);
            self.rest(ticket, PAUSE);
        } else {
            self.upload_as(ticket, pending, stored.stored.name);
        }
    }

    /// Puts a segment that the store does not take into the bucket, under the same name. So an earlier attempt that lands
    /// late finds the receipt, or leaves the one that is found (rule C5).
    fn upload_as(&mut self, ticket: Ticket, mut pending: Pending, name: SegmentName) {
        tracing::debug!(segment = %name, "the store takes no segments now, putting it into the bucket");
        let (bucket, writer) = (pending.segment.bucket, Arc::clone(&pending.segment.writer));
        pending.express = None;
        pending.stage = Stage::Uploading;
        pending.was_asked = true;
        self.pipeline.put_back(ticket, pending);
        let uploader = self.parts.uploader.clone();
        let tail = Arc::clone(&self.parts.tail);
        let events = self.events.clone();
        drop(self.parts.env.supervisor.spawn("upload", async move {
            let stored = uploader.store_under(bucket, &writer, name).await;
            let stored = stored.map(|sealed| {
                tail.insert(&sealed);
                stored_segment(sealed)
            });
            // The task that receives lives as long as the process.
            let _ = events.send(Event::Uploaded(ticket, stored));
        }));
    }
}

/// The bytes of a segment, which are few.
fn joined(sealed: &SealedSegment) -> Bytes {
    let mut bytes = BytesMut::new();
    for chunk in &sealed.chunks {
        bytes.extend_from_slice(chunk);
    }
    bytes.freeze()
}
