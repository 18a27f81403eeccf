//! What the client says.

use prost::Message as _;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::MemoryHold;
use tidelog_types::{ErrorCode, Offset};
use v1::subscribe_response::Event;

use super::{RETRY_AFTER, Session, said};
use crate::subscribe::commits::{Commit, Said, not_held};
use crate::subscribe::credit::Credit;

/// A commit of so many bytes needs no memory of its own.
const COMMIT_FREE_BYTES: usize = 16 * 1024;
/// What a commit and its answer take in memory, by the bytes of the commit.
const COMMIT_GROWTH: u64 = 8;

impl Session {
    pub(super) fn on_request(&mut self, request: v1::SubscribeRequest) -> Result<(), ApiError> {
        use v1::subscribe_request::Kind;
        match request.kind {
            Some(Kind::Credit(more)) => {
                self.credit.add(more)?;
                let enough = |needed: &mut Credit| self.credit.covers(*needed);
                self.stalled.take_if(enough);
            }
            Some(Kind::Commit(commit)) => {
                let hold = match commit.encoded_len() {
                    ..=COMMIT_FREE_BYTES => None,
                    bytes => Some(self.hold_commit(bytes)?),
                };
                self.commits.push(Said::Commit(Commit::new(commit, hold)?));
            }
            Some(Kind::Release(release)) => {
                self.commits.push(Said::Release(release.revocation_id));
            }
            Some(Kind::Seek(seek)) => self.seek(seek)?,
            Some(Kind::Join(_)) => {
                return Err(ApiError::invalid(
                    "only the first message of a stream joins",
                ));
            }
            None => return Err(ApiError::invalid("a message says something")),
        }
        Ok(())
    }

    fn hold_commit(&self, bytes: usize) -> Result<MemoryHold, ApiError> {
        let bytes = (bytes as u64).saturating_mul(COMMIT_GROWTH);
        self.front.decode.share().try_hold(bytes).map_err(|error| {
            ApiError::new(ErrorCode::ResourceExhausted, error.to_string())
                .with_retry_after(RETRY_AFTER)
        })
    }

    fn seek(&mut self, seek: v1::SubscribeSeek) -> Result<(), ApiError> {
        if seek.offset > Offset::MAX.get() {
            return Err(ApiError::invalid("no offset is that large"));
        }
        let offset = Offset::new(seek.offset);
        let found = self.holdings.seek(&seek.topic, seek.partition, offset);
        let error = (!found).then(|| not_held(&seek.topic, seek.partition).to_proto());
        self.reading.withdraw();
        self.tell(Event::Sought(v1::SubscribeSought {
            topic: seek.topic,
            partition: seek.partition,
            offset: seek.offset,
            error,
        }));
        Ok(())
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outbox.push_back(said(event));
    }
}
