//! Memory of messages that have come in, until their handlers have it accounted for elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_api::ApiError;
use tidelog_api::codec::DecodeBudget;
use tidelog_broker_engine::{Claim, MemoryHold, MemoryShare};
use tidelog_types::ErrorCode;

use super::RETRY_AFTER;
use crate::decode::Decode;

/// Memory of the messages of a call that have come in or are coming in, oldest first. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    groups: Arc<Mutex<VecDeque<Group>>>,
    decode: MemoryShare,
}

/// Messages that began in one frame.
#[derive(Debug)]
struct Group {
    messages: usize,
    holds: Vec<Held>,
}

/// Memory that goes back by being dropped.
#[derive(Debug)]
pub(super) enum Held {
    /// Of a share that gives all at once.
    Share(#[expect(dead_code, reason = "held, not read")] MemoryHold),
    /// Of the share for messages in pieces.
    Claim(#[expect(dead_code, reason = "held, not read")] Arc<Claim>),
}

impl Received {
    /// For a call that nothing was counted of.
    pub(crate) fn of_none(decode: &Decode) -> Self {
        Self {
            groups: Arc::default(),
            decode: decode.share().clone(),
        }
    }

    pub(super) fn push(&self, messages: usize, hold: Held) {
        let holds = vec![hold];
        self.groups.lock().push_back(Group { messages, holds });
    }

    /// The oldest message has its memory elsewhere now, or needs none.
    pub(crate) fn taken(&self) {
        let mut groups = self.groups.lock();
        if let Some(oldest) = groups.front_mut() {
            oldest.messages -= 1;
            if oldest.messages == 0 {
                groups.pop_front();
            }
        }
    }
}

impl DecodeBudget for Received {
    /// A message's growth is held with the message.
    fn take(&self, bytes: u64) -> Result<(), ApiError> {
        let hold = self.decode.try_hold(bytes).map_err(|error| {
            ApiError::new(ErrorCode::ResourceExhausted, error.to_string())
                .with_retry_after(RETRY_AFTER)
        })?;
        if let Some(oldest) = self.groups.lock().front_mut() {
            oldest.holds.push(Held::Share(hold));
        }
        Ok(())
    }
}
