//! Which callers wait to hear of a failure: what they pipelined behind it fails too (rule C8).

use std::collections::{HashMap, VecDeque};

use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata_api::OrderKey;
use tidelog_types::{ErrorCode, TopicPartition};

/// How many are remembered. A caller takes a new key once it has heard, so old ones are of no use; the
/// limit is far above what can be in flight at once.
const KEPT_MAX: usize = 16_384;

type BrokenKey = (OrderKey, TopicPartition);
type Reason = (ErrorCode, RefusalDetail);

/// Order keys that have seen a failure, with its reason.
#[derive(Debug, Default)]
pub(crate) struct BrokenOrders {
    reasons: HashMap<BrokenKey, Reason>,
    oldest_first: VecDeque<BrokenKey>,
}

impl BrokenOrders {
    pub(crate) fn get(&self, key: BrokenKey) -> Option<&Reason> {
        self.reasons.get(&key)
    }

    pub(crate) fn insert(&mut self, key: BrokenKey, reason: Reason) {
        if self.reasons.insert(key, reason).is_none() {
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() > KEPT_MAX {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.reasons.remove(&oldest);
            }
        }
    }
}
