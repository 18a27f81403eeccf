//! Which callers wait to hear of a failure: what they pipelined behind it fails too (rule C8).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use tidelog_format::manifest::RefusalDetail;
use tidelog_types::{ErrorCode, TopicPartition};

use crate::OrderKey;

/// How many are remembered. A caller takes a new key once it has heard, so old ones are of no use; the
/// limit is far above what can be in flight at once.
const KEPT_MAX: usize = 16_384;

/// A caller in a partition.
pub type BrokenKey = (OrderKey, TopicPartition);
/// Why its batch failed, which is why those behind it fail.
pub type BrokenReason = (ErrorCode, RefusalDetail);

/// Order keys that have seen a failure, with its reason.
#[derive(Debug, Default)]
pub struct BrokenOrders {
    reasons: HashMap<BrokenKey, BrokenReason>,
    oldest_first: VecDeque<BrokenKey>,
}

impl BrokenOrders {
    /// Why a caller's batches fail in a partition, if they do.
    pub fn get(&self, key: BrokenKey) -> Option<&BrokenReason> {
        self.reasons.get(&key)
    }

    /// Takes note of a failure; the first reason stays.
    pub fn insert(&mut self, key: BrokenKey, reason: BrokenReason) {
        if let Entry::Vacant(vacant) = self.reasons.entry(key) {
            vacant.insert(reason);
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() > KEPT_MAX {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.reasons.remove(&oldest);
            }
        }
    }
}
