//! The table of order keys that have seen a failure: what comes under them fails as well.

use std::collections::HashSet;

use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata_api::{BrokenKey, BrokenOrders, BrokenReason};

use super::request::{AppendError, Entry, OrderedBy, Sender};

/// Keys that are broken until their callers take new ones. Bounded: see [`BrokenOrders`].
#[derive(Debug, Default)]
pub(super) struct BrokenSenders(BrokenOrders);

impl BrokenSenders {
    /// Why a batch is refused unseen, if it is.
    pub(super) fn refusal(&self, entry: &Entry) -> Option<AppendError> {
        let order = entry.append.order?;
        let (code, detail) = self.0.get((order, entry.partition)).cloned()?;
        Some(AppendError::Refused { code, detail })
    }

    /// Takes note of what the metadata service has refused.
    pub(super) fn on_refused(&mut self, refused: Vec<(BrokenKey, BrokenReason)>) {
        for (key, reason) in refused {
            self.0.insert(key, reason);
        }
    }

    /// Takes note of senders whose batches have failed. A producer is not among them: its sequences say
    /// what was lost.
    pub(super) fn on_failed(&mut self, senders: HashSet<OrderedBy>, error: &AppendError) {
        for (sender, partition) in senders {
            if let Sender::Order(order) = sender {
                let reason = (error.code(), RefusalDetail::None);
                self.0.insert((order, partition), reason);
            }
        }
    }
}
