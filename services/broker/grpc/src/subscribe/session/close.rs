//! How a member ends with its stream.

use tidelog_metadata_api::EPOCH_JOIN;

use super::{End, Session};

impl Session {
    /// Leaves the group, unless the client is to come back at once.
    pub(in crate::subscribe) async fn close(&mut self, end: &End) {
        self.reading.withdraw();
        self.starting.withdraw();
        let goes_on = self.drains_until.is_some() || self.is_out;
        match end {
            End::Done | End::Error(_) if goes_on => return,
            End::Done | End::Error(_) => {}
            End::Gone | End::Broken(_) => {
                self.commit_rest().await;
                if self.is_out || !self.is_still_ours().await {
                    return;
                }
            }
        }
        let groups = self.front.engine().groups();
        if let Err(error) = groups.consumer_heartbeat(self.member.leave()).await {
            tracing::debug!(%error, "a member could not leave: its session will end");
        }
    }

    /// Carries out what the client had said before it was gone.
    async fn commit_rest(&mut self) {
        loop {
            self.commit_next();
            if self.committing.is_free() {
                return;
            }
            drop(self.committing.done().await);
        }
    }

    /// Whether nobody has taken the place of the member meanwhile.
    async fn is_still_ours(&mut self) -> bool {
        if !self.beating.is_free() {
            let answer = self.beating.done().await;
            return answer.is_ok_and(|answer| {
                self.member.epoch = answer.epoch;
                true
            });
        }
        let beat = self.member.beat(self.holdings.owned());
        let groups = self.front.engine().groups();
        self.member.epoch != EPOCH_JOIN && groups.consumer_heartbeat(beat).await.is_ok()
    }
}
