//! What a stream begins by itself.

use std::sync::Arc;

use tidelog_api::v1;
use tidelog_metadata_api::CommitOffsets;
use v1::subscribe_response::Event;

use super::{DRAIN_TIME, Session};
use crate::subscribe::commits::{Batch, Next};
use crate::subscribe::reading::Reading;
use crate::subscribe::starts::Starter;

impl Session {
    pub(super) fn begin_work(&mut self) {
        let now = self.front.now();
        if self.beating.is_free() && now >= self.pulse.at {
            self.beat();
        }
        self.commit_next();
        if self.starting.is_free() && now >= self.start_at && self.holdings.starts() {
            let starter = Starter {
                front: self.front.clone(),
                caller: self.caller.clone(),
                wish: Arc::clone(&self.wish),
                member: self.member.committing(),
            };
            self.starting.begin(starter.find(self.holdings.to_start()));
        }
        let may_send = self.is_wanted && self.outbox.is_empty() && self.drains_until.is_none();
        let has_credit = self.stalled.is_none() && !self.credit.is_empty();
        let is_free = self.reading.is_free() && self.charging.is_free();
        if may_send && has_credit && is_free && self.holdings.reads() {
            let reading = Reading {
                front: self.front.clone(),
                outlet: self.outlet.clone(),
                form: self.wish.form,
                isolation: self.wish.isolation,
                bytes_max: self.credit.read_bytes(self.wish.bytes_max),
                places: self.holdings.places(),
            };
            self.reading.begin(reading.read());
        }
    }

    /// Says that the member lives, and what it has.
    fn beat(&mut self) {
        self.pulse.began = self.front.now();
        self.pulse.again = false;
        let owned = self.holdings.owned();
        let beat = if self.pulse.asks_all {
            self.member.full_beat(owned, &self.wish)
        } else {
            self.member.beat(owned)
        };
        // Whoever is this member still is not any more.
        let before = std::mem::take(&mut self.pulse.comes_back).then(|| self.member.leave());
        let front = self.front.clone();
        self.beating.begin(async move {
            let groups = front.engine().groups();
            if let Some(leave) = before
                && let Err(error) = groups.consumer_heartbeat(leave).await
            {
                tracing::debug!(%error, "no member to take the place of");
            }
            groups.consumer_heartbeat(beat).await
        });
    }

    /// There is news for the coordinator.
    pub(super) fn beat_soon(&mut self) {
        self.pulse.at = self.front.now();
        self.pulse.again = true;
    }

    /// Goes on with what the client has said.
    pub(super) fn commit_next(&mut self) {
        while self.committing.is_free() && self.retry.is_none() {
            let holdings = &self.holdings;
            let find = |topic: &str, partition| holdings.find(topic, partition);
            match self.commits.next(find) {
                None => return,
                Some(Next::Release(id)) => self.release(id),
                Some(Next::Batch(batch)) => self.commit(batch),
            }
        }
    }

    pub(super) fn commit(&mut self, mut batch: Batch) {
        batch.tries += 1;
        let front = self.front.clone();
        let commit = CommitOffsets {
            group: self.wish.group.clone(),
            member: self.member.committing(),
            offsets: batch.offsets(),
            transaction: None,
        };
        self.committing.begin(async move {
            if commit.offsets.is_empty() {
                return (batch, Ok(Vec::new()));
            }
            let outcome = front.engine().groups().commit_offsets(commit).await;
            (batch, outcome)
        });
    }

    pub(super) fn release(&mut self, revocation: u64) {
        if self.holdings.is_open(revocation) {
            self.holdings.release(revocation);
            self.beat_soon();
        }
    }

    /// The broker goes away.
    pub(super) fn drain(&mut self) {
        self.drains_until = Some(self.front.now() + DRAIN_TIME);
        self.reading.withdraw();
        self.tell(Event::Draining(v1::SubscribeDraining {}));
    }
}
