//! How far each partition has been read, over breaks of the stream; no I/O.

use std::collections::BTreeMap;

use tidelog_api::v1;
use tidelog_types::{Offset, OffsetRange};

use super::{ConsumerOptions, Isolation, Start};

/// How far one partition has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    next: u64,
    /// Where to stop; fixed by the first stream, so that a break does not move it.
    end: Option<u64>,
    /// Whether nothing more is wanted or can be had.
    done: bool,
}

/// Where the next stream begins.
#[derive(Clone, Debug)]
pub(super) struct Positions {
    known: BTreeMap<u32, Position>,
    /// Whether the first message of a stream has named all partitions.
    complete: bool,
    until_end: bool,
    isolation: Isolation,
}

impl Positions {
    pub(super) const fn new(options: &ConsumerOptions) -> Self {
        Self {
            known: BTreeMap::new(),
            complete: false,
            until_end: options.until_end,
            isolation: options.isolation,
        }
    }

    /// Whether nothing is left to read.
    pub(super) fn is_finished(&self) -> bool {
        self.complete && !self.known.is_empty() && self.known.values().all(|position| position.done)
    }

    /// The offset to read next of each partition that has been seen.
    pub(super) fn next_offsets(&self) -> BTreeMap<u32, u64> {
        self.known
            .iter()
            .map(|(partition, position)| (*partition, position.next))
            .collect()
    }

    /// The request that goes on from here.
    pub(super) fn request(&self, topic: &str, options: &ConsumerOptions) -> v1::TailRequest {
        let mut request = v1::TailRequest {
            topic: topic.to_owned(),
            partitions: options.partitions.clone(),
            until_end: options.until_end,
            record_format: v1::RecordFormat::Batches.into(),
            max_bytes: options.chunk_bytes,
            isolation: match self.isolation {
                Isolation::Committed => v1::Isolation::Committed,
                Isolation::Uncommitted => v1::Isolation::Uncommitted,
            }
            .into(),
            ..v1::TailRequest::default()
        };
        let mut offsets = options.offsets.clone();
        if self.complete {
            let open = self.known.iter().filter(|(_, position)| !position.done);
            offsets = open
                .map(|(partition, position)| (*partition, position.next))
                .collect();
            // Those that failed or are at their end are not asked for again. Who follows all partitions
            // goes on to hear of new ones, which begin at their beginning.
            let follows_all = options.partitions.is_empty() && !self.until_end;
            let all_open = offsets.len() == self.known.len();
            if !(follows_all && all_open) {
                request.partitions = offsets.keys().copied().collect();
            }
        }
        request.start = Some(if self.complete {
            v1::tail_request::Start::Position(v1::OffsetPosition::Earliest.into())
        } else {
            start(options.start)
        });
        request.offsets = offsets
            .into_iter()
            .map(|(partition, offset)| v1::PartitionOffset { partition, offset })
            .collect();
        request
    }

    /// Takes the first message of a stream, which names every partition.
    pub(super) fn begin(&mut self, data: &v1::PartitionData) {
        let until_end = self.until_end;
        let end = match self.isolation {
            // Services that do not tell it know of no transactions.
            Isolation::Committed => data.last_stable_offset.unwrap_or(data.high_watermark),
            Isolation::Uncommitted => data.high_watermark,
        };
        let position = self
            .known
            .entry(data.partition)
            .or_insert_with(|| Position {
                next: data.next_offset,
                end: until_end.then_some(end),
                done: false,
            });
        if position.end.is_some_and(|end| position.next >= end) {
            position.done = true;
        }
    }

    /// The first message has been taken.
    pub(super) const fn set_complete(&mut self) {
        self.complete = true;
    }

    /// Takes what was read; answers the offsets that it covers, if any of them is new.
    pub(super) fn advance(&mut self, data: &v1::PartitionData) -> Option<OffsetRange> {
        let position = self.known.entry(data.partition).or_insert(Position {
            next: 0,
            end: None,
            done: false,
        });
        let next = data.next_offset.min(position.end.unwrap_or(u64::MAX));
        if position.done || next <= position.next {
            return None;
        }
        let range = OffsetRange {
            base: Offset::new(position.next),
            next: Offset::new(next),
        };
        position.next = next;
        position.done = position.end == Some(next);
        Some(range)
    }

    /// Nothing more can be read of a partition.
    pub(super) fn fail(&mut self, partition: u32) {
        let position = self.known.entry(partition).or_insert(Position {
            next: 0,
            end: None,
            done: false,
        });
        position.done = true;
    }
}

fn start(start: Start) -> v1::tail_request::Start {
    use v1::tail_request::Start as Wire;
    match start {
        Start::Earliest => Wire::Position(v1::OffsetPosition::Earliest.into()),
        Start::Latest => Wire::Position(v1::OffsetPosition::Latest.into()),
        Start::Offset(offset) => Wire::Offset(offset),
        Start::Timestamp(time) => Wire::TimestampMs(time.as_millis()),
    }
}
