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
use tidelog_types::{BucketId, SegmentName, ShardId};

use super::batcher::Batcher;
use super::lanes::OpenLane;
use super::passage::{Event, stored_segment};
use super::pipeline::{Pending, Stage, Ticket};
use super::segment::{OpenSegment, StoredSegment};
use crate::classes::Lane;
use crate::metrics::CloseReason;

/// For how long all of a shard is put into the bucket, after the store has not taken something of it: each time costs a
/// question.
const PAUSE: Duration = Duration::from_secs(1);

/// A shard of which the store has not taken something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    until: MonoTime,
    /// Where that is put instead. While that bucket has as many uploads as it may have, nothing more is tried: it would be
    /// one more of them each time.
    bucket: BucketId,
}

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
    pub(super) fn is_express(&self, open: &OpenLane) -> bool {
        let is_some = open.express_shards().next().is_some();
        is_some && self.has_room(open) && open.express_shards().all(|shard| !self.is_paused(shard))
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
        } else if self.is_express(open) {
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
        let pauses = shards.filter_map(|shard| Some(self.pauses.get(&shard)?.until));
        pauses.filter(|until| *until > now).min()
    }

    /// Whether all segments of the shards may be under way.
    fn has_room(&self, open: &OpenLane) -> bool {
        let max = self.parts.settings.unanswered_max;
        open.express_shards().count() <= max.saturating_sub(self.pipeline.len())
    }

    fn may_go(&self, lane: Lane, shard: ShardId) -> bool {
        !self.is_paused(shard) && !self.pipeline.has_express((lane, shard))
    }

    fn is_paused(&self, shard: ShardId) -> bool {
        let now = self.parts.env.clock.now();
        let pause = self.pauses.get(&shard);
        pause.is_some_and(|pause| pause.until > now || self.is_busy(pause.bucket))
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
        self.pauses.remove(&of.1);
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

    /// The store does not take the bytes of a segment: it is put into the bucket, under the same name. So an earlier
    /// attempt that lands late finds the receipt, or leaves the one that is found (rule C5).
    pub(super) fn upload_as(&mut self, ticket: Ticket, mut pending: Pending, name: SegmentName) {
        let now = self.parts.env.clock.now();
        tracing::debug!(segment = %name, "the store takes no segments now, putting it into the bucket");
        let (bucket, writer) = (pending.segment.bucket, Arc::clone(&pending.segment.writer));
        if let Some((_, shard)) = pending.express.take() {
            let until = now + PAUSE;
            self.pauses.insert(shard, Pause { until, bucket });
        }
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
