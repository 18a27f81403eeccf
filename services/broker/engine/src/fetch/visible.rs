//! Leaves out of what was read what is not for those who want records: markers, and batches of aborted
//! transactions.

use std::collections::HashMap;

use tidelog_format::batch::{BatchHeader, HEADER_BYTES};
use tidelog_metadata_api::AbortedTransaction;
use tidelog_types::{Offset, ProducerId};

use super::FetchedPartition;
use super::batches::BatchesCutter;
use crate::decoding::RecordsEstimate;

impl FetchedPartition {
    /// The same without control batches, and without batches of the transactions that [`aborted`](Self::aborted)
    /// names. Where reading goes on stays the same, so it may be behind the last batch that is left. Nothing is
    /// copied.
    #[must_use]
    pub fn visible(mut self) -> Self {
        if !self.is_transactional {
            return self;
        }
        let aborted = ByProducer::of(&self.aborted);
        let mut cutter = BatchesCutter::new(&self.batches);
        let mut estimate = RecordsEstimate::default();
        while let Some(header) = next_header(&cutter) {
            // The size of a header that parses is at least its own: the walk gets on.
            let size = usize::try_from(header.size()).unwrap_or(usize::MAX);
            if aborted.hides(&header) {
                cutter.skip(size);
            } else {
                estimate.add(&header);
                cutter.keep(size);
            }
        }
        let batches = cutter.finish();
        self.batches = batches;
        self.estimate = estimate;
        self.aborted = [].into();
        self.is_transactional = false;
        self
    }
}

fn next_header(cutter: &BatchesCutter<'_>) -> Option<BatchHeader> {
    let mut head = [0; HEADER_BYTES];
    cutter.peek(&mut head).then_some(())?;
    BatchHeader::parse(&head).ok()
}

/// The first offset and the marker of each aborted transaction. Those of one producer are in order and do not
/// overlap.
struct ByProducer(HashMap<ProducerId, Vec<(Offset, Offset)>>);

impl ByProducer {
    fn of(aborted: &[AbortedTransaction]) -> Self {
        let mut all: HashMap<ProducerId, Vec<(Offset, Offset)>> = HashMap::new();
        for transaction in aborted {
            let ranges = all.entry(transaction.producer).or_default();
            ranges.push((transaction.first, transaction.last));
        }
        Self(all)
    }

    /// Whether a batch, which has its offset in place, is left out.
    fn hides(&self, header: &BatchHeader) -> bool {
        let attributes = header.attributes;
        if attributes.is_control() {
            return true;
        }
        if !attributes.is_transactional() {
            return false;
        }
        let Some(ranges) = self.0.get(&header.producer_id) else {
            return false;
        };
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let at = ranges.partition_point(|(_, last)| *last <= base);
        ranges.get(at).is_some_and(|(first, _)| *first <= base)
    }
}
